"""From a recipe and a data set to a trainer: vocabulary, run folder, stores, splits. The one way in for CLI and SDK."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import CheckpointError, DataError
from showtell.models import build_decoder
from showtell.models.encoder import Encoder, build_encoder
from showtell.recipe import Recipe, recipe_from_dict
from showtell.training.checkpoint import best_checkpoint, latest_checkpoint, load_part
from showtell.training.dataset import by_split, fingerprint, pictures, vocabulary_of
from showtell.training.features import Filled, feature_store, fill, pixel_store
from showtell.training.loop import Splits, Trainer, choose_device, choose_learning
from showtell.training.run import DataSource, Run, create_run, open_run, same_but
from showtell.training.sampling import caption_count, check_batch, training_part


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of `showtell train` and `showtell features`, beside the recipe."""

    data: Path
    format: str = "auto"
    images: Path | None = None  # folder of the pictures, if they lie elsewhere
    splits: Path | None = None  # a file of `showtell data split`
    encoder_weights: Path | None = None
    encoder_config: Path | None = None
    features: Path | None = None  # folder of the feature store; None is under the cache
    device: str = "auto"


def read_examples(request: Request) -> list[Example]:
    """The data set's examples. Raises `DataError` where there is none."""
    dataset = read_dataset(request.data, format=request.format, image_folder=request.images, splits=request.splits)
    examples = list(dataset.examples)
    if not examples:
        raise DataError(f"{request.data}: no picture with captions; look at it with `showtell data check`")
    return examples


def source_of(request: Request) -> DataSource:
    """Where a run's data lay, in absolute paths."""
    images, splits = request.images, request.splits
    return DataSource(
        root=str(request.data.absolute()),
        format=request.format,
        images=str(images.absolute()) if images else None,
        splits=str(splits.absolute()) if splits else None,
    )


def encoder_of(request: Request, recipe: Recipe) -> Encoder:
    """The encoder that a new run of `recipe` begins with. Raises `EncoderError`."""
    torch.manual_seed(recipe.training.seed)  # its weights may be random
    return build_encoder(recipe.encoder, weights=request.encoder_weights, config=request.encoder_config)


def fill_store(request: Request, encoder: Encoder, examples: Sequence[Example], recipe: Recipe) -> Filled:
    """Bring the pictures into the store that training reads: features, or pixels where the encoder learns too."""
    pixels = recipe.encoder.train
    store = pixel_store(encoder.images, request.features) if pixels else feature_store(encoder, request.features)
    return fill(
        store,
        encoder.images,
        examples,
        encoder=None if pixels else encoder,
        device=choose_device(request.device),
        workers=recipe.training.workers,
        flip=recipe.training.flip,
    )


