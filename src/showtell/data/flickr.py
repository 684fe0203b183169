"""Flickr8k and Flickr30k in the layouts that people hold: Kaggle's tables, the official token file, the split lists."""

import re
from collections.abc import Sequence
from pathlib import Path

from showtell.data.collect import Collector
from showtell.data.tables import CAPTION_COLUMNS, IMAGE_COLUMNS, read_table, table_files
from showtell.data.textfiles import ends_of, header_of, read_text

_CAPTION_FILES = r"captions\.txt|results\.csv|(?!.*lemma).*\.token(\.txt)?"
_TOKEN_LINE = re.compile(r"[^\t\n]+#\d+\t")
# Flickr_8k.trainImages.txt, flickr30k_val.txt, test.txt
_SPLIT_LIST = r"(?:.*[._])?(train|dev|val|test)(?:[._]?images)?\.txt"


def find_flickr(root: Path) -> list[Path]:
    """captions.txt, results.csv or *.token.txt; the first, as they hold the same captions."""
    return [path for path in table_files(root, _CAPTION_FILES) if _is_token_file(path) or _is_table(path)][:1]


def read_flickr(files: Sequence[Path], collector: Collector) -> None:
    """Read the captions, then the split lists that lie with them ("dev" is our "val")."""
    for path in files:
        if _is_token_file(path):
            _read_token_file(path, collector)
        else:
            read_table(path, collector)
    for path in table_files(collector.root, _SPLIT_LIST):
        split = re.fullmatch(_SPLIT_LIST, path.name, re.IGNORECASE)
        lines = [line.strip() for line in read_text(path).split("\n")]
        # test.txt may be anybody's; a list of Flickr's names holds no blanks.
        if split is None or any(" " in line or "\t" in line for line in lines):
            continue
        for number, name in enumerate(lines, start=1):
            if name:
                # Flickr30k's lists leave the suffix out.
                full = name if "." in name else f"{name}.jpg"
                collector.add(full, (), where=collector.where(path, number), split=split.group(1))


def _is_token_file(path: Path) -> bool:
    return _TOKEN_LINE.match(ends_of(path)) is not None


def _is_table(path: Path) -> bool:
    return header_of(path, IMAGE_COLUMNS, CAPTION_COLUMNS) is not None or path.name.lower() == "captions.txt"


def _read_token_file(path: Path, collector: Collector) -> None:
    """Lines of `name.jpg#0<TAB>caption`, no quoting."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        image, mark, index = name.rpartition("#")
        if tab and mark and index.strip().isdigit():
            collector.add(image, (caption,), where=collector.where(path, number))
        else:
            collector.problem("bad row", collector.where(path, number), "expected name.jpg#0<TAB>caption")
