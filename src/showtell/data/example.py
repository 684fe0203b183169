"""The one record that every reader gives and every later stage takes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture with its captions.

    `image` is the file as the data set names it (it need not exist: `data check` tells), `captions` are the raw texts
    (0 or more), `split` is "train", "val", "test" or None where the data set assigns none, and `id` is the data set's
    own key: the file name relative to the picture folder, or COCO's number as text. `url` is an http(s) address of the
    picture, where the data set tells one.
    """

    id: str
    image: Path
    captions: tuple[str, ...] = ()
    split: str | None = None
    url: str | None = None
