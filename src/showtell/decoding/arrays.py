"""The array operations of decoding in numpy.

B pictures, K hypotheses per picture, V words, N candidates that may be among the best, M decoders.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Named = Mapping[str, NDArray[np.float32]]

_FOLDED = 64  # columns to which a row of log-probabilities is folded before the best are looked for


class NumpyArrays:
    """`Arrays` (see `protocol.py`) for decoders that give numpy arrays. Bans write into the log-probabilities."""

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids, contiguous."""
        return np.ascontiguousarray(ids)

    def repeat(self, arrays: Named, k: int) -> dict[str, NDArray[np.float32]]:
        """(B, 1, ...) -> (B, k, ...)."""
        return {name: array if k == 1 else np.repeat(array, k, axis=1) for name, array in arrays.items()}

    def gather(self, arrays: Named, parents: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Row parents[b, j] of picture b goes to place j."""
        pictures = np.arange(len(parents))[:, None]  # (B, 1)
        return {name: array[pictures, parents] for name, array in arrays.items()}

    def select(self, arrays: Named, pictures: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """The rows of `pictures` alone."""
        return {name: array[pictures] for name, array in arrays.items()}

    def join(self, first: Named, second: Named) -> dict[str, NDArray[np.float32]]:
        """The rows of both."""
        return {name: np.concatenate([array, second[name]]) for name, array in first.items()}

    def ban(self, log_probs: NDArray[np.float32], words: NDArray[np.int64]) -> NDArray[np.float32]:
        """Columns at minus infinity, in place."""
        log_probs = _writable(log_probs)
        log_probs[:, :, words] = -np.inf
        return log_probs

    def ban_each(self, log_probs: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Single entries at minus infinity, in place."""
        log_probs = _writable(log_probs)
        log_probs[rows[:, 0], rows[:, 1], rows[:, 2]] = -np.inf
        return log_probs

    def column(self, log_probs: NDArray[np.float32], word: int) -> NDArray[np.float64]:
        """One word's log-probability (B, K)."""
        return log_probs[:, :, word].astype(np.float64)

    def alive(self, log_probs: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether any word is left (B, K)."""
        left: NDArray[np.bool_] = log_probs.max(2) > -np.inf
        return left

    def top_k(
        self, log_probs: NDArray[np.float32], scores: NDArray[np.float64], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """The k best sums per picture with their hypotheses and words, each (B, k).

        Rows are folded onto themselves by maximum until they are short. The k-th best of what remains is a sum that at
        least k reach, so only the few at or above it are sorted; this takes half the time of `argpartition`.
        """
        bound = _kth_best(_fold(log_probs, k) + scores[:, :, None], k)  # (B,)
        with np.errstate(invalid="ignore"):  # minus infinity less minus infinity, replaced below
            # The margin is wider than what float32 rounds; too many candidates do no harm.
            limit = bound[:, None] - scores - 1e-6 * (1 + np.abs(bound[:, None]))  # (B, K)
        limit[~np.isfinite(bound)] = -np.inf
        # "Not below" instead of "at least", so that NaN stays among the candidates and k are always found.
        flat = np.flatnonzero(~(log_probs < limit.astype(np.float32)[:, :, None]))  # (N,)
        rows, words = np.divmod(flat, log_probs.shape[2])
        sums = scores.reshape(-1)[rows] + log_probs.reshape(-1)[flat]
        return best_of_candidates(sums, rows, words, scores.shape, k)

    def mean_probability(self, log_probs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logarithm of the mean of probabilities (B, K, V)."""
        stacked = np.stack(log_probs)  # (M, B, K, V)
        highest = stacked.max(0)
        highest[np.isneginf(highest)] = 0
        with np.errstate(divide="ignore"):  # a word that is impossible for all
            mean: NDArray[np.float32] = np.log(np.exp(stacked - highest).mean(0)) + highest
        return mean

    def sample(
        self, log_probs: NDArray[np.float32], noise: NDArray[np.float64], temperature: float, top_k: int, top_p: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Words (B, K) drawn by inverting the cumulated probabilities, and their log-probabilities (B, K)."""
        highest = log_probs.max(2, keepdims=True)
        highest[np.isneginf(highest)] = 0
        weights = np.exp((log_probs - highest).astype(np.float64) / temperature)  # (B, K, V), the likeliest 1
        if top_k or top_p < 1:
            weights = _truncate(weights, log_probs, top_k, top_p)
        cumulated = np.cumsum(weights, axis=2)
        target = noise * cumulated[:, :, -1]  # (B, K), below the total, as no float64 below 1 rounds up to it
        words = (cumulated <= target[:, :, None]).sum(2).clip(max=log_probs.shape[2] - 1)
        return words, np.take_along_axis(log_probs, words[:, :, None], 2)[:, :, 0].astype(np.float64)

    def numpy(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The array itself where it is float32."""
        return np.asarray(array, dtype=np.float32)


def best_of_candidates(
    sums: NDArray[np.float64], rows: NDArray[np.int64], words: NDArray[np.int64], shape: tuple[int, ...], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The k best of N candidates for each picture, of which there are k or more; see `Arrays.top_k` for what returns.

    Candidates come in the order of pictures, hypotheses and words; `rows` is picture * K + hypothesis, `shape` (B, K).
    """
    pictures, hypotheses = np.divmod(rows, shape[1])
    order = np.lexsort((-sums, pictures))  # stable: equal sums keep their order
    counts = np.bincount(pictures, minlength=shape[0])
    chosen = order[(np.cumsum(counts) - counts)[:, None] + np.arange(k)]  # (B, k)
    return sums[chosen], hypotheses[chosen], words[chosen]


def _writable(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    return log_probs if log_probs.flags.writeable else log_probs.copy()


def _fold(log_probs: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """(B, K, V) -> (B, K, F): every word counts in one of F places, which holds the best of its words."""
    folded, hypotheses = log_probs, log_probs.shape[1]
    while (half := folded.shape[2] // 2) >= _FOLDED // 2 and half * hypotheses >= 4 * k:
        odd = folded[:, :, -1] if folded.shape[2] % 2 else None
        folded = np.maximum(folded[:, :, :half], folded[:, :, half : 2 * half])
        if odd is not None:
            np.maximum(folded[:, :, 0], odd, out=folded[:, :, 0])
    return folded


def _kth_best(sums: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """(B, K, F) -> (B,)"""
    flat = sums.reshape(len(sums), -1)
    kth: NDArray[np.float64] = np.partition(flat, flat.shape[1] - k, axis=1)[:, -k]
    return kth


def _truncate(
    weights: NDArray[np.float64], log_probs: NDArray[np.float32], top_k: int, top_p: float
) -> NDArray[np.float64]:
    """Weights (B, K, V) with all but the likeliest at zero."""
    order = np.argsort(-log_probs, axis=2, kind="stable")
    ranked = np.take_along_axis(weights, order, 2)
    if top_k:
        ranked[:, :, top_k:] = 0
    if top_p < 1:
        held = np.cumsum(ranked, axis=2)
        # A word goes where the likelier ones already hold the share.
        ranked[:, :, 1:][held[:, :, :-1] >= top_p * held[:, :, -1:]] = 0
    kept = np.zeros_like(weights)
    np.put_along_axis(kept, order, ranked, 2)
    return kept
