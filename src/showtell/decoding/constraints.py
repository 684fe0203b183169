"""Which words may not come next, so that no caption repeats itself.

B pictures, K hypotheses per picture, t words so far, N bans.
"""

import numpy as np
from numpy.typing import NDArray


def repeating_words(words: NDArray[np.int64], *, ngram: int = 0, phrase: bool = False) -> NDArray[np.int64]:
    """Words that would make a hypothesis repeat itself, as rows (N, 3) of picture, hypothesis, word.

    `words` (B, K, t) are ids of 0 or more, the latest last, and -1 in front of captions that are shorter. With `ngram`
    = n > 0, a run of n words may occur once only, overlaps included. With `phrase`, no word or phrase of any length may
    be directly followed by itself. A word can be listed more than once.
    """
    spoken = words.shape[2]
    if spoken == 0 or not (ngram or phrase):
        return np.empty((0, 3), np.int64)
    # The word d places back repeats something if the words before it equal the last ones: n - 1 of them complete an
    # n-gram for the second time, d - 1 of them a phrase of length d. More than that many need not be compared.
    compared = max(ngram - 1, (spoken - 1) // 2 if phrase else 0)
    latest_first = np.full((*words.shape[:2], 2 * spoken + compared), -1)
    latest_first[:, :, :spoken] = words[:, :, ::-1]
    windows = np.lib.stride_tricks.sliding_window_view(latest_first, compared, axis=2) if compared else None
    if windows is None:
        agreeing = np.zeros(words.shape, np.int64)
    else:
        equal = windows[:, :, 1 : spoken + 1] == windows[:, :, :1]  # (B, K, d, compared)
        agreeing = np.logical_and.accumulate(equal, axis=3).sum(3)  # (B, K, d)
    repeated = np.zeros(words.shape, bool)
    if phrase:
        repeated |= agreeing >= np.arange(spoken)
    if ngram:
        repeated |= agreeing >= ngram - 1
    repeated &= latest_first[:, :, :spoken] >= 0
    picture, hypothesis, back = np.nonzero(repeated)
    return np.stack([picture, hypothesis, latest_first[picture, hypothesis, back]], axis=1)
