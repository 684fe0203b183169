"""How far a score may be chance: bootstrap confidence intervals, and a paired test of two sets of candidates.

Both draw pictures and nothing else, so they need only what a `Score` adds up over pictures. What belongs to the set of
references, such as CIDEr's document frequencies, stays as it is. N pictures, K statistics of each, S samples at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.errors import DataError
from showtell.metrics.score import Score

Floats = NDArray[np.float64]

LEVEL = 0.95
_CELLS = 2**20  # picture draws held at a time, 8 bytes each and several copies: some 30 MB
_ROUNDING = 1e-12  # sums in another order differ by less; a swap of equal pictures must count as equal


@dataclass(frozen=True)
class Paired:
    """Score of one set of candidates minus that of another, on the same pictures."""

    difference: float
    low: float  # ends of the interval of the difference, by bootstrap over the pictures
    high: float
    p: float  # chance of a difference as large, if it did not matter which of the two made which caption


def confidence(score: Score, level: float = LEVEL, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The interval that holds `level` of the scores of sets of N pictures drawn from these with replacement.

    Efron: "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979 (percentile interval);
    Koehn: "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004. The same seed gives the same
    interval. Returns (low, high) in the score's own scale; memory does not grow with `samples`.
    """
    found = np.concatenate([score.combine(sums) for sums in _resampled(score.statistics, samples, seed)])
    return _interval(found, level)


def paired(
    a: Score, b: Score, level: float = LEVEL, samples: int = 10_000, seed: int = 0, *, resamples: int = 1000
) -> Paired:
    """Difference of two scores of the same metric on the same pictures, its interval, and its p by randomization.

    For p, two-sided, each picture's captions change sides with chance 1/2, `samples` times, and p is the share of
    differences at least as large, the true one counted among them: (1 + count) / (1 + samples), so never zero. Noreen:
    "Computer-Intensive Methods for Testing Hypotheses", 1989; Riezler, Maxwell: "On Some Pitfalls in Automatic
    Evaluation and Significance Testing for MT", ACL workshop 2005. The interval is the bootstrap's over `resamples`
    sets of pictures, drawn alike for both. Raises `DataError` where metric or number of pictures differ.
    """
    if a.name != b.name or a.statistics.shape != b.statistics.shape:
        raise DataError(
            f"{a.name} of {len(a.statistics)} pictures and {b.name} of {len(b.statistics)}, expected the same metric "
            "of the same pictures"
        )
    difference = a.value - b.value
    both = np.hstack((a.statistics, b.statistics))  # (N, 2K)
    width = a.statistics.shape[1]
    resampled = [a.combine(s[:, :width]) - b.combine(s[:, width:]) for s in _resampled(both, resamples, seed)]
    low, high = _interval(np.concatenate(resampled), level)
    ours, theirs = a.statistics.sum(0), b.statistics.sum(0)  # (K,)
    count = 0
    for moved in _swapped(b.statistics - a.statistics, samples, seed):
        found = a.combine(ours + moved) - b.combine(theirs - moved)  # (S,)
        # Not >=: where a metric gave no number for some picture nothing may look certain.
        count += int(np.count_nonzero(~(np.abs(found) < abs(difference) - _ROUNDING)))
    return Paired(difference, low, high, (1 + count) / (1 + samples))


def holm(chances: Sequence[float]) -> list[float]:
    """Several p, each corrected for all of them: below a level with its own chance, however many are tried.

    The smallest of n is multiplied by n, the next by n - 1 and so on; none becomes smaller than one before it, or more
    than 1. Holds whether or not the tests depend on each other. Holm: "A Simple Sequentially Rejective Multiple Test
    Procedure", Scandinavian Journal of Statistics 6, 1979. Returns them in the order of `chances`.
    """
    corrected, largest = [0.0] * len(chances), 0.0
    for rank, i in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[i]))
        corrected[i] = largest
    return corrected


def _resampled(statistics: Floats, samples: int, seed: int) -> Iterator[Floats]:
    """Sums (S, K) over N pictures drawn with replacement from statistics (N, K), `samples` times in all."""
    generator, count = np.random.default_rng(seed), len(statistics)
    for size in _chunks(samples, count):
        drawn = generator.integers(count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)  # (S, N)
        yield times.astype(np.float64) @ statistics


def _swapped(gain: Floats, samples: int, seed: int) -> Iterator[Floats]:
    """Sums (S, K) of the gain (N, K) over pictures drawn with chance 1/2 each, `samples` times in all."""
    generator, count = np.random.default_rng(seed), len(gain)
    columns = np.flatnonzero(gain.any(0))  # a mean's number of pictures never changes
    width = -(-count // 8)
    for size in _chunks(samples, count):
        bits = np.frombuffer(generator.bytes(size * width), np.uint8).reshape(size, width)
        swapped = np.unpackbits(bits, axis=1, count=count)  # (S, N)
        moved = np.zeros((size, gain.shape[1]))
        moved[:, columns] = swapped.astype(np.float64) @ gain[:, columns]
        yield moved


def _chunks(samples: int, count: int) -> Iterator[int]:
    size = max(1, _CELLS // count)
    for start in range(0, samples, size):
        yield min(size, samples - start)


def _interval(values: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
