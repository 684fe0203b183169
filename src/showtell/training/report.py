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
        self.board = SummaryWriter(str(trainer.run.folder / "tensorboard"), purge_step=trainer.progress.epoch + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.close()

    def begin(self) -> None:
        trainer = self.trainer
        size = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
        self.say(
            f"{trainer.recipe.name}: {len(trainer.splits.train):,} training pictures, {len(trainer.splits.val):,} for "
            f"validation, {len(trainer.run.vocabulary):,} words, {size:,} parameters learn on {trainer.device.type}"
        )
        progress = trainer.progress
        if progress.epoch >= trainer.options.epochs:
            self.say(
                f"all epochs are done, {progress.epoch} of {progress.epoch}; for more: --resume --set training.epochs=N"
            )
        elif progress.epoch or progress.step:
            self.say(f"going on in epoch {progress.epoch + 1} at step {progress.step} of {trainer.steps}")

    def epoch(self, progress: Progress, model: CaptionModel, validation: Validation | None) -> None:
        entry = progress.history[-1]
        line = f"epoch {entry['epoch']}/{self.trainer.options.epochs}"
        for name in ("loss", "reward"):
            if f"train {name}" in entry:
                line += f"  {name} {entry[f'train {name}']:.3f}"
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
                caption = validation.captions[picture.example.id]
                self.say(f"  {picture.example.id}: {caption}")
                self.board.add_text(f"samples/{picture.example.id}", caption, entry["epoch"])
            self._draw(entry["epoch"], model)

    def _draw(self, epoch: int, model: CaptionModel) -> None:
        """Sample pictures with the attention of each word of their captions, where the regions form a grid."""
        trainer = self.trainer
        grid, images = trainer.run.encoder.grid, trainer.run.encoder.images
        samples = trainer.splits.val[:SAMPLES]
        if grid is None or images is None:
            return
        captions = attended(
            model, trainer.store, samples, trainer.run.vocabulary, trainer.recipe.decoding, trainer.device, grid
        )
        for picture, caption in zip(samples, captions, strict=True):
            try:
                drawn = np.asarray(draw_attention(open_picture(picture.example.image), caption, images))  # (H, W, 3)
            except ShowtellError:  # the file has gone since its features were stored; its caption was told above
                continue
            self.board.add_image(f"samples/{picture.example.id}", drawn, epoch, dataformats="HWC")

    def end(self, finished: bool) -> None:
        progress, run = self.trainer.progress, self.trainer.run.folder
        if finished and progress.epoch < self.trainer.options.epochs:
            self.say(
                f"ended early: {progress.without_gain} validations without a better {self.trainer.options.choose_by}; "
                "for more: --resume --set training.patience=0"
            )
        if finished and progress.best:
            self.say(
                f"best: epoch {int(progress.best.split('-')[0])}; next: showtell evaluate {run} --data DIR --split test"
            )
