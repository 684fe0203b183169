"""What decoding asks of a decoder, whatever computes it (ONNX Runtime in use, torch in training).

B pictures, K hypotheses per picture, V words, R regions, D region size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# An array of the backend at hand: numpy.ndarray in use, torch.Tensor in training.
Array = Any
# Named arrays. A state's arrays are (B, K, ...), a memory's are (B, ...) and never repeated per hypothesis.
State = Mapping[str, Array]
Memory = Mapping[str, Array]


class StepDecoder(Protocol):
    """A decoder, one word at a time. Shapes are fixed from step to step, except for B: pictures join and leave.

    So all that the next word depends on lies in the picture's own rows, how many words it has included.
    """

    def start(self, regions: Array) -> tuple[Memory, State]:
        """Regions (B, R, D) -> memory, and the initial state with K = 1."""
        ...

    def step(self, tokens: Array, state: State, memory: Memory) -> tuple[Array, State, Array]:
        """Tokens (B, K) int64 -> log-probabilities (B, K, V) float32, new state, attention (B, K, R) float32.

        The log-probabilities are the caller's, who may write into them: they must not be a view of the decoder's own.
        """
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

    def select(self, arrays: Mapping[str, Array], pictures: NDArray[np.int64]) -> dict[str, Array]:
        """For each array (B, ...), the rows of `pictures` (N,) alone: (N, ...)."""
        ...

    def join(self, first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (B, ...) and others of the same names (N, ...) -> (B + N, ...), the first's rows in front."""
        ...

    def ban(self, log_probs: Array, words: NDArray[np.int64]) -> Array:
        """Log-probabilities (B, K, V) with the columns `words` (N,) at minus infinity, for every hypothesis.

        May write into `log_probs`, as `ban_each` may: go on with what is returned.
        """
        ...

    def ban_each(self, log_probs: Array, rows: NDArray[np.int64]) -> Array:
        """The same for single entries: `rows` is (N, 3) of picture, hypothesis, word."""
        ...

    def column(self, log_probs: Array, word: int) -> NDArray[np.float64]:
        """Log-probability of one word for every hypothesis: (B, K), a copy."""
        ...

    def alive(self, log_probs: Array) -> NDArray[np.bool_]:
        """Whether a hypothesis has any word above minus infinity: (B, K)."""
        ...

    def top_k(
        self, log_probs: Array, scores: NDArray[np.float64], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """The k <= K * V best of scores (B, K) + log_probs (B, K, V) per picture, best first.

        Sums are float64; equal ones are ordered by hypothesis, then word.
        Returns the sums (B, k), their hypotheses (B, k) and their words (B, k).
        """
        ...

    def mean_probability(self, log_probs: Sequence[Array]) -> Array:
        """Logarithm of the mean of several decoders' probabilities, each (B, K, V), in float32.

        Computed about the highest, so that decoders that agree give their own log-probability to the bit.
        """
        ...

    def sample(
        self, log_probs: Array, noise: NDArray[np.float64], temperature: float, top_k: int, top_p: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Draw a word for each hypothesis: words (B, K) and their log-probabilities (B, K) as given, untempered.

        `noise` (B, K) is uniform in [0, 1): the word is the first, in the order of ids, whose cumulated probability
        exceeds it. Probabilities are those of log_probs / temperature among the `top_k` likeliest words (0 is all; of
        equals the lower id first), and of these the fewest likeliest that together hold `top_p` of what they share. A
        hypothesis that is not `alive` gets any word at minus infinity.
        """
        ...

    def numpy(self, array: Array) -> NDArray[np.float32]:
        """The array as numpy float32."""
        ...
