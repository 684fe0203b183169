"""Self-critical sequence training: the model tells captions, and learns to tell those that score better.

Rennie, Marcheret, Mroueh, Ross, Goel: "Self-critical Sequence Training for Image Captioning", CVPR 2017,
arXiv:1612.00563: REINFORCE (Williams 1992), a caption's reward counting from a baseline. That is the reward of the
greedy caption, or the mean reward of the picture's other samples (Luo: "A Better Variant of Self-Critical Sequence
Training", 2020, arXiv:2003.09971), which needs no greedy caption and varies less.

The end mark counts as a word, in samples and references alike: otherwise a caption that breaks off ("a man in a") gets
the reward of all that it says and nothing for an end, and models soon learn to.

B pictures, K samples of each, T words.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from showtell.decoding.options import DecodeOptions
from showtell.decoding.protocol import StepDecoder
from showtell.decoding.search import Hypothesis, generate
from showtell.metrics.bleu import bleu_counts, bleu_of
from showtell.metrics.cider import CiderD
from showtell.recipe import TrainingOptions
from showtell.training.arrays import TorchArrays
from showtell.training.dataset import Batch, Picture, make_batch
from showtell.training.learning import dropouts_of
from showtell.vocabulary import END, PAD, START, UNKNOWN, Vocabulary

BANNED = (PAD, START, UNKNOWN)  # words that no caption holds


@dataclass(frozen=True)
class Told:
    """Captions that the model has told, and by how much each beat its baseline."""

    batch: Batch  # K samples of each picture, the longest first
    advantages: NDArray[np.float64]  # (B, K)
    reward: float  # mean


class Critic:
    """Rewards captions of the training pictures by their references.

    `options.reward` weighs the scores: "cider" (CIDEr-D, 1.0 being what papers print as 100) and "bleu" (BLEU-4 of the
    caption alone, 0..1). Document frequencies are those of the training captions.
    """

    def __init__(self, train: Sequence[Picture], vocabulary: Vocabulary, options: TrainingOptions) -> None:
        self.options = options
        self._places = {picture.example.id: place for place, picture in enumerate(train)}
        self._pictures = train
        words = vocabulary.words
        references = [[" ".join(words[i] for i in caption) for caption in picture.captions] for picture in train]
        self._scorer = CiderD(references, words=words)

    def rewards(self, captions: Sequence[Sequence[int]], pictures: Sequence[str]) -> NDArray[np.float64]:
        """Ids of captions without marks, and of whose pictures each is -> the reward of each, (N,)."""
        lengths = np.array([len(caption) + 1 for caption in captions])
        ids = np.full((len(captions), lengths.max(initial=1)), END)
        for row, caption in zip(ids, captions, strict=True):
            row[: len(caption)] = caption
        matches = self._scorer.matches_of_ids(ids, lengths, [self._places[name] for name in pictures])
        weights: Mapping[str, float] = self.options.reward
        rewards = np.zeros(len(captions))
        if weights.get("cider"):
            rewards += weights["cider"] * self._scorer.scores_of(matches)
        if weights.get("bleu"):
            rewards += weights["bleu"] * bleu_of(bleu_counts(matches))[:, 3]
        return rewards

    @torch.no_grad()
    def told(
        self, decoder: StepDecoder, regions: Tensor, batch: Batch, seed: int, keys: Sequence[int] | None = None
    ) -> Told:
        """Draw captions of a batch's pictures, regions (B, R, D), and reward them.

        The same seed and keys (B,) draw the same, whatever else is in the batch; the keys are 0, 1, ... by default.
        """
        options, arrays = self.options, TorchArrays(regions.device)
        # Nothing else is forbidden: what is drawn must be drawn by the probabilities that learn.
        plain = DecodeOptions(
            beam_width=1, min_words=0, max_words=options.max_words, no_repeat_ngram=0, no_repeat_phrase=False
        )
        drawn = replace(plain, sample=True, num_captions=options.samples, seed=seed)
        samples = generate(decoder, regions, drawn, arrays, banned=BANNED, picture_keys=keys)
        # The longest first, as batches have them; rewards follow.
        samples = [sorted(of_picture, key=lambda sample: -len(sample.tokens)) for of_picture in samples]
        rewards = self._of(samples, batch.ids).reshape(len(samples), options.samples)  # (B, K)
        if options.baseline == "greedy":
            greedy = generate(decoder, regions, plain, arrays, banned=BANNED)
            baseline = self._of(greedy, batch.ids)[:, None]  # (B, 1)
        else:
            baseline = (rewards.sum(1, keepdims=True) - rewards) / (options.samples - 1)  # (B, K)
        most = options.max_words  # after so many words a caption ends by force: this end was not drawn
        chosen = [
            Picture(self._pictures[self._places[name]].example, row, tuple((*s.tokens, END)[:most] for s in of_picture))
            for name, row, of_picture in zip(batch.ids, batch.rows, samples, strict=True)
        ]
        return Told(make_batch(chosen), rewards - baseline, float(rewards.mean()))

    def _of(self, told: Sequence[Sequence[Hypothesis]], pictures: Sequence[str]) -> NDArray[np.float64]:
        pairs = [(name, one.tokens) for name, of_picture in zip(pictures, told, strict=True) for one in of_picture]
        return self.rewards([tokens for _, tokens in pairs], [name for name, _ in pairs])


class HeldDropout:
    """Dropout that hides the same numbers of every vector while captions are told and while they are learnt from.

    Else what was likely when it was told may count as unlikely, and where it lost, be made ever less likely. As in Gal
    and Ghahramani 2016 (arXiv:1512.05287) the mask is the same at every word; here also for all pictures of a step, so
    that one thinned network tells them all.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._dropouts = [module for module, share in dropouts_of(decoder) if share]
        self._masks: dict[tuple[nn.Module, int], Tensor] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within, a decoder in evaluation mode has this dropout. Torch's random numbers decide, the first time."""
        hooks = [module.register_forward_hook(self._hide) for module in self._dropouts]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hide(self, module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Dropout)
        key = (module, output.shape[-1])
        if key not in self._masks:
            kept = torch.rand(output.shape[-1], device=output.device) >= module.p
            self._masks[key] = kept / (1 - module.p)
        return output * self._masks[key].to(output.dtype)


def self_critical_loss(log_probs: Tensor, advantages: Tensor, lengths: Tensor) -> Tensor:
    """What falls as better captions become likelier.

    Log-probabilities (N,) of all captions' words in the order of (B, K, T), advantages (B, K), lengths (B, K) -> minus
    the sum over the words, each weighed by its caption's advantage.
    """
    of_word = advantages.flatten().repeat_interleave(lengths.flatten())  # (N,)
    return -(of_word * log_probs).sum()
