"""What decoding asks of a decoder, whatever computes it (ONNX Runtime in use, torch in training).

B pictures, K hypotheses per picture, V words, R regions, D region size.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# An array of the backend at hand: numpy.ndarray in use, torch.Tensor in training.
Array = Any
# Named arrays. A state's arrays are (B, K, ...), a memory's are (B, ...) and never repeated per hypothesis.
State = Mapping[str, Array]
Memory = Mapping[str, Array]


class StepDecoder(Protocol):
    """A decoder, one word at a time. Shapes are fixed from step to step."""

    def start(self, regions: Array) -> tuple[Memory, State]:
        """Regions (B, R, D) -> memory, and the initial state with K = 1."""
        ...

    def step(self, tokens: Array, state: State, memory: Memory) -> tuple[Array, State, Array]:
        """Tokens (B, K) int64 -> log-probabilities (B, K, V) float32, new state, attention (B, K, R) float32."""
        ...


class Arrays(Protocol):
    """The few array operations in which numpy and torch differ. All bookkeeping around them is numpy."""

    def tokens(self, ids: NDArray[np.int64]) -> Array:
        """Token ids (B, K) as the backend takes them."""
        ...

    def repeat(self, arrays: Mapping[str, Array], k: int) -> dict[str, Array]:
        """(B, 1, ...) -> (B, k, ...) for each array."""
        ...

    def gather(self, arrays: Mapping[str, Array], parents: NDArray[np.int64]) -> dict[str, Array]:
        """For each array (B, K, ...), row parents[b, j] of picture b goes to place j: (B, J, ...)."""
        ...

    def ban(self, log_probs: Array, words: NDArray[np.int64]) -> Array:
        """Log-probabilities (B, K, V) with the columns `words` (N,) at minus infinity, for every hypothesis."""
        ...

    def ban_each(self, log_probs: Array, rows: NDArray[np.int64]) -> Array:
        """The same for single entries: `rows` is (N, 3) of picture, hypothesis, word."""
        ...

    def top_k(self, log_probs: Array, scores: NDArray[np.float64], k: int) -> tuple[
        NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]
    ]:
        """The k best of scores (B, K) + log_probs (B, K, V) per picture, best first, ties by hypothesis then word.

        Returns the sums (B, k), their hypotheses (B, k) and their words (B, k).
        """
        ...

    def numpy(self, array: Array) -> NDArray[np.float32]:
        """The array as numpy float32."""
        ...
