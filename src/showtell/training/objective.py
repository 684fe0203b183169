"""What a step makes smaller: the loss of true captions, of what teachers hold likely, of captions told and rewarded.

B pictures, K captions of each, T words, R regions, N words told in all, V vocabulary size.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from showtell.models.captioner import CaptionModel
from showtell.models.decoder import Told, valid_words
from showtell.recipe import TrainingOptions
from showtell.training.augment import hide_regions, random_crops
from showtell.training.dataset import Batch
from showtell.training.self_critical import BANNED, Critic, HeldDropout, self_critical_loss
from showtell.training.self_critical import Told as Rewarded
from showtell.training.store import Rows
from showtell.training.teacher import Teacher, distillation_loss, taught
from showtell.training.validation import TorchDecoder, load_rows, valid_targets
from showtell.vocabulary import END, PAD, START, UNKNOWN


@dataclass(frozen=True)
class Part:
    """Some of a step's pictures, which are computed together."""

    batch: Batch
    inputs: Tensor  # rows of the store: (B, R, D), or pictures (B, S, S, 3)
    mask: Tensor | None  # (B, R) true where a region is real and not hidden; None where all are
    counts: bool = True  # false for a stand-in of a process for which no picture was left
    told: Rewarded | None = None  # captions of the model's own, if they are rewarded
    dropout: HeldDropout | None = None  # under which they were told

    @property
    def words(self) -> int:
        """True words to tell."""
        return int(self.batch.lengths.sum())

    @property
    def told_words(self) -> int:
        """Words of the captions that are rewarded."""
        return int(self.told.batch.lengths.sum()) if self.told else 0


@dataclass(frozen=True)
class Whole:
    """What all parts of a step hold together: losses are means over these, however a step is parted."""

    pictures: float
    words: float
    told_words: float


@dataclass(frozen=True)
class Loss:
    """A part's share in the loss of the whole step."""

    value: Tensor  # scalar; the parts' sum is the step's
    plain: float  # cross-entropy of the true words, their sum in nats
    words: int  # that were told
    reward: float  # sum over the pictures, of the mean reward of each one's captions


