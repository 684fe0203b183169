"""Where the pictures of a data set are: tables name them relative to folders that every copy lays out differently."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath

from showtell.errors import DataError
from showtell.sources import PICTURE_SUFFIXES

# Searched before other folders, in this order; compared in lower case.
_USUAL = (
    "images",
    "image",
    "imgs",
    "img",
    "pictures",
    "photos",
    "flicker8k_dataset",  # the official archive's own spelling
    "flickr8k_dataset",
    "flickr30k_images",
    "flickr30k-images",
)
_DEPTH = 2  # levels of folders searched for pictures below the data set; archives often unpack to x/x


def is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122 (thousands of names a second)


class PictureFinder:
    """Finds named pictures below a data set, or below `image_folder` alone where one is given.

    Folders are listed once and names looked up in the lists, which is far faster than asking for each file.
    """

    def __init__(self, root: Path, image_folder: Path | None = None, beside: tuple[Path, ...] = ()) -> None:
        if image_folder is not None and not image_folder.is_dir():
            raise DataError(f"{image_folder}: no such folder of pictures; check the name given with --images")
        self._top = image_folder or root
        self._allowed = [os.path.abspath(folder) for folder in (root, image_folder) if folder is not None]  # noqa: PTH100
        first = [] if image_folder else [*dict.fromkeys(beside), root]
        self.folders = [str(folder) for folder in dict.fromkeys([*first, *_folders_below(self._top)])]
        self._lists: dict[str, frozenset[str]] = {}
        self._used: dict[str, set[str]] = {}
        self._hits: Counter[str] = Counter()

    def find(self, name: str, prefer: str = "") -> Path | None:
        """The file that `name` means, in the sub-folder `prefer` if there is one; None if there is none.

        A name that leads out of the data set (absolute, or by "..") finds a file only by its last part.
        """
        for candidate in (f"{prefer}/{name}", name) if prefer else (name,):
            for folder in self.folders:
                if self._has(folder, candidate):
                    self._hits[folder + f"/{prefer}" * (candidate != name)] += 1
                    return Path(os.path.normpath(os.path.join(folder, candidate)))  # noqa: PTH118
        # The folders in front of the name are somebody else's: the last part decides where only one file has it.
        last = PurePosixPath(name).name
        found = [folder for folder in self.folders if last != name and self._has(folder, last)]
        if len(found) != 1:
            return None
        self._used[found[0]].add(last)
        return Path(found[0], last)

    def guess(self, name: str, prefer: str = "") -> Path:
        """Where a missing picture would be: in the folder that holds most of the others."""
        folder = self._hits.most_common(1)[0][0] if self._hits else str(Path(self._top, prefer))
        return Path(folder, name)

    def leads_out(self, name: str) -> bool:
        """Whether a name can only mean a file outside of the data set and of the folder of pictures."""
        return _may_escape(name) and not any(self._inside(folder, name) for folder in self.folders)

    def unused(self) -> dict[str, list[str]]:
        """Pictures that lie in the folders of found ones and were never asked for, by folder."""
        return {
            folder: spare
            for folder, used in sorted(self._used.items())
            if (spare := sorted(name for name in self._files(folder) - used if is_picture(name)))
        }

    def _inside(self, folder: str, name: str) -> bool:
        # normpath, not resolve: links inside the data set may point anywhere, names may not.
        full = os.path.normpath(os.path.join(os.path.abspath(folder), name))  # noqa: PTH100, PTH118
        return any(full.startswith(allowed.rstrip("/") + "/") for allowed in self._allowed)

    def _has(self, folder: str, name: str) -> bool:
        if _may_escape(name) and not self._inside(folder, name):
            return False
        inner, _, last = name.rpartition("/")
        # An absolute inner path replaces the folder, as everywhere.
        folder = os.path.normpath(os.path.join(folder, inner)) if inner else folder  # noqa: PTH118
        if last not in self._files(folder):
            return False
        self._used.setdefault(folder, set()).add(last)
        return True

    def _files(self, folder: str) -> frozenset[str]:
        if folder not in self._lists:
            try:
                with os.scandir(folder) as entries:
                    self._lists[folder] = frozenset(entry.name for entry in entries if entry.is_file())
            except (FileNotFoundError, NotADirectoryError):
                self._lists[folder] = frozenset()
            except (OSError, ValueError) as error:
                raise DataError(f"{folder}: cannot be listed ({error}); check its permissions") from error
        return self._lists[folder]


def _may_escape(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _folders_below(top: Path) -> list[Path]:
    """`top` and the folders up to `_DEPTH` levels below it, those with usual names first."""
    found, level = [top], [top]
    for _ in range(_DEPTH):
        level = [
            Path(entry.path)
            for folder in level
            for entry in sorted(_subfolders(folder), key=lambda entry: (_rank(entry.name), entry.name))
        ]
        found += level
    return found


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check the name and its permissions") from error


def _rank(name: str) -> int:
    return _USUAL.index(name.lower()) if name.lower() in _USUAL else len(_USUAL)
