"""A run that stands, new or to go on with: all that can be told to be wrong before the pictures are looked at."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from showtell.data.example import Example
from showtell.errors import CheckpointError, RecipeError
from showtell.files import check_writable
from showtell.models import build_decoder
from showtell.models.build_encoder import build_encoder
from showtell.models.encoder import Encoder
from showtell.models.word_vectors import read_word_vectors
from showtell.recipe import FILES, EncoderOptions, Recipe
from showtell.recipe_reader import recipe_from_dict
from showtell.region_files import measure
from showtell.training.checkpoint import best_checkpoint, latest_checkpoint, load_part, read_state
from showtell.training.dataset import by_split, fingerprint, vocabulary_of
from showtell.training.features import cache_folder
from showtell.training.learning import choose_learning
from showtell.training.lessons import add_captions, read_examples, text_examples
from showtell.training.request import Request, as_before, source_of
from showtell.training.run import Run, check_place, create_run, forgotten_on_error, open_run, same_but
from showtell.training.sampling import caption_count, check_batch, training_part
from showtell.training.teacher import OpenedTeacher, open_teacher


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


@dataclass(frozen=True)
class Begun:
    """A run that stands, and what it learns from, before any picture is looked at."""

    request: Request
    run: Run
    new: bool
    learnt: list[Example]
    val: list[Example]
    teachers: list[OpenedTeacher]
    vectors: dict[int, list[float]]  # of words, by number


def begin(
    request: Request,
    out: Path,
    recipe: Recipe | None,
    settings: Sequence[str],
    resume: bool,
    start_from: Path | None,
    say: Callable[[str], None],
) -> Begun:
    """A run for `prepare`, which explains the arguments; all that can be told to be wrong is told here.

    That is before the pictures are looked at, which can take hours. Raises the errors of `showtell.errors`.
    """
    before = open_run(out) if resume and (out / "recipe.json").exists() else None
    if before is not None:
        check_writable(out)
        request = as_before(request, before)
    elif recipe is None:
        raise CheckpointError(f"{out}: no run to resume; start one with --recipe NAME")
    else:
        check_place(out)
    if not request.text:
        check_writable(request.features or cache_folder())
    if recipe is None:
        examples = read_examples(request)
    else:
        recipe, examples = settle(request, recipe)
    if before is not None:
        run = _resumed(before, settings, request, examples, recipe, start_from)
        recipe = run.recipe
    assert recipe is not None
    _check_lessons(request, recipe)
    own = training_part(by_split(examples, "train"), recipe.training)
    learnt = _learnt(request, recipe, own, examples, say)
    check_batch(caption_count(learnt), recipe.training)  # before hours of filling the store, and after
    val = [example for example in examples if example.split == "val" and example.captions]
    if recipe.training.validation_pictures:
        val = sorted(val, key=lambda e: e.id)[: recipe.training.validation_pictures]
    vectors: dict[int, list[float]] = {}
    if before is None:
        run, vectors = _new_run(request, out, recipe, own, examples, start_from)
    elif request.word_vectors and latest_checkpoint(out) is None:
        vectors = read_word_vectors(request.word_vectors, run.model().decoder.embed.embedding_dim, run.vocabulary)
    with forgotten_on_error(run) if before is None else nullcontext():
        teachers = [open_teacher(folder, run) for folder in request.teachers]
    return Begun(request, run, before is None, learnt, val, teachers, vectors)


def _check_lessons(request: Request, recipe: Recipe) -> None:
    """Raise `RecipeError` where the recipe does not fit what is to be learnt from."""
    if request.text and (request.teachers or request.captions):
        raise RecipeError("--text has no pictures, which --teacher and --captions are about; leave one of them out")
    if request.text and recipe.encoder.train:
        raise RecipeError("--text has no pictures from which an encoder could learn; set encoder.train=false")
    if recipe.training.captions == "added" and not (request.captions or request.text):
        raise RecipeError("training.captions is added, but none are; name files of them with --captions FILE")


def _learnt(
    request: Request, recipe: Recipe, own: list[Example], examples: Sequence[Example], say: Callable[[str], None]
) -> list[Example]:
    """What is learnt from: lines of text, or `own`, the data set's part of captions, with those that are added."""
    options = recipe.training
    if request.text:
        lines = text_examples(request.text)
        learnt = training_part(lines, options)
        if options.limit_captions:
            say(f"{len(learnt):,} of {len(lines):,} lines of {request.text}")
        return learnt
    added = add_captions(own, request.captions, all_examples=examples, alone=options.captions == "added")
    if options.limit_captions:
        whole = by_split(examples, "train")
        say(
            f"{caption_count(own):,} of {caption_count(whole):,} training captions, "
            f"of {len(own):,} of {len(whole):,} pictures"
        )
    if added.held_out:
        say(f"note: {added.held_out:,} captions of --captions are left out: their pictures are of val or test")
    return added.examples


def _new_run(
    request: Request,
    out: Path,
    recipe: Recipe,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    start_from: Path | None,
) -> tuple[Run, dict[int, list[float]]]:
    """A new run, and the vectors that its words begin with."""
    source = source_of(request)
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
        return create_run(out, recipe, before.vocabulary, encoder, examples, source, before), {}
    encoder = encoder_of(request, recipe)
    vocabulary = (
        open_run(request.teachers[0]).vocabulary
        if request.teachers
        else vocabulary_of(train_examples, recipe.vocabulary)
    )
    # What cannot take this encoder's regions is told now, not later.
    decoder = build_decoder(recipe, encoder, len(vocabulary))
    choose_learning(decoder, recipe.training.only)
    file, size = request.word_vectors, decoder.embed.embedding_dim
    vectors = read_word_vectors(file, size, vocabulary) if file else {}
    return create_run(out, recipe, vocabulary, encoder, examples, source), vectors


def _resumed(
    before: Run,
    settings: Sequence[str],
    request: Request,
    examples: Sequence[Example],
    recipe: Recipe | None,
    start_from: Path | None,
) -> Run:
    """The run to go on with, its recipe changed by `settings`."""
    out, latest = before.folder, latest_checkpoint(before.folder)
    if latest is not None and read_state(latest)[0].is_average:
        raise CheckpointError(
            f"{out}: is an average, without an optimizer to go on with; begin a run with --from {out}"
        )
    if request.regions and not before.source.regions:
        raise CheckpointError(f"{out}: has learnt from pictures; leave --regions out, or start a new run")
    if start_from is not None and str(start_from.absolute()) != before.start_from:
        raise CheckpointError(f"{out}: has begun from {before.start_from or 'nothing'}; leave --from out")
    learnt = latest is not None
    run = replace(before, recipe=recipe_from_dict(before.recipe.to_dict(), settings))
    changed = same_but(before.recipe, run.recipe)
    if recipe is not None:
        changed += same_but(before.recipe, recipe)
        run = run if learnt else replace(run, recipe=recipe)
    if not learnt:  # settled is only what the folder holds
        changed = [key for key in changed if key.startswith(("encoder.", "vocabulary."))]
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
