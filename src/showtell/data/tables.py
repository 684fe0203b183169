"""CSV, TSV and JSON-lines tables of picture and caption, and Hugging Face's image folders, which carry such tables."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from showtell.data.collect import Collector
from showtell.data.dataset import known_split
from showtell.data.textfiles import columns_of, ends_of, header_of, read_text, table_rows
from showtell.errors import DataError

IMAGE_COLUMNS = ("image", "file", "file_name", "path", "filename", "image_name", "image_path", "img", "picture")
CAPTION_COLUMNS = ("caption", "text", "captions", "comment", "description", "sentence", "sentences")
# Folders in which data sets keep their tables, in lower case; "" is the data set's own.
TABLE_FOLDERS = ("", "annotations", "flickr8k_text", "text", "captions")
_IMAGEFOLDER_NAMES = ("metadata.csv", "metadata.jsonl")


def table_files(root: Path, pattern: str) -> list[Path]:
    """Files whose name matches the regular expression `pattern`, in the folders where tables are kept, sorted."""
    matches = re.compile(pattern, re.IGNORECASE).fullmatch
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in TABLE_FOLDERS)]
    return [path for folder in folders for path in sorted(folder.iterdir()) if matches(path.name) and path.is_file()]


def find_csv(root: Path) -> list[Path]:
    return _captioned(table_files(root, r".*\.csv"))


def find_tsv(root: Path) -> list[Path]:
    return _captioned(table_files(root, r".*\.(tsv|tab)"))


def find_jsonl(root: Path) -> list[Path]:
    return [path for path in table_files(root, r".*\.(jsonl|ndjson)") if _first_record_has_caption(path)]


def find_imagefolder(root: Path) -> list[Path]:
    """metadata.csv or metadata.jsonl in the folder, in its split folders, or one level below `data/`."""
    tops = [root, root / "data"]
    folders = [*tops, *(sub for top in tops if top.is_dir() for sub in sorted(top.iterdir()) if known_split(sub.name))]
    return [file for folder in folders for name in _IMAGEFOLDER_NAMES if (file := folder / name).is_file()]


def read_tables(files: Sequence[Path], collector: Collector) -> None:
    """Read tables that share one data set: several must be told apart by their names, as in train.csv and test.csv.

    Raises `DataError` where one lacks a column, or where two could be the same captions twice.
    """
    splits = [_split_of_stem(path) for path in files]
    if len(files) > 1 and None in splits:
        names = ", ".join(path.name for path in files)
        raise DataError(
            f"{collector.root}: several tables with captions ({names}), expected one, or one for each split such as "
            "train.csv and test.csv; move the others away"
        )
    for path, split in zip(files, splits, strict=True):
        read_table(path, collector, split=split)


def read_imagefolder(files: Sequence[Path], collector: Collector) -> None:
    """Read the metadata of an image folder: `file_name` starts at the metadata's own folder, which names the split."""
    for path in files:
        folder = path.parent.relative_to(collector.root).as_posix()
        read_table(path, collector, folder="" if folder == "." else folder, split_by_folder=True)


def read_table(
    path: Path, collector: Collector, *, split: str | None = None, folder: str = "", split_by_folder: bool = False
) -> None:
    """Read one CSV, TSV or JSON-lines table. `split` holds for rows that name none themselves."""
    records = _jsonl_records if path.suffix.lower() in (".jsonl", ".ndjson") else _table_records
    for line, record in records(path, collector):
        where = collector.where(path, line)
        image, captions = _first(record, IMAGE_COLUMNS), texts_of(_first(record, CAPTION_COLUMNS))
        if not isinstance(image, str) or captions is None:
            found = "a picture" if isinstance(image, str) else "a caption" if captions is not None else "neither"
            collector.problem("bad row", where, f"expected a picture's name and a text or texts, found {found}")
            continue
        name = f"{folder}/{image}" if folder and image.strip() else image
        row_split = record.get("split") or split
        if row_split is None and split_by_folder:
            row_split = next((part for part in name.split("/")[:-1] if known_split(part)), None)
        collector.add(name, captions, where=where, split=None if row_split is None else str(row_split))


def missing_columns(path: Path) -> DataError:
    """The error that tells which columns a table has and which it needs."""
    found = ", ".join(repr(name) for name in columns_of(path)) or "none"
    return DataError(
        f"{path}:1: found the columns {found}, expected one of the picture ({', '.join(IMAGE_COLUMNS)}) and "
        f"one of the caption ({', '.join(CAPTION_COLUMNS)}); rename them in the first line"
    )


def _table_records(path: Path, collector: Collector) -> list[tuple[int, dict[str, Any]]]:
    header = header_of(path, IMAGE_COLUMNS, CAPTION_COLUMNS)
    if header is None:
        raise missing_columns(path)
    delimiter, names = header
    records = []
    for line, cells, wrong in table_rows(path, delimiter, len(names), last_is_text=names[-1] in CAPTION_COLUMNS):
        if wrong:
            collector.problem("bad row", collector.where(path, line), wrong)
        else:
            records.append((line, dict(zip(names, cells, strict=True))))
    return records


def _jsonl_records(path: Path, collector: Collector) -> list[tuple[int, dict[str, Any]]]:
    records: list[tuple[int, dict[str, Any]]] = []
    # Not splitlines: JSON strings may hold the other line separators of Unicode.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            at = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
            collector.problem("bad row", collector.where(path, number), f"not JSON ({at})")
            continue
        if isinstance(record, dict):
            records.append((number, {str(key).strip().lower(): value for key, value in record.items()}))
        else:
            collector.problem(
                "bad row", collector.where(path, number), "expected a JSON object with picture and caption"
            )
    columns = {key for _, record in records for key in record}
    if records and (columns.isdisjoint(IMAGE_COLUMNS) or columns.isdisjoint(CAPTION_COLUMNS)):
        raise missing_columns_of_records(path, sorted(columns))
    return records


def missing_columns_of_records(path: Path, found: list[str]) -> DataError:
    """As `missing_columns`, for JSON lines."""
    return DataError(
        f"{path}: found the keys {', '.join(map(repr, found[:12]))}, expected one of the picture "
        f"({', '.join(IMAGE_COLUMNS)}) and one of the caption ({', '.join(CAPTION_COLUMNS)}); rename them"
    )


def _captioned(paths: list[Path]) -> list[Path]:
    return [path for path in paths if header_of(path, IMAGE_COLUMNS, CAPTION_COLUMNS)]


def _first_record_has_caption(path: Path) -> bool:
    head = ends_of(path).lower()
    return any(f'"{name}"' in head for name in IMAGE_COLUMNS) and any(f'"{name}"' in head for name in CAPTION_COLUMNS)


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)


def texts_of(value: Any) -> list[str] | None:
    """Captions of a cell: a text, a list of texts, or such a list written as JSON, as some exports have it."""
    if isinstance(value, str) and value.startswith('["') and value.endswith('"]'):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return [value]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    return None


def _split_of_stem(path: Path) -> str | None:
    """The split that a file's name tells, as in train.csv, captions_val.tsv or test2017.jsonl."""
    words = re.findall(r"[a-z]+", path.stem.lower())
    return next((split for word in words if (split := known_split(word))), None)
