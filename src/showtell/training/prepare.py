"""From a recipe and a data set to a trainer: vocabulary, run folder, stores, splits. The one way in for CLI and SDK."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import CheckpointError, DataError, RecipeError
from showtell.models import build_decoder
from showtell.models.encoder import Encoder, build_encoder
from showtell.recipe import FILES, EncoderOptions, Recipe, recipe_from_dict
from showtell.region_files import measure
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
    regions: Path | None = None  # folder of region files, which take the encoder's place
    encoder_weights: Path | None = None
    encoder_config: Path | None = None
    features: Path | None = None  # folder of the feature store; None is under the cache
    device: str = "auto"


def read_examples(request: Request) -> list[Example]:
    """The data set's examples. Raises `DataError` where there is none."""
    dataset = read_dataset(
        request.data,
        format=request.format,
        image_folder=request.images,
        splits=request.splits,
        regions=request.regions,
    )
    examples = list(dataset.examples)
    if not examples:
        raise DataError(f"{request.data}: no picture with captions; look at it with `showtell data check`")
    return examples


def source_of(request: Request) -> DataSource:
    """Where a run's data lay, in absolute paths."""
    images, splits, regions = request.images, request.splits, request.regions
    return DataSource(
        root=str(request.data.absolute()),
        format=request.format,
        images=str(images.absolute()) if images else None,
        splits=str(splits.absolute()) if splits else None,
        regions=str(regions.absolute()) if regions else None,
    )


def settle(request: Request, recipe: Recipe) -> tuple[Recipe, list[Example]]:
    """The data set's examples, and the recipe for them: where they have region files, of the sizes of these.

    Raises `RecipeError` where request and recipe do not fit each other, `FeatureError` where the files do not, and what
    `read_examples` raises.
    """
    if request.regions is None:
        if recipe.encoder.name == FILES:
            raise RecipeError("encoder.name is files: name the folder of region files with --regions DIR")
        return recipe, read_examples(request)
    if request.encoder_weights or request.encoder_config:
        raise RecipeError("--encoder-weights and --encoder-config are of an encoder, which --regions DIR replaces")
    examples, old = read_examples(request), recipe.encoder
    count, size = old.regions, old.region_size
    if not (count and size):
        measured = measure(example.image for example in examples)
        count, size = count or measured[0], size or measured[1]
    # What belongs to the encoder that is replaced goes with it.
    new = EncoderOptions(name=FILES, output=old.output, train=old.train, regions=count, region_size=size)
    return replace(recipe, encoder=new), examples


def encoder_of(request: Request, recipe: Recipe) -> Encoder:
    """The encoder that a new run of `recipe` begins with. Raises `EncoderError`."""
    torch.manual_seed(recipe.training.seed)  # its weights may be random
    return build_encoder(recipe.encoder, weights=request.encoder_weights, config=request.encoder_config)


def fill_store(request: Request, encoder: Encoder, examples: Sequence[Example], recipe: Recipe) -> Filled:
    """Bring the pictures into the store that training reads: features, or pixels where the encoder learns too."""
    images, pixels = encoder.images, recipe.encoder.train
    store = pixel_store(images, request.features) if images and pixels else feature_store(encoder, request.features)
    return fill(
        store,
        images,
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
    before = open_run(out) if resume and (out / "recipe.json").exists() else None
    if before is not None and before.source.regions and request.regions is None:
        request = replace(request, regions=Path(before.source.regions))
    if recipe is None:
        examples = read_examples(request)
    else:
        recipe, examples = settle(request, recipe)
    train_split = by_split(examples, "train")
    val_examples = [example for example in examples if example.split == "val" and example.captions]
    # None where a kill came before the run's folder was whole, too.
    run = None if before is None else _resumed(before, settings, request, examples, recipe)
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


def _resumed(
    before: Run, settings: Sequence[str], request: Request, examples: Sequence[Example], recipe: Recipe | None
) -> Run:
    """The run to go on with, its recipe changed by `settings`."""
    out = before.folder
    if request.regions and not before.source.regions:
        raise CheckpointError(f"{out}: has learnt from pictures; leave --regions out, or start a new run")
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