def prepare(
    request: Request,
    out: Path,
    *,
    recipe: Recipe | None,
    settings: Sequence[str] = (),
    resume: bool = False,
    start_from: Path | None = None,
    say: Callable[[str], None],
) -> Trainer:
    """Make a trainer: for a new run of `recipe`, or to go on with the run in `out` where `resume` is set.

    `settings` change the recipe of a run that goes on ("training.epochs=30"). `start_from` is another run of the same
    architecture: its encoder, vocabulary and best decoder are where a new run begins. Raises the errors of
    `showtell.errors`.
    """
    examples = read_examples(request)
    train_split = by_split(examples, "train")
    val_examples = [example for example in examples if example.split == "val" and example.captions]
    run = _resumed(out, settings, examples, recipe) if resume else None
    recipe = recipe if run is None else run.recipe
    if recipe is None:
        raise CheckpointError(f"{out}: no run to resume; start one with --recipe NAME")
    train_examples = training_part(train_split, recipe.training)
    check_batch(caption_count(train_examples), recipe.training)  # before hours of filling the store, and after
    if recipe.training.limit_captions:
        say(
            f"{caption_count(train_examples):,} of {caption_count(train_split):,} training captions, "
            f"of {len(train_examples):,} of {len(train_split):,} pictures"
        )
    if run is None:
        run = _new_run(request, out, recipe, train_examples, examples, start_from)
    if recipe.training.validation_pictures:
        val_examples = sorted(val_examples, key=lambda e: e.id)[: recipe.training.validation_pictures]
    filled = fill_store(request, run.encoder, train_examples + val_examples, recipe)
    for failure in list(filled.failures.values())[:10]:
        say(f"left out: {failure}")
    train, counts = pictures(train_examples, filled.rows, run.vocabulary, recipe.training.max_words, filled.flipped)
    train = [picture for picture in train if picture.captions]
    val, _ = pictures(val_examples, filled.rows, run.vocabulary, recipe.training.max_words)
    if not val:
        say("note: no val split, so the last checkpoint counts as the best; `showtell data split` makes one")
    if not train:
        raise DataError(f"{request.data}: no training picture can be read; see `showtell data check {request.data}`")
    check_batch(caption_count(train), recipe.training)
    if str(counts):
        say(str(counts))
    trainer = Trainer(run, filled.store, Splits(train, val), choose_device(request.device), say)
    if not (resume and trainer.resume()):
        decoder = trainer.model.decoder
        if run.start_from is not None:
            load_part(best_checkpoint(Path(run.start_from)), "decoder", decoder)
        else:
            decoder.prepare([picture.captions for picture in train], recipe.training.seed)
    return trainer


def _new_run(
    request: Request,
    out: Path,
    recipe: Recipe,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    start_from: Path | None,
) -> Run:
    if start_from is not None:
        before, checkpoint = open_run(start_from), best_checkpoint(start_from)
        encoder = build_encoder(recipe.encoder, weights=start_from / "encoder.safetensors")
        if before.recipe.encoder.train:
            load_part(checkpoint, "encoder", encoder)
        # A decoder that does not fit is told now, not after hours of filling the store.
        decoder = build_decoder(recipe, encoder, len(before.vocabulary))
        load_part(checkpoint, "decoder", decoder)
        choose_learning(decoder, recipe.training.only)
        source = source_of(request)
        return create_run(out, recipe, before.vocabulary, encoder, examples, source, str(start_from.absolute()))
    encoder = encoder_of(request, recipe)
    vocabulary = vocabulary_of(train_examples, recipe.vocabulary)
    # What cannot take this encoder's regions is told now, not later.
    choose_learning(build_decoder(recipe, encoder, len(vocabulary)), recipe.training.only)
    return create_run(out, recipe, vocabulary, encoder, examples, source_of(request))


def _resumed(out: Path, settings: Sequence[str], examples: Sequence[Example], recipe: Recipe | None) -> Run | None:
    """The run to go on with; None where a kill came before its first checkpoint's folder was whole."""
    if not (out / "recipe.json").exists():
        return None
    before = open_run(out)
    run = replace(before, recipe=recipe_from_dict(before.recipe.to_dict(), settings))
    changed = same_but(before.recipe, run.recipe)
    if latest_checkpoint(out) is None:  # nothing is learnt yet: settled is only what the folder holds
        changed = [key for key in changed if key.startswith(("encoder.", "vocabulary."))]
    if recipe is not None:
        changed += same_but(before.recipe, recipe_from_dict(recipe.to_dict(), settings))
    if changed:
        raise CheckpointError(
            f"{out}: was trained with another {', '.join(sorted(set(changed)))}; "
            "a run cannot change it midway: leave it, or start a new run with another --out"
        )
    if fingerprint(examples) != before.fingerprint:
        raise CheckpointError(
            f"{out}: the data set has changed since the run began (pictures, captions or splits); "
            "restore it or start a new run with another --out"
        )
    return run


def torch_threads(count: int) -> None:
    """Use this many processor threads; 0 leaves torch's choice."""
    if count:
        torch.set_num_threads(count)
