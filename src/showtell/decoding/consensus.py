"""Which of several captions of one picture agrees best with all of them.

N captions, T words of the longest, G different n-grams of one length.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from showtell.metrics.cider import SCALE, SIGMA
from showtell.metrics.ngrams import LONGEST

# Of what beam search finds a model is too sure: its probabilities are taken to the power of one third. Chosen with one
# model on the validation split of Flickr8k, where 2 to 4 did nearly as well and chance decided among them.
FLATTER = 3.0


def by_consensus(captions: Sequence[tuple[int, ...]], log_probabilities: Sequence[float] | None) -> list[int]:
    """The places (of N) of the captions that differ, given as word ids, best first: by the CIDEr-D to be expected.

    That is minimum Bayes risk decoding with the consensus of Devlin et al. 2015 (arXiv:1505.04467) for its gain: the
    truth is taken for one of these captions, as likely as the model holds each, flattened by `FLATTER`. Of captions
    that were drawn, `log_probabilities` None, each is as likely as it is frequent. Equally good ones keep their order.
    """
    logs = np.zeros(len(captions)) if log_probabilities is None else np.array(log_probabilities)
    if not np.isfinite(logs).any():
        logs = np.zeros(len(captions))
    weights = np.exp((logs - logs.max(initial=-np.inf)) / FLATTER)
    expected = agreement(captions) @ (weights / weights.sum())
    # Rounded, as what differs by the order of the sums alone is equal.
    order = np.argsort(-np.round(expected, 9), kind="stable").tolist()
    first = {captions[place]: place for place in reversed(order)}
    return [place for place in order if first[captions[place]] == place]


def agreement(captions: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """CIDEr-D (N, N), 0..10, of each caption, given as word ids, if another were its picture's only reference.

    All n-grams weigh the same: which are rare is known of a data set, and there is none. Otherwise it is the score of
    `showtell.metrics.cider`, with the same clipping and the same punishment of another length.
    """
    count, longest = len(captions), max(map(len, captions), default=0)
    lengths = np.array([len(caption) for caption in captions])
    words = np.zeros((count, longest), np.int64)
    for row, caption in zip(words, captions, strict=True):
        row[: len(caption)] = caption
    cosines = np.zeros((count, count))
    ngrams = np.zeros((count, longest + 1), np.int64)  # number of the n-gram one shorter that begins at each place
    for n in range(1, min(LONGEST, longest) + 1):
        caption_of, place = np.nonzero(np.arange(longest - n + 1) <= lengths[:, None] - n)
        keys = ngrams[caption_of, place] * (words.max() + 1) + words[caption_of, place + n - 1]
        different, numbers = np.unique(keys, return_inverse=True)
        ngrams[caption_of, place] = numbers
        cells = np.bincount(caption_of * len(different) + numbers, minlength=count * len(different))
        counts = cells.reshape(count, -1)  # (N, G)
        # Clipped, as saying it more often gains nothing: min(a, b) is how many t there are with a >= t and b >= t.
        shared = np.zeros((count, count))
        for t in range(1, counts.max() + 1):
            enough = counts >= t
            shared += enough.astype(float) @ (enough * counts).T.astype(float)
        norms = np.sqrt((counts**2).sum(1))
        both = norms[:, None] * norms
        cosines += np.divide(shared, both, out=np.zeros_like(cosines), where=both > 0)
    size = np.maximum(lengths - 1, 0)  # in bigrams, as the COCO evaluation counts
    found: NDArray[np.float64] = SCALE / LONGEST * cosines * np.exp(-((size[:, None] - size) ** 2) / (2 * SIGMA**2))
    return found
