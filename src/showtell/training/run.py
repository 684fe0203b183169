"""The folder of one training run: everything needed to go on, evaluate or export, without the data set's files.

RUN/
  recipe.json            the recipe with all settings applied
  vocabulary.json
  encoder.safetensors    the encoder's weights as the run began, with its preparation in the metadata, if it has one
  data.json              where the data lay, its fingerprint, the splits: ids of each; the run that it began from;
                         marks of all that it came from, and the pictures that those learnt from
  checkpoints/           see `checkpoint.py`
  tensorboard/
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import torch
from safetensors.torch import save
from torch import nn

from showtell.data.dataset import Dataset
from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import CheckpointError
from showtell.files import SYSTEM_FILES, check_writable, lock, write_bytes, write_text
from showtell.models import build_decoder
from showtell.models.build_encoder import build_encoder
from showtell.models.captioner import CaptionModel
from showtell.models.encoder import Encoder
from showtell.names import printable
from showtell.recipe import Recipe
from showtell.recipe_reader import recipe_from_dict
from showtell.training.checkpoint import best_checkpoint, file_to_use, latest_checkpoint, load_model
from showtell.training.dataset import fingerprint
from showtell.training.progress import no_run
from showtell.vocabulary import Vocabulary

_BEGINNING = ("recipe.json", "vocabulary.json", "encoder.safetensors", "data.json", "lock")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where a run's data lay as it began, as `read_dataset` takes it."""

    root: str
    format: str = "auto"
    images: str | None = None
    splits: str | None = None
    regions: str | None = None  # folder of region files, where regions come from files
    teachers: list[str] = field(default_factory=list)  # folders of the runs that it learns from
    captions: list[str] = field(default_factory=list)  # files of further captions
    text: str | None = None  # file of sentences that it learns in place of captions
    word_vectors: str | None = None  # file of vectors that its words began with
    sums: dict[str, str] | None = None  # of what these files held, by option; None where a version before kept none

    def read(self, root: Path | None = None, regions: Path | None = None) -> Dataset:
        """Read the data set again, at `root` if it has moved, its region files in `regions`. Raises `DataError`."""
        if regions is None and self.regions:
            regions = Path(self.regions)
        if root is not None:
            return read_dataset(root, format=self.format, regions=regions)
        images, splits = self.images, self.splits
        return read_dataset(
            Path(self.root),
            format=self.format,
            image_folder=Path(images) if images else None,
            splits=Path(splits) if splits else None,
            regions=regions,
        )


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    recipe: Recipe
    vocabulary: Vocabulary
    encoder: Encoder
    source: DataSource
    fingerprint: str
    splits: dict[str, list[str]]  # ids of each split
    start_from: str | None = None  # folder of the run whose decoder this one began with
    lineage: tuple[str, ...] = ()  # marks of this run and of those that it came from, wherever their folders are
    learnt_before: tuple[str, ...] = ()  # ids of pictures that those learnt from, and this one does not

    def model(self) -> CaptionModel:
        """The recipe's model; its decoder's weights are random until a checkpoint is loaded."""
        decoder = build_decoder(self.recipe, self.encoder, len(self.vocabulary))
        return CaptionModel(decoder, self.encoder if self.recipe.encoder.train else None)

    def save_recipe(self) -> None:
        """Keep the recipe, for all that come later, where settings have changed it. Raises `CheckpointError`."""
        path, text = self.folder / "recipe.json", json.dumps(self.recipe.to_dict(), indent=1)
        try:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written ({error.strerror or error}); make room") from error


def create_run(
    folder: Path,
    recipe: Recipe,
    vocabulary: Vocabulary,
    encoder: Encoder,
    examples: Sequence[Example],
    source: DataSource,
    start: Run | None = None,
) -> Run:
    """Write the folder of a new run, which may begin from `start`: the whole, or nothing. Raises as `check_place`."""
    check_place(folder)
    splits: dict[str, list[str]] = {}
    for example in examples:
        splits.setdefault(example.split or "none", []).append(example.id)
    start_from = str(start.folder.absolute()) if start else None
    lineage = (uuid4().hex, *(start.lineage if start else ()))
    before = learnt_by([start], but=splits) if start else ()
    run = Run(folder, recipe, vocabulary, encoder, source, fingerprint(examples), splits, start_from, lineage, before)
    data = {
        "source": dataclasses.asdict(source),
        "fingerprint": run.fingerprint,
        "splits": splits,
        "start_from": start_from,
        "lineage": lineage,
        "learnt_before": before,
    }
    with lock(folder / "lock", f"{folder}: another process begins a run here"):
        check_place(folder)  # again: two may have begun at once
        with forgotten_on_error(run):
            try:
                if encoder.images is not None:  # else its regions come from files: there is nothing to keep
                    save_encoder(folder / "encoder.safetensors", encoder)
                write_text(folder / "vocabulary.json", vocabulary.to_json())
                write_text(folder / "data.json", json.dumps(data))
            except OSError as error:
                raise CheckpointError(f"{folder}: cannot be written ({error.strerror or error}); make room") from error
            run.save_recipe()  # last: its presence means whole
    return run


