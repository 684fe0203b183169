"""Distillation: finished captioners tell a learning one how likely every word is, not only which one is true.

Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531; over the words of
sentences: Kim and Rush: "Sequence-Level Knowledge Distillation", EMNLP 2016, arXiv:1606.07947. Several teachers are an
ensemble: the mean of their probabilities is what is learnt.

B pictures, K captions of each, T words, R regions, D region size, N words told in all, V vocabulary size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from showtell.data.example import Example
from showtell.errors import CheckpointError, RecipeError
from showtell.models.captioner import CaptionModel
from showtell.models.encoder import Encoder
from showtell.recipe import TrainingOptions
from showtell.training.dataset import Batch
from showtell.training.features import feature_store, fill
from showtell.training.run import Run, load_best, open_run
from showtell.training.store import Rows
from showtell.training.validation import load_rows


@dataclass(frozen=True)
class Teacher:
    """A finished captioner, frozen, with the regions that its own encoder sees.

    `rows` maps a row of the learner's store to that of the same picture, mirrored or not, in `store`.
    """

    model: CaptionModel
    store: Rows
    rows: Mapping[int, int]

    @torch.no_grad()
    def probabilities(self, batch: Batch, temperature: float, device: torch.device) -> Tensor:
        """How likely this teacher holds every word at each of a batch's N places: (N, V) float32."""
        inputs, mask = load_rows(self.store, [self.rows[row] for row in batch.rows], device)
        tokens, lengths = (torch.from_numpy(ids).to(device) for ids in (batch.tokens, batch.lengths))
        logits: Tensor = self.model.decoder(inputs.float(), tokens, lengths, mask).logits
        return (logits.float() / temperature).softmax(1)


@dataclass(frozen=True)
class OpenedTeacher:
    """A finished run that fits its learner, before it has seen a picture."""

    model: CaptionModel
    encoder: Encoder

    def seeing(
        self,
        examples: Sequence[Example],
        rows: Mapping[str, int],
        flipped: Mapping[str, int],
        options: TrainingOptions,
        device: torch.device,
    ) -> Teacher:
        """A teacher that has seen, through its own encoder, the pictures whose `rows` the learner sees."""
        seen = fill(
            feature_store(self.encoder),
            self.encoder.images,
            examples,
            encoder=self.encoder,
            device=device,
            workers=options.workers,
            flip=options.flip,
        )
        theirs = {row: seen.rows[name] for name, row in rows.items() if name in seen.rows}
        theirs |= {row: seen.flipped[name] for name, row in flipped.items() if name in seen.flipped}
        return Teacher(self.model.to(device).requires_grad_(False), seen.store, theirs)


def open_teacher(folder: Path, learner: Run) -> OpenedTeacher:
    """A finished run as a teacher of `learner`. Raises `CheckpointError` or `RecipeError` where it does not fit."""
    model, encoder, _ = load_best(run := open_run(folder))
    if run.vocabulary.words != learner.vocabulary.words:
        raise CheckpointError(
            f"{folder}: knows {len(run.vocabulary):,} words, the learning run {len(learner.vocabulary):,}, and not the "
            "same; a teacher needs the same vocabulary: train both on the same captions with the same [vocabulary]"
        )
    if (encoder.images is None) != (learner.encoder.images is None):
        raise RecipeError(f"{folder}: of a teacher and its learner one takes pictures and the other region files")
    return OpenedTeacher(model, encoder)


def taught(teachers: Sequence[Teacher], batch: Batch, temperature: float, device: torch.device) -> Tensor:
    """The mean of the teachers' probabilities, (N, V)."""
    found = [teacher.probabilities(batch, temperature, device) for teacher in teachers]
    return torch.stack(found).mean(0)


def distillation_loss(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """Logits (N, V) of the learner, probabilities (N, V) of the teachers at `temperature` -> (N,) in nats a word.

    The cross-entropy with what the teachers hold likely, times the squared temperature: so its gradients stay as large
    as those of the true words (Hinton et al., section 2).
    """
    return -(probabilities * (logits / temperature).log_softmax(1)).sum(1) * temperature**2
