"""What a user sees of training: one line an epoch, sample captions, TensorBoard."""

from collections.abc import Callable
from typing import Self

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from showtell.attention_map import draw_attention
from showtell.errors import ShowtellError
from showtell.images import open_picture
from showtell.models.captioner import CaptionModel
from showtell.training.checkpoint import Progress
from showtell.training.loop import Trainer
from showtell.training.validation import Validation, attended

SAMPLES = 3


class Reporter:
    """Tells of a trainer's epochs through `say` and in RUN/tensorboard."""

    def __init__(self, trainer: Trainer, say: Callable[[str], None]) -> None:
        self.trainer, self.say = trainer, say
        self.board = SummaryWriter(
            str(trainer.run.folder / "tensorboard"), purge_step=trainer.progress.epoch + 1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.close()

    def begin(self) -> None:
        trainer = self.trainer
        size = sum(parameter.numel() for parameter in trainer.model.parameters())
        self.say(
            f"{trainer.recipe.name}: {len(trainer.splits.train):,} training pictures, {len(trainer.splits.val):,} for "
            f"validation, {len(trainer.run.vocabulary):,} words, {size:,} parameters learn on {trainer.device.type}"
        )
        if trainer.progress.epoch or trainer.progress.step:
            self.say(
                f"going on in epoch {trainer.progress.epoch + 1} at step {trainer.progress.step} of {trainer.steps}"
            )

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
                self.board.add_scalar(name.replace(" ", "/"), value, entry["epoch"])
        if validation:
            for picture in self.trainer.splits.val[:SAMPLES]:
                self.say(f"  {picture.example.id}: {validation.captions[picture.example.id]}")
            self._draw(entry["epoch"], model)

    def _draw(self, epoch: int, model: CaptionModel) -> None:
        """Sample pictures with their captions and, where the regions form a grid, the attention of each word."""
        trainer = self.trainer
        grid, images = trainer.run.encoder.grid, trainer.run.encoder.images
        samples = trainer.splits.val[:SAMPLES]
        if grid is None:
            return
        captions = attended(
            model, trainer.store, samples, trainer.run.vocabulary, trainer.recipe.decoding, trainer.device, grid
        )
        for picture, caption in zip(samples, captions, strict=True):
            try:
                drawn = np.asarray(draw_attention(open_picture(picture.example.image), caption, images))  # (H, W, 3)
            except ShowtellError:  # the file has gone since its features were stored; its caption was told above
                continue
            name = f"samples/{picture.example.id}"
            self.board.add_image(name, drawn, epoch, dataformats="HWC")
            self.board.add_text(name, caption.text, epoch)

    def end(self, finished: bool) -> None:
        progress, run = self.trainer.progress, self.trainer.run.folder
        if finished and progress.best:
            self.say(
                f"best: epoch {int(progress.best.split('-')[0])}; next: showtell evaluate {run} --data DIR --split test"
            )
