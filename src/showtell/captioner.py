"""Photos -> captions, batched: reading runs ahead of the encoder, the encoder's output is decoded, results keep order.

Of a model without an encoder the same goes for files of regions: what is read is what is decoded.

B pictures, S side of a picture, R regions, D region size, T words of a caption, h and w rows and columns of regions.
"""

import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from showtell.backend import Backend, BundleBackend, CaptionSearch
from showtell.caption import Caption, Failure
from showtell.decoding.options import DecodeOptions
from showtell.errors import BundleError, RecipeError, ShowtellError
from showtell.images import PICTURE_SUFFIXES, ImageOptions, Source
from showtell.model_folder import Model, find_bundle
from showtell.region_files import REGION_SUFFIXES
from showtell.sources import source_name
from showtell.threads import default_threads

__all__ = ["Caption", "Captioner", "Failure", "load", "picture_key"]

BATCH = 16  # pictures per encoder call


class Captioner:
    """Describes pictures. Make one with `Captioner.load` and keep it: loading costs more than a caption.

    On request captions carry their attention: (T, h, w) where the encoder's regions form a grid, and otherwise None. A
    model that takes regions from files has `images` None, and gives (T, R), in the order of a file's regions and 0
    behind the last.
    """

    def __init__(self, backend: Backend, *, threads: int | None = None) -> None:
        """`threads` read and prepare pictures ahead of the encoder; None is all cores up to four."""
        self.backend = backend
        self._threads = threads

    @classmethod
    def load(cls, path: Model | Sequence[Model] | None = None, *, threads: int | None = None) -> "Captioner":
        """Load a bundle, or the folder of a training run, or with None or "embedded" the embedded model `pocket`.

        A list of them is one ensemble: the probability of each word is the mean of its members'. They must know the
        same words; encoders and decoders may be any. Default options and the attention are the first one's.

        A run is exported to a bundle first, unless it has been, which needs the training extra. `threads` limits both
        those of ONNX Runtime and those that read pictures; None is all cores up to four. Raises `BundleError` where
        there is neither a bundle nor a run, it is damaged, or an ensemble's members do not fit each other;
        `MissingExtraError` where a run is given and PyTorch is missing.
        """
        paths = [path] if path is None or isinstance(path, str | os.PathLike) else list(path)
        if not paths:
            raise BundleError("no model is named, expected one or more; leave the list out for the embedded model")
        members = [BundleBackend(find_bundle(one), threads=threads) for one in paths]
        if len(members) == 1:
            return cls(members[0], threads=threads)
        from showtell.ensemble import EnsembleBackend

        return cls(EnsembleBackend(members), threads=threads)

    @property
    def images(self) -> ImageOptions | None:
        """How pictures are prepared; None where the model takes regions from files."""
        return self.backend.images

    @property
    def suffixes(self) -> Collection[str]:
        """How names of files end that the model takes, in lower case."""
        return PICTURE_SUFFIXES if self.images else REGION_SUFFIXES

    @property
    def decoding(self) -> DecodeOptions:
        """The options that hold where a call names none."""
        return self.backend.decoding

    def read(self, source: Source) -> NDArray[Any]:
        """One source as `encode` wants it: pixels (S, S, 3) uint8, or from a file regions (R, D) float32.

        Of an ensemble whose members want a picture in different ways: all of them in one row of numbers.
        Raises `ImageError`, or `FeatureError` where regions do not fit.
        """
        return self.backend.read(source)

    def encode(self, pixels: NDArray[Any]) -> Any:
        """Prepared pixels (B, S, S, 3) uint8, 0..255 -> regions (B, R, D) float32. `read` prepares one picture.

        A model that takes regions from files gives them back as `read` gave them, NaN where a picture has fewer. An
        ensemble gives one object that holds each member's; its length is B, and a slice takes pictures.
        Raises `ImageError` where pixels are of another shape or type.
        """
        return self.backend.encode(pixels)

    def decode(
        self,
        regions: Any,
        options: DecodeOptions | None = None,
        *,
        picture_keys: Sequence[int] | None = None,
        attention: bool = False,
        **overrides: Any,
    ) -> list[list[Caption]]:
        """What `encode` gave -> the captions of each picture, best first; their `source` is empty.

        `picture_keys` are B whole numbers from which sampling draws its noise: the same key, the same caption, whoever
        shares the batch. `picture_key` makes one from the pixels; None numbers the pictures.
        """
        names = range(len(regions))
        search = self.search(options, attention=attention, **overrides)
        search.add(regions, names, names if picture_keys is None else picture_keys)
        found: dict[int, list[Caption]] = {}
        while len(search):
            found |= search.step()
        return [found[name] for name in names]

    def search(
        self, options: DecodeOptions | None = None, *, attention: bool = False, **overrides: Any
    ) -> CaptionSearch:
        """What `decode` uses, for those whose pictures come one after the other: they join, and leave when done.

        Raises `RecipeError` on an unknown option.
        """
        return self.backend.search(self._options(options, overrides), attention=attention)

    def caption(
        self, source: Source, options: DecodeOptions | None = None, *, attention: bool = False, **overrides: Any
    ) -> Caption:
        """The best caption of one picture: a path, http(s) address, bytes, PIL picture or uint8 array (H, W[, 3 | 4]).

        Of a model that takes regions from files: such a file, its bytes, or an array (n, D).
        `overrides` change single options: `caption("a.jpg", beam_width=5)`. `stream([source], num_captions=3)` gives
        more than the best. Raises `ImageError` where the source gives no picture, `FeatureError` where regions do not
        fit, `RecipeError` on an unknown option.
        """
        pixels = self.read(source)[None]  # (1, S, S, 3) or (1, R, D)
        best = self.decode(
            self.encode(pixels), options, picture_keys=[picture_key(pixels[0])], attention=attention, **overrides
        )[0][0]
        return dataclasses.replace(best, source=source_name(source))

    def stream(
        self,
        sources: Iterable[Source | Failure],
        options: DecodeOptions | None = None,
        *,
        batch: int = BATCH,
        attention: bool = False,
        **overrides: Any,
    ) -> Iterator[Caption | Failure]:
        """Captions of many pictures, in order; a source that gives none is a `Failure` in its place and ends nothing.

        With `num_captions=N` each picture gives N captions in a row, best first; fewer where not as many differ, as
        those of groups or of a reranked sample may. Sources may be endless: they are taken a few ahead of the encoder,
        and no more than two batches of pictures are held. A `Failure` among the sources is passed on.
        Raises `RecipeError` on an unknown option, at once and not at the first caption.
        """
        if batch < 1:
            raise RecipeError(f"batch is {batch}, expected 1 or more pictures")
        return self._stream(sources, self._options(options, overrides), batch, attention)

    def _stream(
        self, sources: Iterable[Source | Failure], options: DecodeOptions, batch: int, attention: bool
    ) -> Iterator[Caption | Failure]:
        with ThreadPoolExecutor(self._threads or default_threads(), "showtell-read") as pool:
            read = _ahead(pool, self._read, sources, batch)
            while group := list(islice(read, batch)):
                pictures = [pixels for _, pixels in group if not isinstance(pixels, Failure)]
                captions = iter(self._describe(pictures, options, attention) if pictures else [])
                for name, pixels in group:
                    if isinstance(pixels, Failure):
                        yield pixels
                    else:
                        yield from (dataclasses.replace(caption, source=name) for caption in next(captions))

    def _describe(self, pictures: list[NDArray[Any]], options: DecodeOptions, attention: bool) -> list[list[Caption]]:
        keys = [picture_key(pixels) for pixels in pictures]
        return self.decode(self.encode(np.stack(pictures)), options, picture_keys=keys, attention=attention)

    def _read(self, source: Source | Failure) -> tuple[str, NDArray[Any] | Failure]:
        if isinstance(source, Failure):
            return source.source, source
        name = source_name(source)
        try:
            return name, self.read(source)
        except ShowtellError as error:
            return name, Failure(name, error)

    def _options(self, options: DecodeOptions | None, overrides: dict[str, Any]) -> DecodeOptions:
        known = [f.name for f in dataclasses.fields(DecodeOptions)]
        if unknown := [name for name in overrides if name not in known]:
            raise RecipeError(f"unknown option {unknown[0]!r}; known are {', '.join(known)}")
        return dataclasses.replace(options or self.decoding, **overrides)


def load(path: Model | Sequence[Model] | None = None, *, threads: int | None = None) -> Captioner:
    """The same as `Captioner.load`."""
    return Captioner.load(path, threads=threads)


def picture_key(pixels: NDArray[Any]) -> int:
    """A number from 0 to 2 ** 63 - 1 that prepared pixels (S, S, 3), or regions, always give, on every machine."""
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _ahead(pool: ThreadPoolExecutor, function: Any, items: Iterable[Any], ahead: int) -> Iterator[Any]:
    """`map` in order, `ahead` items in work or waiting beyond the one that is asked for; no more are ever taken."""
    waiting: deque[Future[Any]] = deque()
    rest = iter(items)
    try:
        waiting.extend(pool.submit(function, item) for item in islice(rest, ahead))
        while waiting:
            done = waiting.popleft()
            waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
            yield done.result()
    finally:
        for future in waiting:
            future.cancel()