def learnt_by(runs: Sequence[Run], but: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The ids of all pictures that `runs`, and those that they came from, learnt from, but those of a train split."""
    found = {name for run in runs for name in (*run.splits.get("train", ()), *run.learnt_before)}
    return tuple(sorted(found - set(but.get("train", ()))))


def check_place(folder: Path) -> None:
    """Raise `ShowtellError` where no run can begin: at one that is there, at anything else, or at no place to write.

    What a kill has left of a run that was being begun is no hindrance.
    """
    try:
        if (folder / "recipe.json").exists():
            raise CheckpointError(
                f"{folder}: holds a run already; go on with --resume, begin with it by --from, or name another --out"
            )
        if folder.exists():
            if not folder.is_dir():
                raise CheckpointError(f"{folder}: is a file, expected a folder for the run; name another --out")
            if foreign := sorted(path.name for path in folder.iterdir() if not _is_own(path.name)):
                raise CheckpointError(
                    f"{folder}: holds {printable(foreign[0])}, which is no part of a run; name an --out that is new or "
                    "empty"
                )
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    check_writable(folder)


@contextmanager
def forgotten_on_error(run: Run) -> Iterator[None]:
    """Where the block fails, a run that has learnt nothing goes, so that the same command can be given again.

    One that is stopped stays: it goes on with --resume.
    """
    try:
        yield
    except Exception:
        if latest_checkpoint(run.folder) is None:
            for path in run.folder.iterdir():
                if _is_own(path.name) and path.is_file():
                    path.unlink(missing_ok=True)
            with suppress(OSError):  # what else lies there stays
                run.folder.rmdir()
        raise


def _is_own(name: str) -> bool:
    """Whether a file is one that a run begins with, or an unfinished one."""
    return name in (*_BEGINNING, *SYSTEM_FILES) or any(name.startswith(f".{own}.") for own in _BEGINNING)


def open_run(folder: Path) -> Run:
    """Open a run folder. Raises `CheckpointError` if it is none or is damaged."""
    try:
        table = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: not a run of `showtell train` ({no_run(folder, error)})") from error
    recipe = recipe_from_dict(table, where=str(folder / "recipe.json"))
    vocabulary = Vocabulary.read(folder / "vocabulary.json")
    encoder = build_encoder(recipe.encoder, weights=folder / "encoder.safetensors")
    try:
        return Run(
            folder,
            recipe,
            vocabulary,
            encoder,
            DataSource(**data["source"]),
            data["fingerprint"],
            data["splits"],
            data.get("start_from"),
            tuple(data.get("lineage", ())),
            tuple(data.get("learnt_before", ())),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'data.json'}: damaged ({error!r}); start a new run in another --out"
        ) from error


def load_best(run: Run) -> tuple[CaptionModel, Encoder, Path]:
    """The run's model at its best checkpoint, the encoder to use with it, and the checkpoint."""
    checkpoint = best_checkpoint(run.folder)
    model = run.model()
    load_model(checkpoint, model, file_to_use(checkpoint))
    return model.eval(), run.encoder.eval(), checkpoint


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder's weights with all that `build_encoder` needs to prepare pictures for it again."""
    images = encoder.images
    assert images is not None
    metadata = {
        "timm_name": encoder.options.name,
        "timm_args": json.dumps(encoder.options.arguments),
        "input_size": json.dumps([3, images.size, images.size]),
        "mean": json.dumps(images.mean),
        "std": json.dumps(images.std),
        "resize": images.fit,
        "crop_pct": str(images.crop_fraction),
        "interpolation": images.interpolation,
        "licence": encoder.licence,
        "last_good": encoder.options.layer or "all",
    }
    write_bytes(path, save(_tensors(encoder.network), metadata))


def same_but(old: Recipe, new: Recipe) -> list[str]:
    """Keys in which two recipes differ and which a run cannot change midway."""
    free = {"epochs", "patience", "checkpoint_seconds", "validate_every", "workers", "validation_pictures"}
    free |= {"keep", "parts"}
    differing = []
    for part in ("encoder", "decoder", "vocabulary", "training"):
        before, after = dataclasses.asdict(getattr(old, part)), dataclasses.asdict(getattr(new, part))
        differing += [
            f"{part}.{key}"
            for key in {*before, *after}
            if before.get(key) != after.get(key) and not (part == "training" and key in free)
        ]
    return sorted(differing)


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
