"""What captioning gives for one source: a caption, or why there is none.

T words of a caption, R regions, h and w rows and columns of regions.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from showtell.errors import ShowtellError


@dataclass(frozen=True)
class Caption:
    """What a picture shows, in words."""

    source: str  # the picture's path, address or name, exactly as given
    text: str  # words joined as people write them
    tokens: tuple[str, ...]  # the words apart
    log_probability: float  # natural logarithm, of the whole sentence with its end
    score: float  # what captions of one picture are ranked by, without `rerank`: log-probability / words ** penalty
    attention: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)  # (T, h, w) or (T, R)
    # Of each word, that of the sentence's end last; empty where the model family does not tell.
    word_log_probabilities: tuple[float, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Failure:
    """A source that gave no caption."""

    source: str  # as `Caption.source`
    error: ShowtellError
