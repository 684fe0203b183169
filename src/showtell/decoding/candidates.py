"""What may come next: the likeliest words of beam search, those of groups that keep apart, and drawn words.

B pictures still searched, K hypotheses per picture, V words, C candidates per picture; G hypotheses of one group, S
words of the groups before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from showtell.decoding.options import DecodeOptions
from showtell.decoding.protocol import Array, Arrays
from showtell.vocabulary import END

_NOTHING = -1  # in the place of a word where no hypothesis went on


@dataclass(frozen=True)
class Candidates:
    """Continuations of hypotheses by one word, each array (B, C)."""

    sums: NDArray[np.float64]
    parents: NDArray[np.int64]
    words: NDArray[np.int64]
    ending: NDArray[np.bool_]  # a finished sentence
    going: NDArray[np.int64]  # (B, K) the candidates that go on; one that holds the end mark leaves its place empty


def likeliest(
    log_probs: Array, scores: NDArray[np.float64], arrays: Arrays, *, groups: int = 1, diversity: float = 0.0
) -> Candidates:
    """Beam search: log-probabilities (B, K, V) and the hypotheses' own (B, K) -> what is likeliest.

    The hypotheses of `groups` lie one group after the other, and each group is searched by itself, save that a word
    costs `diversity` for each hypothesis of an earlier group that goes on with it (Hamming diversity of Vijayakumar et
    al. 2018, arXiv:1610.02424). That decides the choice alone: sums are without it. The end mark costs nothing, or
    later groups would talk on.
    """
    size = scores.shape[1] // groups
    said = np.empty((len(scores), 0), np.int64)  # (B, S)
    parts = []
    for first in range(0, scores.shape[1], size):
        own = slice(first, first + size)
        part = _best_of_group(log_probs[:, own], scores[:, own], arrays, said, diversity)
        if groups == 1:
            return part
        words, sums = np.take_along_axis(part.words, part.going, 1), np.take_along_axis(part.sums, part.going, 1)
        said = np.concatenate([said, np.where((words != END) & (sums > -np.inf), words, _NOTHING)], axis=1)
        parts.append(part)
    candidates = parts[0].sums.shape[1]
    return Candidates(
        sums=np.concatenate([part.sums for part in parts], axis=1),
        parents=np.concatenate([part.parents + number * size for number, part in enumerate(parts)], axis=1),
        words=np.concatenate([part.words for part in parts], axis=1),
        ending=np.concatenate([part.ending for part in parts], axis=1),
        going=np.concatenate([part.going + number * candidates for number, part in enumerate(parts)], axis=1),
    )


def drawn(
    log_probs: Array,
    scores: NDArray[np.float64],
    noise: NDArray[np.float64],
    options: DecodeOptions,
    arrays: Arrays,
) -> Candidates:
    """Sampling: each hypothesis has one continuation, its own."""
    words, log_probs_of_words = arrays.sample(log_probs, noise, options.temperature, options.top_k, options.top_p)
    sums = scores + log_probs_of_words
    own = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return Candidates(sums, own, words, (words == END) & (sums > -np.inf), own)


def _best_of_group(
    log_probs: Array, scores: NDArray[np.float64], arrays: Arrays, said: NDArray[np.int64], diversity: float
) -> Candidates:
    """2 G candidates of log-probabilities (B, G, V), so that G go on even if each hypothesis may end."""
    size = scores.shape[1]
    every = size * log_probs.shape[2]
    count = min(2 * size, every)
    # A word that costs something falls back, and those behind move up: by G places for each such word at most.
    sums, parents, words = arrays.top_k(log_probs, scores, min(count + said.shape[1] * size, every))
    if said.shape[1]:
        uses = (words[:, :, None] == said[:, None, :]).sum(2)  # (B, C)
        order = np.lexsort((words, parents, diversity * uses - sums))[:, :count]
        sums, words = np.take_along_axis(sums, order, 1), np.take_along_axis(words, order, 1)
        parents = np.take_along_axis(parents, order, 1)
    is_end = words == END
    ending = is_end & (sums > -np.inf)
    ending[:, size:] = False
    going = np.argsort(is_end, axis=1, kind="stable")[:, :size]
    return Candidates(sums, parents, words, ending, going)
