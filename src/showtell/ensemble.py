"""Several bundles that tell a caption together: each sees the picture in its own way, their probabilities are averaged.

M members, B pictures, S side of a picture, R regions, D region size; N numbers of a picture that is prepared in several
ways.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.ensemble import EnsembleDecoder, MemberRegions
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import Search
from showtell.errors import BundleError, ImageError
from showtell.images import Source
from showtell.names import Named
from showtell.runtime import BANNED
from showtell.sources import load_picture, read_content, source_name
from showtell.step_search import StepSearch

if TYPE_CHECKING:
    from showtell.backend import BundleBackend


class EnsembleBackend:
    """A `Backend` (see `captioner.py`) of several bundles with the same words.

    What a call does not say, and the attention, are the first one's. A picture is prepared once for all members that
    want it alike; where they differ, `read` gives all preparations in one row, which `encode` takes apart.
    """

    def __init__(self, members: Sequence["BundleBackend"]) -> None:
        """Raises `BundleError` where words differ, or one takes pictures and another regions from files."""
        self.members = tuple(members)
        first = self.members[0]
        for other in self.members[1:]:
            _check_fit(first, other)
        self.images, self.decoding, self.words = first.images, first.decoding, first.words
        self._decoder = EnsembleDecoder([member.decoder for member in self.members], NumpyArrays())
        inputs = [member.input for member in self.members]
        self._distinct = [self.members[inputs.index(one)] for one in dict.fromkeys(inputs)]
        self._reader_of = [list(dict.fromkeys(inputs)).index(one) for one in inputs]  # (M,) rows of `_distinct`

    def read(self, source: Source) -> NDArray[Any]:
        """One source: as its members want it if they want it alike, or else a row (N,) of each one's numbers.

        The source is fetched once. Raises as each member's `read`.
        """
        if len(self._distinct) == 1:
            return self.members[0].read(source)
        if isinstance(source, Image.Image):
            load_picture(source)  # in full, before the first member takes a smaller version that suits it alone
        elif not isinstance(source, np.ndarray):
            source = Named(source_name(source), read_content(source))
        return np.concatenate([member.read(source).reshape(-1) for member in self._distinct])

    def encode(self, pixels: NDArray[Any]) -> MemberRegions:
        """What `read` gave of B pictures -> each member's regions. Raises `ImageError` where it is of another shape."""
        inputs = [pixels] if len(self._distinct) == 1 else self._apart(pixels)
        return MemberRegions(
            tuple(member.encode(inputs[row]) for member, row in zip(self.members, self._reader_of, strict=True))
        )

    def search(self, options: DecodeOptions, *, attention: bool = False) -> StepSearch:
        """A search whose captions are found together; each member's regions are added to it."""
        first = self.members[0]
        wanted = attention and first.places is not None
        search = Search(self._decoder, options, NumpyArrays(), banned=BANNED, with_attention=wanted)
        return StepSearch(search, partial(first.captions, attention=wanted))

    def _apart(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        shapes = [member.input_shape for member in self._distinct]
        sizes = [math.prod(shape) for shape in shapes]
        if rows.ndim != 2 or rows.shape[1] != sum(sizes):
            raise ImageError(
                f"pictures are {rows.dtype} {rows.shape}, expected (B, {sum(sizes)}), all that the ensemble's members "
                "want of each; prepare them with Captioner.read"
            )
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        return [
            np.ascontiguousarray(part).reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)
        ]


def _check_fit(first: "BundleBackend", other: "BundleBackend") -> None:
    ours, theirs = first.vocabulary, other.vocabulary
    if ours.words != theirs.words or ours.tokenizer != theirs.tokenizer:
        places = zip(theirs.words, ours.words, strict=False)
        differing = next(((i, *pair) for i, pair in enumerate(places) if pair[0] != pair[1]), None)
        where = f", word {differing[0]} is {differing[1]!r} and not {differing[2]!r}" if differing else ""
        raise BundleError(
            f"{other.path}: knows {len(theirs):,} words by tokenizer {theirs.tokenizer!r}{where}; expected the "
            f"{len(ours):,} by {ours.tokenizer!r} of {first.path}: train the members of an ensemble on the same "
            "captions with the same [vocabulary]"
        )
    if (first.images is None) != (other.images is None):
        kinds = ["pictures" if member.images else "regions from files" for member in (other, first)]
        raise BundleError(
            f"{other.path}: takes {kinds[0]}, expected {kinds[1]} as {first.path} does; make an ensemble of one kind"
        )
