"""What a user names on the command line -> sources: files and addresses as they are, folders as their pictures."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from showtell.caption import Failure
from showtell.errors import ImageError
from showtell.names import printable
from showtell.sources import PICTURE_SUFFIXES, is_address


def expand(names: Iterable[str], suffixes: Collection[str] = PICTURE_SUFFIXES) -> Iterator[str | Failure]:
    """Names in order; a folder becomes its pictures, subfolders too, sorted; hidden files and folders are left out.

    What a folder's files are is told by their `suffixes`. Lazily, however large the folder. A folder that holds no
    picture or cannot be listed is a `Failure`.
    """
    for name in names:
        if is_address(name) or not Path(name).is_dir():
            yield name
        else:
            yield from _pictures(name, suffixes)


def _pictures(folder: str, suffixes: Collection[str]) -> Iterator[str | Failure]:
    trouble: list[OSError] = []
    found = False
    for place, folders, files in os.walk(folder, onerror=trouble.append):
        yield from _unlisted(trouble)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122
                found = True
                yield os.path.join(place, name)  # noqa: PTH118 - Path would drop a "./" that the user typed
    found = found or bool(trouble)
    yield from _unlisted(trouble)
    if not found:
        known = "picture (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF by their suffixes)"
        if suffixes is not PICTURE_SUFFIXES:
            known = f"file of regions ({', '.join(suffixes)})"
        yield Failure(folder, ImageError(f"{printable(folder)}: holds no {known}"))


def _unlisted(trouble: list[OSError]) -> Iterator[Failure]:
    while trouble:
        error = trouble.pop(0)
        name = str(error.filename)
        reason = f"the folder cannot be listed ({error.strerror}); change its permissions"
        yield Failure(name, ImageError(f"{printable(name)}: {reason}"))
