"""What every decoder architecture does: the same three calls, whatever is behind them.

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size as the encoder gives
it, V vocabulary size, N words told in all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from showtell.errors import RecipeError

ONE_VECTOR = ("init-inject", "merge", "show-and-tell")  # architectures that see a picture as one region


class Told(NamedTuple):
    """What teacher forcing gives."""

    logits: Tensor  # (N, V), in the order of `tokens[valid]` with `valid = arange(T) < lengths`
    attention: Tensor  # (B, K, T, R), zero past the end of a caption
    extra: Tensor | None = None  # a further loss of the architecture's own, scalar, added to that of the words


class Decoder(nn.Module, ABC):
    """Regions and the words so far -> the next word.

    Made with its options (see `showtell.architectures`), the encoder's number and size of regions, and the vocabulary's
    size. An architecture without attention gives all attention to its one region.
    """

    embed: nn.Embedding  # a vector for each word that is read

    def prepare(self, captions: Sequence[Sequence[Sequence[int]]], seed: int) -> None:
        """Learn what must be known of the training captions (ids, by picture) before the first step; most need nothing.

        What is learnt belongs into buffers, so that a checkpoint holds it. Raises `DataError` where they do not serve.
        """

    @abstractmethod
    def start(self, regions: Tensor, mask: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Regions (B, R, D), mask (B, R) true where a region is real -> memory, and the initial state with K = 1.

        The memory's tensors are (B, ...), the state's (B, 1, ...). All shapes but B are fixed.
        """

    @abstractmethod
    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Tokens (B, K), state (B, K, ...) -> log-probabilities (B, K, V), new state, attention (B, K, R)."""

    @abstractmethod
    def forward(self, regions: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Told:
        """Teacher forcing: every next word of every caption at once; the same numbers as `step` word by word.

        Regions (B, R, D); tokens (B, K, T) int64, the start mark first; lengths (B, K) of words to tell, a picture's
        captions sorted longest first, 0 where a picture has fewer captions. Pictures in the order of their longest
        captions take least time.
        """


# Inputs of a word (b, k, ...), state (b, k, ...), memory (b, ...) -> new state, and what is to be kept, (b, k, ...).
NextWord = Callable[
    [Tensor, dict[str, Tensor], dict[str, Tensor]],
    tuple[dict[str, Tensor], tuple[Tensor, ...]],
]


def word_by_word(
    next_word: NextWord, inputs: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor], lengths: Tensor
) -> tuple[Tensor, ...]:
    """Go through captions (B, K) of these lengths a word at a time, as attention must that is asked by the last state.

    Inputs (B, K, T, ...) are what is read at each word, `state` (B, 1, ...) and `memory` what `start` gives. Returns
    what `next_word` keeps, (B, K, T, size) each, zero where nothing was computed: at each word only pictures and
    captions up to the last that is still being told are. With the longest first, those are few at the end.
    """
    pictures, captions = lengths.shape
    state = {name: value.expand(-1, captions, *value.shape[2:]) for name, value in state.items()}  # (B, K, ...)
    kept: list[tuple[Tensor, ...]] = []
    for t, (b, k) in enumerate(_being_told(lengths)):
        state, outputs = next_word(
            inputs[:b, :k, t],
            {name: value[:b, :k] for name, value in state.items()},
            {name: value[:b] for name, value in memory.items()},
        )
        kept.append(tuple(F.pad(o, (0, 0, 0, captions - k, 0, pictures - b)) for o in outputs))
    untold = (0, 0, 0, inputs.shape[2] - len(kept))
    return tuple(F.pad(torch.stack(steps, 2), untold) for steps in zip(*kept, strict=True))


def _being_told(lengths: Tensor) -> list[tuple[int, int]]:
    """For each word: how many pictures, and captions of each, hold all that are still being told."""
    lengths = lengths.cpu()  # at once: to ask a GPU at each word would hold it up
    pictures, captions = (lengths.max(dim).values for dim in (1, 0))  # (B,), (K,)
    return [
        (int((pictures > t).nonzero().max()) + 1, int((captions > t).nonzero().max()) + 1)
        for t in range(int(lengths.max()))
    ]


def mean_region(regions: Tensor, mask: Tensor | None) -> Tensor:
    """Regions (B, R, P), mask (B, R) true where a region is real -> their mean (B, 1, P)."""
    if mask is None:
        return regions.mean(1, keepdim=True)
    real = mask.unsqueeze(2)  # (B, R, 1)
    return regions.masked_fill(~real, 0).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)


def valid_words(lengths: Tensor, steps: int) -> Tensor:
    """Lengths (B, K) -> (B, K, T) bool, true where a word is told."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(2)


def several_regions(architecture: str, region_count: int) -> None:
    """Raise `RecipeError` where an architecture that attends to regions would get one vector for a picture."""
    if region_count == 1 and architecture not in ONE_VECTOR:
        raise RecipeError(
            f"decoder {architecture} attends to regions, the encoder gives one, which leaves nothing to choose from; "
            f"set encoder.output=grid and a larger encoder.size, or take one of {', '.join(ONE_VECTOR)}"
        )


def one_region(architecture: str, region_count: int) -> None:
    """Raise `RecipeError` where an architecture that takes one vector for a picture would get a grid."""
    if region_count != 1:
        raise RecipeError(
            f"decoder {architecture} takes one vector for a picture, the encoder gives {region_count} regions; "
            "set encoder.output=pooled"
        )
