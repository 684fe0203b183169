"""Gathers what a reader finds, entry by entry, into a `Dataset`."""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from showtell.data.dataset import SPLITS, Dataset, Problem, known_split
from showtell.data.example import Example
from showtell.data.pictures import PictureFinder
from showtell.errors import DataError

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(slots=True)
class _Entry:
    name: str
    prefer: str
    where: str
    split: str | None = None
    url: str | None = None
    captions: list[str] = field(default_factory=list)


class Collector:
    """Entries may come in any order and in pieces; the same id means the same picture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self._entries: dict[str, _Entry] = {}
        self._unknown_splits: set[str] = set()

    def problem(self, kind: str, where: str, what: str) -> None:
        self.problems.append(Problem(kind, where, what))

    def where(self, path: Path, place: int | str) -> str:
        """File and place as people read them: the file relative to the data set."""
        name = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return f"{name}:{place}"

    def is_free(self, key: str, name: str, prefer: str) -> bool:
        """Whether `key` can mean this picture: nothing has the key, or this very picture has."""
        entry = self._entries.get(key)
        return entry is None or (entry.name, entry.prefer) == (_tidy(name), prefer)

    def add(
        self,
        name: str,
        captions: Iterable[str],
        *,
        where: str,
        split: str | None = None,
        key: str | None = None,
        prefer: str = "",
        url: str | None = None,
    ) -> None:
        """Add captions to the picture `name` (an id apart from it is `key`), which is looked for in `prefer` first.

        `split` is what the data set calls it, `url` an address of the picture, kept if it is http or https. A picture
        in two splits is kept in the one held out furthest.
        """
        texts = list(captions)
        name = _tidy(name)
        if not name:
            self.problem("orphan caption", where, f"no picture is named for {_quoted(texts)}")
            return
        entry = self._entries.setdefault(key or name, _Entry(name, prefer, where))
        if url and _ADDRESS.match(url):
            entry.url = url
        for text in texts:
            if text := text.strip():
                entry.captions.append(text)
            else:
                self.problem("empty caption", where, f"the caption of {name} is empty")
        if split is not None:
            self._put_in_split(entry, split, where)

    def _put_in_split(self, entry: _Entry, split: str, where: str) -> None:
        known = known_split(split)
        if known is None:
            if split.strip() and split not in self._unknown_splits:
                self._unknown_splits.add(split)
                self.problem("bad row", where, f"split {split!r} is not known, expected {', '.join(SPLITS)}")
        elif entry.split is None:
            entry.split = known
        elif entry.split != known:
            kept = max(entry.split, known, key=SPLITS.index)
            self.problem("two splits", entry.name, f"in {entry.split} and in {known} ({where}); kept in {kept}")
            entry.split = kept

    def finish(
        self, format_name: str, files: tuple[Path, ...], image_folder: Path | None, need_pictures: bool = True
    ) -> Dataset:
        """Find the pictures of all entries.

        Raises `DataError` where there is no caption or, if any is needed, none of the pictures.
        """
        read = ", ".join(file.name for file in files[:4]) or "what is there"
        if not any(entry.captions for entry in self._entries.values()):
            first = f"; first problem: {self.problems[0].where}: {self.problems[0].what}" if self.problems else ""
            raise DataError(
                f"{self.root}: no caption in {read} (read as {format_name}), expected pictures with captions{first}"
            )
        # A table's own folder is where its names start; a folder of text files has no table.
        beside = tuple(dict.fromkeys(file.parent for file in files))
        finder = PictureFinder(self.root, image_folder, beside)
        found = {key: finder.find(entry.name, entry.prefer) for key, entry in self._entries.items()}
        if need_pictures and not any(found.values()):
            entry = next(iter(self._entries.values()))
            raise DataError(
                f"{self.root}: none of the {len(found)} pictures that {read} names is there, such as {entry.name}; "
                f"looked in {_listed(finder.folders)}; name their folder with --images"
            )
        examples, missing = [], []
        for key, entry in sorted(self._entries.items()):
            path = found[key]
            if path is None and finder.leads_out(entry.name):
                self.problem(
                    "outside",
                    entry.where,
                    f"{entry.name} is outside the data set and left out; allow its folder with --images",
                )
                continue
            if path is None:
                path = finder.guess(entry.name, entry.prefer)
                missing.append(key)
                lost = len(entry.captions)
                count = f"{lost} caption{'s' * (lost != 1)}"
                self.problem("missing picture", key, f"no file {path}; {count} ({entry.where}) for no picture")
            elif not entry.captions:
                self.problem("no caption", key, f"no caption for this picture ({entry.where})")
            examples.append(
                Example(id=key, image=path, captions=tuple(entry.captions), split=entry.split, url=entry.url)
            )
        for folder, names in finder.unused().items():
            such = ", ".join(names[:3])
            self.problem("no caption", folder, f"{len(names):,} pictures that no caption belongs to, such as {such}")
        return Dataset(
            root=self.root,
            format=format_name,
            files=files,
            examples=tuple(examples),
            problems=tuple(self.problems),
            missing=frozenset(missing),
        )


def _tidy(name: str) -> str:
    """One spelling of a name: no outer blanks, forward slashes, no "./"."""
    name = name.strip()
    if "\\" in name:
        name = name.replace("\\", "/")
    return posixpath.normpath(name) if "/" in name or name.startswith(".") else name


def _quoted(texts: list[str]) -> str:
    return repr(texts[0][:60]) if texts else "an entry"


def _listed(folders: list[str]) -> str:
    more = f" and {len(folders) - 4} more folders" if len(folders) > 4 else ""
    return ", ".join(folders[:4]) + more
