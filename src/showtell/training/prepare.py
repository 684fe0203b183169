"""From a recipe and a data set to a trainer: vocabulary, run folder, stores, splits. The one way in for CLI and SDK."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from showtell.data.example import Example
from showtell.errors import CheckpointError, DataError, RecipeError
from showtell.models import build_decoder
from showtell.models.encoder import Encoder, build_encoder
from showtell.models.word_vectors import load_word_vectors
from showtell.recipe import FILES, EncoderOptions, Recipe, recipe_from_dict
from showtell.region_files import measure
from showtell.training.checkpoint import best_checkpoint, latest_checkpoint, load_part
from showtell.training.dataset import by_split, fingerprint, pictures, vocabulary_of
from showtell.training.device import choose_device
from showtell.training.features import Filled, feature_store, fill, pixel_store
from showtell.training.group import Group
from showtell.training.learning import choose_learning
from showtell.training.lessons import add_captions, read_examples, text_examples
from showtell.training.loop import Splits, Trainer
from showtell.training.request import Request, as_before, source_of
from showtell.training.run import Run, create_run, load_best, open_run, same_but
from showtell.training.sampling import caption_count, check_batch, training_part
from showtell.training.store import BlankRows, Rows
from showtell.training.teacher import Teacher


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


@dataclass(frozen=True)
class _Ready:
    """All that a trainer needs, on disk and read."""

    run: Run
    store: Rows
    splits: Splits
    teachers: list[Teacher]


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
    architecture: its encoder, vocabulary and best decoder are where a new run begins. Started by torchrun, the
    processes prepare one after the other, and train together. Raises the errors of `showtell.errors`.
    """
    group = Group(choose_device(request.device))
    if not group.leads:
        say = _silent
    with group.in_turn():  # what the first writes, the others find
        ready = _ready(request, out, recipe, settings, resume or not group.leads, start_from, say)
    trainer = Trainer(ready.run, ready.store, ready.splits, group, say, ready.teachers)
    if not (resume and trainer.resume()):
        decoder = trainer.model.decoder
        if ready.run.start_from is not None:
            load_part(best_checkpoint(Path(ready.run.start_from)), "decoder", decoder)
        else:
            if request.word_vectors:
                found = load_word_vectors(request.word_vectors, decoder.embed, ready.run.vocabulary)
                say(f"{found:,} of {len(ready.run.vocabulary):,} words begin with vectors of {request.word_vectors}")
            decoder.prepare([picture.captions for picture in ready.splits.train], ready.run.recipe.training.seed)
    return trainer


def _silent(_: str) -> None:
    pass


def _ready(
    request: Request,
    out: Path,
    recipe: Recipe | None,
    settings: Sequence[str],
    resume: bool,
    start_from: Path | None,
    say: Callable[[str], None],
) -> _Ready:
    before = open_run(out) if resume and (out / "recipe.json").exists() else None
    if before is not None:
        request = as_before(request, before.source)
    if recipe is None:
        examples = read_examples(request)
    else:
        recipe, examples = settle(request, recipe)
    if request.text and (request.teachers or request.captions):
        raise RecipeError("--text has no pictures, which --teacher and --captions are about; leave one of them out")
    lines = text_examples(request.text) if request.text else []
    train_split = by_split(examples, "train")
    val_examples = [example for example in examples if example.split == "val" and example.captions]
    # None where a kill came before the run's folder was whole, too.
    run = None if before is None else _resumed(before, settings, request, examples, recipe)
    recipe = recipe if run is None else run.recipe
    if recipe is None:
        raise CheckpointError(f"{out}: no run to resume; start one with --recipe NAME")
    own = training_part(train_split, recipe.training)
    learnt = lines or add_captions(own, request.captions, alone=recipe.training.captions == "added")
    check_batch(caption_count(learnt), recipe.training)  # before hours of filling the store, and after
    if recipe.training.limit_captions:
        say(
            f"{caption_count(own):,} of {caption_count(train_split):,} training captions, "
            f"of {len(own):,} of {len(train_split):,} pictures"
        )
    if run is None:
        run = _new_run(request, out, recipe, own, examples, start_from)
    if recipe.training.validation_pictures:
        val_examples = sorted(val_examples, key=lambda e: e.id)[: recipe.training.validation_pictures]
    store, rows, flipped = _seen(request, run, learnt + val_examples, say)
    train, counts = pictures(learnt, rows, run.vocabulary, recipe.training.max_words, flipped)
    train = [picture for picture in train if picture.captions]
    val, _ = pictures(val_examples, rows, run.vocabulary, recipe.training.max_words)
    if not val:
        say("note: no val split, so the last checkpoint counts as the best; `showtell data split` makes one")
    if not train:
        raise DataError(f"{request.data}: no training picture can be read; see `showtell data check {request.data}`")
    check_batch(caption_count(train), recipe.training)
    if str(counts):
        say(str(counts))
    teachers = [_teacher(folder, request, run, learnt, rows, flipped) for folder in request.teachers]
    return _Ready(run, store, Splits(train, val), teachers)


def _seen(
    request: Request, run: Run, examples: Sequence[Example], say: Callable[[str], None]
) -> tuple[Rows, dict[str, int], dict[str, int]]:
    """The store of what the decoder sees, and of each example the row and that of its mirror image, if it has one."""
    if request.text:
        if run.recipe.encoder.train:
            raise RecipeError("--text has no pictures from which an encoder could learn; set encoder.train=false")
        blank = BlankRows(run.encoder.region_count, run.encoder.region_size)
        return blank, dict.fromkeys((example.id for example in examples), 0), {}
    filled = fill_store(request, run.encoder, examples, run.recipe)
    for failure in list(filled.failures.values())[:10]:
        say(f"left out: {failure}")
    return filled.store, filled.rows, filled.flipped


def _teacher(
    folder: Path,
    request: Request,
    run: Run,
    examples: Sequence[Example],
    rows: Mapping[str, int],
    flipped: Mapping[str, int],
) -> Teacher:
    """A finished run as a teacher of `run`, which sees the same pictures through its own encoder."""
    model, encoder, _ = load_best(taught := open_run(folder))
    if taught.vocabulary.words != run.vocabulary.words:
        raise CheckpointError(
            f"{folder}: knows {len(taught.vocabulary):,} words, the learning run {len(run.vocabulary):,}, and not the "
            "same; a teacher needs the same vocabulary: train both on the same captions with the same [vocabulary]"
        )
    if (encoder.images is None) != (run.encoder.images is None):
        raise RecipeError(f"{folder}: of a teacher and its learner one takes pictures and the other region files")
    device = choose_device(request.device)
    seen = fill(
        feature_store(encoder),
        encoder.images,
        examples,
        encoder=encoder,
        device=device,
        workers=run.recipe.training.workers,
        flip=run.recipe.training.flip,
    )
    theirs = {row: seen.rows[name] for name, row in rows.items() if name in seen.rows}
    theirs |= {row: seen.flipped[name] for name, row in flipped.items() if name in seen.flipped}
    return Teacher(model.to(device).requires_grad_(False), seen.store, theirs)


def _new_run(
    request: Request,
    out: Path,
    recipe: Recipe,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    start_from: Path | None,
) -> Run:
    if start_from is not None:
        if request.word_vectors:
            raise RecipeError("--word-vectors are what a new decoder begins with, which --from RUN replaces")
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
    vocabulary = (
        open_run(request.teachers[0]).vocabulary
        if request.teachers
        else vocabulary_of(train_examples, recipe.vocabulary)
    )
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
