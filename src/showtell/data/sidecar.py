"""A folder of pictures in which each has a text file of the same name with one caption a line."""

import os
from collections.abc import Sequence
from pathlib import Path

from showtell.data.collect import Collector
from showtell.data.dataset import known_split
from showtell.data.pictures import is_picture
from showtell.data.textfiles import read_text

# Text files that lie in such folders and hold no captions.
_OTHER_TEXTS = frozenset({"readme", "license", "licence", "notice", "classes", "requirements", "copyright"})


def find_sidecars(root: Path) -> list[Path]:
    """The text files, if at least one lies beside a picture of its name."""
    return _sidecars(root)[0]


def read_sidecars(files: Sequence[Path], collector: Collector) -> None:
    """Read captions; pictures without a text file are examples without captions. Folders may name the split."""
    texts, pictures = _sidecars(collector.root)
    used = set()
    captions = {path.with_suffix(""): path for path in texts}
    for picture in pictures:
        text = captions.get(picture.with_suffix(""))
        name = picture.relative_to(collector.root).as_posix()
        split = next((part for part in name.split("/")[:-1] if known_split(part)), None)
        if text is None:
            collector.add(name, (), where=name, split=split)
            continue
        used.add(text)
        lines = read_text(text).splitlines()
        for number, line in enumerate(lines or [""], start=1):
            # A blank line at the end or between captions is no caption; a file of blanks is an empty one.
            if line.strip() or not any(lines):
                collector.add(name, (line,), where=collector.where(text, number), split=split)
    for path in texts:
        if path not in used:
            collector.problem(
                "orphan caption", str(path.relative_to(collector.root)), "no picture of this name beside it"
            )


def _sidecars(root: Path) -> tuple[list[Path], list[Path]]:
    texts, pictures = [], []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        here = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        pictures += [path for path in here if is_picture(path.name)]
        texts += [path for path in here if path.suffix.lower() == ".txt" and path.stem.lower() not in _OTHER_TEXTS]
    stems = {path.with_suffix("") for path in pictures}
    return (texts if any(path.with_suffix("") in stems for path in texts) else []), pictures
