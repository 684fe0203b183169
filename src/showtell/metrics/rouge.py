"""ROUGE-L: how long a part of a caption stands in a reference in the same order, gaps allowed.

Lin: "ROUGE: A Package for Automatic Evaluation of Summaries", ACL 2004 workshop. The digits are those of the COCO
caption evaluation: precision and recall are each the best over the references, even if of two different ones, and
words are what single spaces part, so that a text without any is one empty word, and two such texts are equal.
B candidates, R pairs of a candidate and a reference, M word positions that match.
"""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.ngrams import expand
from showtell.metrics.references import Matches, References, match

BETA = 1.2  # recall counts beta ** 2 times as much as precision
_BITS = 64  # a reference of at most so many words is one integer
_STEPS = 512  # candidates of at most so many words are taken together
_MASKS = 64_000_000  # bytes that the masks of one long text may take


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, NDArray[np.float64]]:
    """ROUGE-L of one candidate for each of N pictures against the picture's references, words parted by single spaces.

    Returns the mean over the pictures and the score of each (N,) float64, 0..1. Time grows with the product of two
    texts' lengths, memory with their sum.
    Raises `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    scores = rouge_scores(match(References(references), candidates), candidates)
    return float(scores.mean()), scores


def rouge_scores(matches: Matches, candidates: Sequence[str]) -> NDArray[np.float64]:
    """ROUGE-L (B,) of candidates, given as they were matched."""
    references, texts = matches.references, matches.texts
    if not len(candidates):
        return np.zeros(0)
    ours = np.maximum(texts.lengths, 1)[matches.pair_candidate]  # (R,)
    theirs = np.maximum(references.lengths, 1)[matches.pair_text]
    slow_text = references.lengths > _BITS
    slow_text[references.odd] = True
    slow_candidate = texts.lengths > _STEPS
    slow_candidate[texts.odd] = True
    slow = slow_candidate[matches.pair_candidate] | slow_text[matches.pair_text]  # (R,)
    common = _common_of_short(matches, slow)
    for pair in np.flatnonzero(slow).tolist():
        one = candidates[matches.pair_candidate[pair]].split(" ")
        other = references.strings[matches.pair_text[pair]].split(" ")
        ours[pair], theirs[pair], common[pair] = len(one), len(other), longest_common(one, other)
    precision = np.maximum.reduceat(common / ours, matches.pair_first)  # (B,)
    recall = np.maximum.reduceat(common / theirs, matches.pair_first)
    scores = np.zeros(len(candidates))
    some = precision > 0
    p, r = precision[some], recall[some]
    scores[some] = (1 + BETA**2) * p * r / (r + BETA**2 * p)
    return scores


def _common_of_short(matches: Matches, slow: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of the longest common subsequence of each pair (R,) that is not `slow`, of all pairs word by word.

    Bit-parallel: bit i of a row is 0 where the common subsequence with the reference's first i + 1 words is one longer
    than with its first i. Hyyrö: "Bit-parallel LCS-length computation revisited", 2004.
    """
    references, texts, found = matches.references, matches.texts, matches.levels[0]
    level = references.levels[0]
    # Each place of each word of a candidate that some reference of its picture holds, times those references.
    entry, token = expand(found.counts.first[found.held], found.counts.count[found.held])
    group = found.group[entry]
    row, held = expand(level.first[group], level.size[group])
    candidate = found.counts.text[found.held][entry][row]
    pair = matches.to_pair[candidate] + level.text[held]
    place = found.counts.positions[token][row] - texts.starts[candidate]
    fast = np.flatnonzero(~slow[pair])
    order = fast[np.argsort(place[fast].astype(np.uint16), kind="stable")]  # 16 bits are sorted in linear time
    pair, masks = pair[order], references.masks[held[order]]
    bounds = [0, *np.cumsum(np.bincount(place[fast])).tolist()]
    rows = np.full(len(slow), ~np.uint64(0))
    for begin, end in pairwise(bounds):
        chosen = pair[begin:end]  # a pair comes once at most for each place
        before = rows[chosen]
        shared = before & masks[begin:end]
        rows[chosen] = (before + shared) | (before - shared)
    common: NDArray[np.int64] = np.unpackbits((~rows).view(np.uint8)).reshape(-1, _BITS).sum(1, dtype=np.int64)
    both_empty = (texts.lengths[matches.pair_candidate] == 0) & (references.lengths[matches.pair_text] == 0)
    common[both_empty] = 1
    return common


def longest_common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence of two sequences of any length, bit-parallel in Python's integers."""
    long, short = sorted((one, other), key=len, reverse=True)
    places: dict[Hashable, list[int]] = {}
    for place, word in enumerate(short):
        places.setdefault(word, []).append(place)

    @lru_cache(max(_MASKS // (len(short) // 8 + 100), 1))
    def mask(word: Hashable) -> int:
        flags = np.zeros(len(short), np.bool_)
        flags[places[word]] = True
        return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")

    full = (1 << len(short)) - 1
    row = full
    for word in long:
        if word in places:
            shared = row & mask(word)
            row = (row + shared | row - shared) & full
    return len(short) - row.bit_count()
