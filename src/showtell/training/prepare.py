"""From a recipe and a data set to a trainer: a run, its stores and splits. The one way in for CLI and SDK."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from showtell.data.example import Example
from showtell.errors import DataError
from showtell.models.encoder import Encoder
from showtell.models.word_vectors import begin_with
from showtell.recipe import Recipe
from showtell.training.begin import Begun, begin
from showtell.training.checkpoint import best_checkpoint, load_part
from showtell.training.dataset import pictures
from showtell.training.device import choose_device
from showtell.training.features import Filled, feature_store, fill, pixel_store
from showtell.training.group import Group
from showtell.training.loop import Splits, Trainer
from showtell.training.request import Request
from showtell.training.run import Run, forgotten_on_error
from showtell.training.sampling import caption_count, check_batch
from showtell.training.store import BlankRows, Rows
from showtell.training.teacher import Teacher


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
    architecture: its encoder, vocabulary and best decoder are where a new run begins. Started by torchrun, the
    processes prepare one after the other, and train together. Of a run that cannot begin nothing is left in `out`.
    Raises the errors of `showtell.errors`.
    """
    group = Group(choose_device(request.device))
    if not group.leads:
        say = _silent
    with ExitStack() as undo:
        with group.in_turn():  # what the first writes, the others find
            resume = resume or not group.leads
            begun = begin(request, out, recipe, settings, resume, start_from, say)
            if begun.new:
                undo.enter_context(forgotten_on_error(begun.run))
            group.check(begun.run.recipe.encoder)
            store, splits, teachers = _filled(begun, group, say)
        trainer = Trainer(begun.run, store, splits, group, say, teachers)  # which the processes make together
        if not (resume and trainer.resume()):
            _first_weights(trainer, begun, say)
    return trainer


def _silent(_: str) -> None:
    pass


def _filled(begun: Begun, group: Group, say: Callable[[str], None]) -> tuple[Rows, Splits, list[Teacher]]:
    """Fill the stores of the run and its teachers, and tell what of the data set is in them."""
    request, run = begun.request, begun.run
    options = run.recipe.training
    store, rows, flipped = _seen(request, run, begun.learnt + begun.val, say)
    train, counts = pictures(begun.learnt, rows, run.vocabulary, options.max_words, flipped)
    train = [picture for picture in train if picture.captions]
    val, _ = pictures(begun.val, rows, run.vocabulary, options.max_words)
    if not val:
        say("note: no val split, so the last checkpoint counts as the best; `showtell data split` makes one")
    if not train:
        raise DataError(f"{request.data}: no training picture can be read; see `showtell data check {request.data}`")
    check_batch(caption_count(train), options)
    if str(counts):
        say(str(counts))
    teachers = [teacher.seeing(begun.learnt, rows, flipped, options, group.device) for teacher in begun.teachers]
    return store, Splits(train, val), teachers


def _first_weights(trainer: Trainer, begun: Begun, say: Callable[[str], None]) -> None:
    """What the decoder of a run that has not begun to learn starts from."""
    run, decoder = trainer.run, trainer.model.decoder
    if run.start_from is not None:
        load_part(best_checkpoint(Path(run.start_from)), "decoder", decoder)
        return
    if begun.vectors:
        begin_with(begun.vectors, decoder.embed)
        file = begun.request.word_vectors
        say(f"{len(begun.vectors):,} of {len(run.vocabulary):,} words begin with vectors of {file}")
    decoder.prepare([picture.captions for picture in trainer.splits.train], run.recipe.training.seed)


def _seen(
    request: Request, run: Run, examples: Sequence[Example], say: Callable[[str], None]
) -> tuple[Rows, dict[str, int], dict[str, int]]:
    """The store of what the decoder sees, and of each example the row and that of its mirror image, if it has one."""
    if request.text:
        blank = BlankRows(run.encoder.region_count, run.encoder.region_size)
        return blank, dict.fromkeys((example.id for example in examples), 0), {}
    filled = fill_store(request, run.encoder, examples, run.recipe)
    for failure in list(filled.failures.values())[:10]:
        say(f"left out: {failure}")
    if (more := len(filled.failures) - 10) > 0:
        say(f"left out: {more:,} more; see `showtell data check {request.data}`")
    return filled.store, filled.rows, filled.flipped
