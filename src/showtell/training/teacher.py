"""Distillation: finished captioners tell a learning one how likely every word is, not only which one is true.

Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531; over the words of
sentences: Kim and Rush: "Sequence-Level Knowledge Distillation", EMNLP 2016, arXiv:1606.07947. Several teachers are an
ensemble: the mean of their probabilities is what is learnt.

B pictures, K captions of each, T words, R regions, D region size, N words told in all, V vocabulary size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from showtell.models.captioner import CaptionModel
from showtell.training.dataset import Batch
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
