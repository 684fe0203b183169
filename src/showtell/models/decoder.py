"""What every decoder architecture does: the same three calls, whatever is behind them.

B pictures, K captions of each (beams, samples or references), T words, R regions, D region size as the encoder gives
it, V vocabulary size, N words told in all.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from showtell.errors import RecipeError


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
        captions sorted longest first, 0 where a picture has fewer captions.
        """


def valid_words(lengths: Tensor, steps: int) -> Tensor:
    """Lengths (B, K) -> (B, K, T) bool, true where a word is told."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(2)


def one_region(architecture: str, region_count: int) -> None:
    """Raise `RecipeError` where an architecture that takes one vector for a picture would get a grid."""
    if region_count != 1:
        raise RecipeError(
            f"decoder {architecture} takes one vector for a picture, the encoder gives {region_count} regions; "
            "set encoder.output=pooled"
        )
