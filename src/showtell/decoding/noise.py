"""Random numbers that depend on nothing but what they are for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = (1 << 64) - 1


def sampling_noise(seed: int, picture_keys: Sequence[int], samples: int, steps: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of shape (pictures, samples, steps).

    Each is a function of seed, picture key, sample and step alone, by the counter-based generator Philox (Salmon et
    al., SC 2011): a picture's numbers stay the same whoever shares the batch and however many are drawn. Of seeds and
    keys the lowest 64 bits count.
    """
    noise = np.empty((len(picture_keys), samples, steps))
    for picture, key in enumerate(picture_keys):
        # As arrays: numbers beyond 63 bits in a list would go through floats and lose their last bits.
        words = np.array([seed & _WORD, key & _WORD], np.uint64)
        for sample in range(samples):
            generator = np.random.Philox(key=words, counter=np.array([0, 0, sample, 0], np.uint64))
            # Raw numbers, not a Generator's: how it makes floats of them may change between numpy's versions.
            noise[picture, sample] = (generator.random_raw(steps) >> np.uint64(11)) * 2.0**-53
    return noise
