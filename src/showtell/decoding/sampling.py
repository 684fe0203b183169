"""Drawing a word. The noise depends on (seed, picture, sentence, step) alone. V words."""

import numpy as np
from numpy.typing import NDArray

from showtell.decoding.options import DecodeOptions


def draw(log_probs: NDArray[np.float32], options: DecodeOptions, key: tuple[int, int, int]) -> int:
    """A word drawn from log-probabilities (V,) after temperature, top-k and top-p.

    `key` is (picture, sentence, step). Holtzman et al. 2020, arXiv:1904.09751, for top-p.
    """
    logits = log_probs.astype(np.float64) / options.temperature
    order = np.argsort(-logits, kind="stable")
    if options.top_k:
        order = order[: options.top_k]
    kept = logits[order]
    weights = np.exp(kept - kept[0])
    weights /= weights.sum()
    cumulative = np.cumsum(weights)
    if options.top_p < 1:
        # The word that crosses the share belongs to it.
        count = int(np.searchsorted(cumulative, options.top_p)) + 1
        cumulative = cumulative[:count] / cumulative[min(count, len(cumulative)) - 1]
    picture, sentence, step = key
    noise = np.random.Generator(np.random.Philox(key=[options.seed, picture], counter=[0, 0, sentence, step])).random()
    place = min(int(np.searchsorted(cumulative, noise, side="right")), len(cumulative) - 1)
    return int(order[place])
