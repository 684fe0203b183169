"""What stands behind a `Captioner`: the protocol of a model family, and the family of bundles.

B pictures, S side of a picture, R regions, D region size, T words of a caption, h and w rows and columns of regions.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from showtell.bundle import Manifest, read_bundle
from showtell.caption import Caption
from showtell.decoding.options import DecodeOptions
from showtell.decoding.protocol import StepDecoder
from showtell.errors import ImageError
from showtell.images import ImageOptions, Source
from showtell.region_files import input_reader
from showtell.tokenizers import TOKENIZERS, join_words
from showtell.vocabulary import Vocabulary

if TYPE_CHECKING:
    from showtell.decoding.search import Hypothesis


class CaptionSearch(Protocol):
    """Pictures whose captions are being found together: they join at any time, and leave with their captions."""

    def __len__(self) -> int:
        """Pictures that have no captions yet."""
        ...

    def add(self, regions: Any, names: Sequence[int], picture_keys: Sequence[int]) -> None:
        """What `encode` gave of B pictures, which join now; what `step` shall call them, and the keys of their noise.

        Neither whose company a picture has nor when it joins changes its captions. Raises `ValueError` where there are
        not B of each, or a name is taken.
        """
        ...

    def step(self) -> list[tuple[int, list[Caption]]]:
        """Go on a little, such as by one word. Returns those that are done: name and captions, best first.

        Raises `ShowtellError` where the model fails.
        """
        ...


class Backend(Protocol):
    """A model family behind a `Captioner`: pictures and options in, captions out, in two halves.

    What passes between the halves is the family's own; requests with different options can share an `encode`.
    """

    images: ImageOptions | None  # how it wants its pictures; None where it takes regions from files
    decoding: DecodeOptions  # its defaults

    def read(self, source: Source) -> NDArray[Any]:
        """One source as `encode` wants it. Raises a `ShowtellError` that names it where that cannot be done."""
        ...

    def words(self, caption: str) -> list[str]:
        """A caption of anyone in the words that this family's captions are made of."""
        ...

    def encode(self, pixels: NDArray[Any]) -> Any:
        """What `read` gave of B pictures, such as pixels (B, S, S, 3) -> whatever a `search` takes for them."""
        ...

    def search(self, options: DecodeOptions, *, attention: bool) -> CaptionSearch:
        """What finds captions by these options, their `source` empty."""
        ...


class BundleBackend:
    """Encoder, decoder and vocabulary of one bundle, run by ONNX Runtime."""

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        """Raises `BundleError` where the bundle is damaged or unsafe."""
        from showtell.runtime import OnnxModel

        bundle = read_bundle(path)
        self.path: Path = bundle.path
        self.manifest: Manifest = bundle.manifest
        self.vocabulary: Vocabulary = bundle.vocabulary
        self.images, self.decoding = bundle.manifest.images, bundle.manifest.decoding
        regions = bundle.manifest.regions
        # What the attention of a word is laid out as, if it is given at all.
        self.places = regions.grid if self.images else (regions.count,)
        self.read = input_reader(self.images, regions.count, regions.size)
        self._regions = (regions.count, regions.size)
        self._model = OnnxModel(bundle, threads=threads)
        self.decoder: StepDecoder = self._model.decoder

    @property
    def input(self) -> tuple[object, ...]:
        """What `read` depends on: equal for bundles that read a source alike. Normalising is the encoder's work."""
        wanted = self.images
        return (wanted.size, wanted.fit, wanted.crop_fraction, wanted.interpolation) if wanted else self._regions

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of what `read` gives: (S, S, 3), or (R, D)."""
        return (self.images.size, self.images.size, 3) if self.images else self._regions

    def words(self, caption: str) -> list[str]:
        """A caption in the words of the vocabulary's tokenizer."""
        return TOKENIZERS[self.vocabulary.tokenizer](caption)

    def encode(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (B, S, S, 3), 0..255 -> regions (B, R, D); without an encoder regions, as they are.

        Raises `ImageError` where pixels are of another shape or type.
        """
        expected = self.input_shape
        if self.images and (pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected):
            raise ImageError(
                f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (B, {', '.join(map(str, expected))}); "
                "prepare them with Captioner.read"
            )
        return self._model.encode(pixels)

    def search(self, options: DecodeOptions, *, attention: bool = False) -> CaptionSearch:
        """A search whose captions are found together; regions (B, R, D) are added to it."""
        from showtell.step_search import StepSearch

        wanted = attention and self.places is not None
        search = self._model.search(options, with_attention=wanted)
        return StepSearch(search, partial(self.captions, attention=wanted))

    def captions(self, sentences: "Sequence[Hypothesis]", *, attention: bool) -> list[Caption]:
        """A picture's sentences in words; with `attention` laid out as this bundle's regions are."""
        return [self._caption(sentence, attention) for sentence in sentences]

    def _caption(self, hypothesis: "Hypothesis", with_attention: bool) -> Caption:
        words = tuple(self.vocabulary.decode(hypothesis.tokens))
        maps = None
        if with_attention and self.places is not None:
            rows = np.empty((0, 1), np.float32) if hypothesis.attention is None else hypothesis.attention  # (T, R)
            maps = rows.reshape(len(words), *self.places)  # (T, h, w) or (T, R); a caption without words has T = 0
        return Caption(
            "",
            join_words(words),
            words,
            hypothesis.log_probability,
            hypothesis.score,
            maps,
            hypothesis.word_log_probabilities,
        )
