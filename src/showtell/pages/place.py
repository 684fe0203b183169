"""The folder of a page: whose it is, a page that appears whole or not at all, and texts without the machine's folders.

A page is known by its `index.html`, which names this program, and holds nothing that was not written with it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from showtell.errors import ShowtellError
from showtell.files import SYSTEM_FILES, check_writable, replace_folder
from showtell.names import printable

INDEX = "index.html"
MARK = '<meta name="generator" content="showtell evaluate">'  # stands near the start of the index
_HEAD = 2048  # bytes of the index in which the mark must stand
_OWN = re.compile(r"index\.html|[a-z]+\.(css|js)|(pictures|attention)(/\d+\.(jpg|js))?")

# An absolute path inside a message, up to its last separator: behind a blank, a quote or a bracket, as no address is.
_FOLDERS = re.compile(r"""(?:(?<=[\s'"(=])|^)(?:[A-Za-z]:)?[\\/](?=\S)(?:[^,;:()'"\n]*[\\/])?""")


def check_place(folder: Path) -> None:
    """Raise `ShowtellError` where a page must not, or cannot be written: over anything but an older page."""
    name = printable(str(folder))
    try:
        if folder.exists():
            _check_old(folder, name)
        check_writable(folder.resolve().parent)
    except OSError as error:
        raise ShowtellError(f"{name}: cannot be read ({error.strerror or error}); check its permissions") from error


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write into, put in its place when the block ends well.

    An older page there is renamed away just before and deleted last, so a kill leaves no half page. Where the block
    raises, what was there stays. Raises `ShowtellError` as `check_place` does, and where the disk fails.
    """
    check_place(folder)
    place = folder.resolve()  # a link stays one
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(place) as aside:
            yield aside
    except OSError as error:
        reason = error.strerror or error
        raise ShowtellError(f"{printable(str(folder))}: cannot be written ({reason}); check folder and disk") from error


def without_folders(text: str) -> str:
    """Text in which absolute paths are shortened to their last part: a page may travel, the machine's names not."""
    return _FOLDERS.sub("", text)


def last_part(path: str | os.PathLike[str]) -> str:
    """A relative path as it stands, of an absolute one its last part."""
    text = os.fspath(path)
    for kind in (PurePosixPath, PureWindowsPath):
        if (pure := kind(text)).is_absolute():
            return pure.name or text
    return text


def _check_old(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise ShowtellError(f"{name}: is a file, expected the folder of a page; name another")
    entries = sorted(path.name for path in folder.iterdir() if path.name not in SYSTEM_FILES)
    if entries and not _is_page(folder):
        raise ShowtellError(f"{name}: exists and is no page of `showtell evaluate`; name another folder")
    if foreign := _foreign(folder):
        raise ShowtellError(
            f"{name}: holds {printable(foreign)}, which is no part of the page; move it away, or name another folder"
        )


def _is_page(folder: Path) -> bool:
    index = folder / INDEX
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return MARK.encode() in file.read(_HEAD)


def _foreign(folder: Path) -> str | None:
    """The first file that no page holds, relative to the folder."""
    for place, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            relative = (Path(place) / name).relative_to(folder).as_posix()
            if name not in SYSTEM_FILES and not _OWN.fullmatch(relative):
                return relative
    return None