class Objective:
    """Turns a step's pictures into a loss."""

    def __init__(
        self,
        options: TrainingOptions,
        store: Rows,
        critic: Critic | None,
        teachers: Sequence[Teacher],
        device: torch.device,
        autocast: bool,
    ) -> None:
        self.options, self.store, self.critic, self.teachers = options, store, critic, teachers
        self.device, self.autocast = device, autocast
        self.reward_share = options.reward_share if critic else 0.0

    def parts(self, model: CaptionModel, batch: Batch, seed: int, rank: int = 0, size: int = 1) -> list[Part]:
        """What process `rank` of `size` computes of a step, in as many parts as the recipe asks for, one at least.

        Pictures are dealt out in turn, so that long captions meet short ones in no part. Where captions are rewarded,
        the model tells them now; the same `seed` lets it tell the same, however the step is parted.
        """
        pictures = len(batch.rows)
        count = min(self.options.parts, -(-pictures // size))
        found = []
        for part in range(count):
            places = list(range(part * size + rank, pictures, count * size))
            if places:
                found.append(self._part(model, batch, places, seed))
        return found or [replace(self._part(model, batch, [0], seed), counts=False)]

    def _part(self, model: CaptionModel, batch: Batch, places: Sequence[int], seed: int) -> Part:
        chosen = batch.of(places)
        inputs, mask = load_rows(self.store, chosen.rows, self.device)
        if self.options.crop < 1:
            inputs = random_crops(inputs, self.options.crop)
        if self.options.hide_regions:  # the same for telling captions and for learning from them
            if mask is None:
                count = inputs.shape[1] if model.encoder is None else model.encoder.region_count
                mask = torch.ones(len(inputs), count, dtype=torch.bool, device=self.device)
            mask = hide_regions(mask, self.options.hide_regions)
        if self.critic is None:
            return Part(chosen, inputs, mask)
        model.eval()
        held = HeldDropout(model.decoder) if self.options.reward_dropout else None
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast), _on(held):
            decoder = TorchDecoder(model.decoder, mask, self.device)
            told = self.critic.told(decoder, model.regions(inputs), chosen, seed, places)
        return Part(chosen, inputs, mask, told=told, dropout=held)

    def loss(self, model: CaptionModel, learner: nn.Module, part: Part, whole: Whole, own_words: float) -> Loss:
        """The loss of one part, called on `learner`, which is `model` or what several processes wrap it in.

        `own_words` is the share of the words read that are the model's own (scheduled sampling).
        """
        value = torch.zeros((), device=self.device)
        plain, words, reward = 0.0, 0, 0.0
        if part.told:
            rewarded = self._rewarded(learner, part, part.told, whole)
            value = value + self.reward_share * rewarded
            words, reward = part.told_words, part.told.reward * len(part.batch.rows)
        if self.reward_share < 1:
            true, plain = self._true(model, learner, part, whole, own_words)
            value, words = value + (1 - self.reward_share) * true, part.words
        if not part.counts:
            return Loss(0 * value, 0.0, 0, 0.0)
        return Loss(value, plain, words, reward)

    def _true(
        self, model: CaptionModel, learner: nn.Module, part: Part, whole: Whole, own_words: float
    ) -> tuple[Tensor, float]:
        """The loss of the true captions, and their plain cross-entropy."""
        options, batch = self.options, part.batch
        if own_words > 0:
            batch = replace(batch, tokens=self._with_own_words(model, part, own_words))
        told, targets, lengths = self._tell(learner, part, batch)
        logits = told.logits.float()
        losses, plain = word_losses(logits, targets, options.label_smoothing)
        if self.teachers:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                likely = taught(self.teachers, batch, options.temperature, self.device)
            lesson = distillation_loss(logits, likely, options.temperature)
            losses = (1 - options.distil) * losses + options.distil * lesson
        loss = losses.sum()
        if options.attention_penalty:
            loss = loss + options.attention_penalty * attention_penalty(told.attention, lengths)
        return loss / whole.words + self._extra(told, part, whole), float(plain.sum())

    def _rewarded(self, learner: nn.Module, part: Part, rewarded: Rewarded, whole: Whole) -> Tensor:
        """The loss of the captions that the model told itself.

        As they were told, without dropout or with the same: else words count as unlikely that were not, and where
        their caption lost, are made ever less likely.
        """
        with _on(part.dropout):
            told, targets, lengths = self._tell(learner, part, rewarded.batch, dropout=False)
        log_probs = as_drawn(told.logits.float()).gather(1, targets.unsqueeze(1)).squeeze(1)  # (N,)
        advantages = torch.from_numpy(rewarded.advantages).float().to(self.device)
        loss = self_critical_loss(log_probs, advantages, lengths)
        return loss / whole.told_words + self._extra(told, part, whole)

    def _extra(self, told: Told, part: Part, whole: Whole) -> Tensor | float:
        """The architecture's own loss, a mean over the part's pictures."""
        return 0.0 if told.extra is None else told.extra * (len(part.batch.rows) / whole.pictures)

    def _tell(
        self, learner: nn.Module, part: Part, batch: Batch, *, dropout: bool = True
    ) -> tuple[Told, Tensor, Tensor]:
        """Teacher forcing on captions of a part: what is told, the N words that should be, lengths (B, K)."""
        learner.train(dropout)
        tokens, targets, lengths = self._tensors(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            told = learner(part.inputs, tokens, lengths, part.mask)
        return told, valid_targets(targets, lengths), lengths

    @torch.no_grad()
    def _with_own_words(self, model: CaptionModel, part: Part, share: float) -> NDArray[np.int64]:
        tokens, _, lengths = self._tensors(part.batch)
        model.train()
        if model.encoder:
            model.encoder.eval()  # batch norms that are estimated count the pictures once
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits = model(part.inputs, tokens, lengths, part.mask).logits
        mixed: NDArray[np.int64] = with_own_words(tokens, lengths, logits.float(), share).cpu().numpy()
        return mixed

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        tokens, targets, lengths = (
            torch.from_numpy(ids).to(self.device) for ids in (batch.tokens, batch.targets, batch.lengths)
        )
        return tokens, targets, lengths


def _on(held: HeldDropout | None) -> AbstractContextManager[None]:
    return held.on() if held else nullcontext()


def word_losses(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Logits (N, V), targets (N,) -> of each word the loss to train on, and the plain cross-entropy, in nats."""
    log_probs = logits.log_softmax(1)
    plain = F.nll_loss(log_probs, targets, reduction="none")
    if smoothing == 0:
        return plain, plain.detach()
    return (1 - smoothing) * plain - smoothing * log_probs.mean(1), plain.detach()


def as_drawn(logits: Tensor) -> Tensor:
    """Logits (N, V) -> the log-probabilities (N, V) by which words are drawn, which no caption can hold left out.

    Were they left in, what losing captions lose would flow to them, who never lose.
    """
    banned = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    banned[list(BANNED)] = True
    return logits.masked_fill(banned, -torch.inf).log_softmax(1)


def attention_penalty(attention: Tensor, lengths: Tensor) -> Tensor:
    """Attention (B, K, T, R), zero past a caption's end, lengths (B, K) -> how unevenly captions look, their sum.

    The doubly stochastic attention of Xu et al. 2015 (arXiv:1502.03044, equation 14): over all words of a caption each
    region should get an attention of 1; the squared distances from that, summed over the regions.
    """
    missing = (1 - attention.float().sum(2)).square().sum(2)  # (B, K)
    return missing[lengths > 0].sum()


def with_own_words(tokens: Tensor, lengths: Tensor, logits: Tensor, share: float) -> Tensor:
    """Tokens (B, K, T) in which about `share` of those after the start mark are words that the model would have told.

    Scheduled sampling (Bengio, Vinyals, Jaitly, Shazeer 2015, arXiv:1506.03099) in two passes, so that any architecture
    can (Mihaylova and Martins 2019, arXiv:1906.07651): logits (N, V) are those of a first pass over the true words, of
    which words are drawn here. Marks are never drawn: what follows an end is no caption.
    """
    logits = logits.clone()
    logits[:, [PAD, START, END, UNKNOWN]] = -torch.inf
    valid = valid_words(lengths, tokens.shape[2])  # (B, K, T)
    own = torch.zeros_like(tokens)
    own[valid] = logits.softmax(1).multinomial(1).squeeze(1)
    # The word told at one place is what is read at the next; an end mark that is read belongs to counted padding.
    read = valid[:, :, 1:] & (tokens[:, :, 1:] != END) & (tokens[:, :, 1:] != PAD)
    chosen = read & (torch.rand(read.shape, device=tokens.device) < share)
    mixed = tokens.clone()
    mixed[:, :, 1:] = torch.where(chosen, own[:, :, :-1], tokens[:, :, 1:])
    return mixed
