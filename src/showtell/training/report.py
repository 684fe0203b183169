"""What a user sees of training: one line an epoch, sample captions, TensorBoard."""

from collections.abc import Callable
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from showtell.models.captioner import CaptionModel
from showtell.training.checkpoint import Progress
from showtell.training.loop import Trainer
from showtell.training.validation import Validation

SAMPLES = 3


class Reporter:
    """Tells of a trainer's epochs through `say` and in RUN/tensorboard."""

    def __init__(self, trainer: Trainer, say: Callable[[str], None]) -> None:
        self.trainer, self.say = trainer, say
        self.board = SummaryWriter(  # type: ignore[no-untyped-call]
            str(trainer.run.folder / "tensorboard"), purge_step=trainer.progress.epoch + 1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.close()  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        trainer = self.trainer
        size = sum(parameter.numel() for parameter in trainer.model.parameters())
        self.say(
            f"{trainer.recipe.name}: {len(trainer.splits.train):,} training pictures, {len(trainer.splits.val):,} for "
            f"validation, {len(trainer.run.vocabulary):,} words, {size:,} parameters learn on {trainer.device.type}"
        )
        if trainer.progress.epoch or trainer.progress.step:
            self.say(f"going on in epoch {trainer.progress.epoch + 1} at step {trainer.progress.step} of {trainer.steps}")

    def epoch(self, progress: Progress, model: CaptionModel, validation: Validation | None) -> None:
        entry = progress.history[-1]
        line = f"epoch {entry['epoch']}/{self.trainer.options.epochs}  loss {entry['train loss']:.3f}"
        line += f"  {entry['words/s']:,} words/s"
        for name in ("loss", "CIDEr", "BLEU-4"):
            if f"val {name}" in entry:
                line += f"  val {name} {entry[f'val {name}']:.{3 if name == 'loss' else 1}f}"
        self.say(line + ("  best" if entry["best"] else ""))
        for name, value in entry.items():
            if isinstance(value, float):
                self.board.add_scalar(name.replace(" ", "/"), value, entry["epoch"])  # type: ignore[no-untyped-call]
        if validation:
            for picture in self.trainer.splits.val[:SAMPLES]:
                self.say(f"  {picture.example.id}: {validation.captions[picture.example.id]}")

    def end(self, finished: bool) -> None:
        progress, run = self.trainer.progress, self.trainer.run.folder
        if finished and progress.best:
            self.say(f"best: epoch {int(progress.best.split('-')[0])}; next: showtell evaluate {run} --data DIR --split test")
