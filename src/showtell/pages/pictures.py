"""Pictures and attention as a page shows them: small JPEG files, and maps in few bytes.

T words of a caption, h and w rows and columns of regions.
"""

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from showtell.errors import ImageError
from showtell.images import ImageOptions, open_picture, to_rgb
from showtell.sources import opened_here
from showtell.threads import default_threads

LONG_SIDE = 480  # pixels of a small picture: sharp enough on a card of 360, and 1,000 of them are some 30 MB
_QUALITY = 82  # of the JPEG
_FEW = 160  # pixels: below, colours keep their full resolution, for every pixel can be seen


@dataclass(frozen=True)
class Small:
    """A picture that was written small."""

    width: int  # pixels
    height: int
    seen: tuple[float, float, float, float] | None  # left, top, width and height of `seen_box`; None without an encoder


def write_small(
    sources: Sequence[tuple[Path, Path]], images: ImageOptions | None, threads: int | None = None
) -> Iterator[Small | ImageError]:
    """For each pair of a picture and the file to be written, in order, what was written, or why nothing was."""
    with ThreadPoolExecutor(threads or default_threads(), "showtell-page") as pool:
        yield from pool.map(partial(_write_one, images=images), sources)


def _write_one(paths: tuple[Path, Path], images: ImageOptions | None) -> Small | ImageError:
    source, target = paths
    try:
        small = _shrunk(source)
    except ImageError as error:
        return error
    fine = max(small.size) < _FEW
    small.save(target, "JPEG", quality=95 if fine else _QUALITY, subsampling=0 if fine else 2, optimize=True)
    return Small(*small.size, None if images is None else seen_box(*small.size, images))


def _shrunk(source: Path) -> Image.Image:
    """The picture upright, RGB, its long side at most `LONG_SIDE`, without what else the file told (place, camera)."""
    picture = open_picture(source)
    if opened_here(picture):
        picture.draft(None, (2 * LONG_SIDE, 2 * LONG_SIDE))  # of a large JPEG a half, quarter or eighth is decoded
    small = to_rgb(picture).copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    small.info.clear()
    return small


def seen_box(width: int, height: int, images: ImageOptions) -> tuple[float, float, float, float]:
    """Where the encoder's square lies over a picture: left, top, width and height, in shares of the picture's own.

    squash: over all of it; crop: inside; pad: it reaches beyond, into the white. As `images.seen`.
    """
    if images.fit == "squash":
        return 0.0, 0.0, 1.0, 1.0
    side = max(width, height) if images.fit == "pad" else min(width, height) * images.crop_fraction
    return (width - side) / 2 / width, (height - side) / 2 / height, side / width, side / height


def packed(attention: NDArray[np.float32] | None) -> tuple[int, int, str] | None:
    """Attention (T, h, w) -> h, w, and T * h * w bytes as base64, each word's map scaled so that its highest is 255.

    None where there is no grid, or one of a single place, which tells nothing.
    """
    if attention is None or attention.ndim != 3 or attention.shape[1] * attention.shape[2] < 2:
        return None
    weights = np.clip(np.nan_to_num(attention), 0, None)
    highest = weights.max(axis=(1, 2), keepdims=True)  # (T, 1, 1)
    levels = np.rint(255 * weights / np.maximum(highest, 1e-12)).astype(np.uint8)  # (T, h, w)
    return attention.shape[1], attention.shape[2], base64.b64encode(levels.tobytes()).decode("ascii")
