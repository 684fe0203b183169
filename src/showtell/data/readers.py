"""Every format of data set that is read, in one table, and the one function that reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from showtell.data.coco import find_coco, find_karpathy, read_coco, read_karpathy
from showtell.data.collect import Collector
from showtell.data.dataset import Dataset, Problem
from showtell.data.flickr import find_flickr, read_flickr
from showtell.data.sidecar import find_sidecars, read_sidecars
from showtell.data.split import SPLITS_FILE, apply_splits
from showtell.data.tables import (
    find_csv,
    find_imagefolder,
    find_jsonl,
    find_tsv,
    missing_columns,
    read_imagefolder,
    read_table,
    read_tables,
    table_files,
)
from showtell.data.textfiles import read_json, read_text
from showtell.errors import DataError
from showtell.region_files import with_region_files

__all__ = ["READERS", "Dataset", "Problem", "Reader", "read_dataset"]


@dataclass(frozen=True)
class Reader:
    """One format: `find` gives the files with captions in a folder, `read` puts them into a collector."""

    find: Callable[[Path], list[Path]]
    read: Callable[[Sequence[Path], Collector], None]
    looks_for: str


# Looked at in this order; the first that finds something reads.
READERS = {
    "imagefolder": Reader(find_imagefolder, read_imagefolder, "metadata.csv or metadata.jsonl"),
    "karpathy": Reader(find_karpathy, read_karpathy, "dataset_*.json"),
    "flickr": Reader(find_flickr, read_flickr, "captions.txt, results.csv or *.token.txt"),
    "coco": Reader(find_coco, read_coco, "annotations/captions_*.json"),
    "csv": Reader(find_csv, read_tables, "*.csv with columns image and caption"),
    "tsv": Reader(find_tsv, read_tables, "*.tsv with columns image and caption"),
    "jsonl": Reader(find_jsonl, read_tables, "*.jsonl with keys image and caption"),
    "txt": Reader(find_sidecars, read_sidecars, "pictures with a .txt file of the same name"),
}
FORMATS = ("auto", *READERS)


def read_dataset(
    folder: Path,
    *,
    format: str = "auto",
    image_folder: Path | None = None,
    splits: Path | None = None,
    regions: Path | None = None,
    need_pictures: bool = True,
) -> Dataset:
    """Read a data set of any format of `READERS`, chosen by what lies in the folder or named by `format`.

    Pictures are looked for in the folder and its sub-folders, or in `image_folder` alone. A `splits.json` in the
    folder, or the file `splits`, replaces the data set's own splits. With `regions`, a folder of region files, each
    example's `image` is its region file, and no picture need be there; nor without `need_pictures`. What is wrong with
    single entries goes into `Dataset.problems`, and a picture that is not there is still an example. Raises `DataError`
    where nothing can be read: no such folder, no known format, text that is not UTF-8, damaged JSON, a missing column,
    no caption, or none of the pictures.
    """
    need_pictures = need_pictures and regions is None
    dataset = read_own(folder, format=format, image_folder=image_folder, need_pictures=need_pictures)
    if regions is not None:
        dataset = replace(dataset, examples=tuple(with_region_files(dataset.examples, regions)))
    stored = splits if splits is not None else dataset.root / SPLITS_FILE
    if splits is not None or stored.is_file():
        dataset = apply_splits(dataset, stored)
    return replace(dataset, problems=(*dataset.problems, *_notes_on_splits(dataset)))


def read_own(
    folder: Path, *, format: str = "auto", image_folder: Path | None = None, need_pictures: bool = True
) -> Dataset:
    """As `read_dataset`, with the data set's own splits alone."""
    if format not in FORMATS:
        raise DataError(f"data format {format!r} is not known, expected one of {', '.join(FORMATS)}")
    folder = Path(folder)
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "is not there"
        raise DataError(f"{folder}: {found}, expected the folder of a data set; check the name")
    try:
        name, files, others = _choose(folder, format)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    collector = Collector(folder)
    READERS[name].read(files, collector)
    dataset = collector.finish(name, tuple(files), image_folder, need_pictures)
    return replace(dataset, problems=(*dataset.problems, *others))


def _choose(folder: Path, format: str) -> tuple[str, list[Path], list[Problem]]:
    """The reader's name, its files, and notes on files that other readers would have read."""
    names = tuple(READERS) if format == "auto" else (format,)
    found: dict[str, list[Path]] = {}
    for name in names:
        # Looking for text files walks through all pictures: only where nothing else was found.
        if not (name == "txt" and found) and (files := READERS[name].find(folder)):
            found[name] = files
    if not found:
        _explain(folder, format)
        wanted = "; ".join(f"{READERS[name].looks_for} ({name})" for name in names)
        raise DataError(f"{folder}: no captions found, looked for {wanted}; see `showtell data --help`")
    chosen = next(iter(found))
    others = {path: name for name, files in reversed(found.items()) for path in files if path not in found[chosen]}
    read = found[chosen][0].name
    notes = [
        Problem("left out", path.name, f"not read, as {read} was; --format {name} reads it instead")
        for path, name in sorted(others.items())
    ]
    return chosen, found[chosen], notes


def _explain(folder: Path, format: str) -> None:
    """Raise the exact reason where a file is there that was meant to be read and cannot be."""
    suffixes = {"csv": "csv", "tsv": "tsv|tab", "jsonl": "jsonl|ndjson"}
    wanted = suffixes.get(format, "|".join(suffixes.values()) if format == "auto" else "(?!)")
    for path in table_files(folder, rf".*\.({wanted})"):
        read_text(path)
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            read_table(path, Collector(folder))
        else:
            raise missing_columns(path)
    if format in ("auto", "coco", "karpathy"):
        for path in table_files(folder, r".*\.json"):
            read_json(path)


def _notes_on_splits(dataset: Dataset) -> list[Problem]:
    without = dataset.of_split(None)
    if not without:
        return []
    total, such = len(dataset.examples), ", ".join(example.id for example in without[:3])
    if len(without) == total:
        return [Problem("no split", str(dataset.root), "no picture is in a split; `showtell data split` makes one")]
    return [Problem("no split", str(dataset.root), f"{len(without):,} of {total:,} pictures are in no split: {such}")]
