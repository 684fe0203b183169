"""Candidates and references from files, laid beside each other by picture.

Ids as number or text are the same id, and a candidate may name its picture by the file instead. Where the COCO
evaluation stops with an assertion (a picture that is unknown, missing or captioned twice) there is one clear error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from showtell.data.dataset import known_split
from showtell.errors import DataError
from showtell.metrics.records import AUTO, Record, read_records, shown

_SUCH = 3  # pictures named in a message
# What a data set's reader found and left out of its captions.
_LOST = ("bad row", "empty caption", "orphan caption", "outside")


@dataclass
class ReferenceSet:
    """What people say of each picture, by id, in the order of the file."""

    name: str  # how messages call it
    captions: dict[str, list[str]] = field(default_factory=dict)  # raw; none where nobody captioned the picture
    notes: list[str] = field(default_factory=list)  # what was left out on purpose
    splits: set[str] = field(default_factory=set)  # that the pictures have
    split: str | None = None  # that was asked for
    numbered: bool = False  # plain lines, whose pictures have no name but their number
    _files: dict[str, list[tuple[str, str]]] = field(default_factory=dict, repr=False)  # last part -> (file, id)

    def add(self, record: Record) -> None:
        """Put a record's captions to its picture. Raises `DataError` where one file has two ids."""
        picture = record.keys[0]
        self.captions.setdefault(picture, []).extend(record.captions)
        for file in record.keys[1:] or record.keys:
            self.name_file(file, picture, record.where)

    def name_file(self, file: str, picture: str, where: str) -> None:
        """Let a file name this picture. Raises `DataError` where it already names another."""
        file = file.replace("\\", "/")
        named = self._files.setdefault(_last_part(file), [])
        other = next((other for known, other in named if known == file), None)
        if other is None:
            named.append((file, picture))
        elif other != picture:
            raise DataError(
                f"{where}: {shown(file)} is picture {shown(picture)} here and {shown(other)} before, expected one id "
                "for each file; leave the ids out or give the picture's as image_id"
            )

    def find(self, record: Record) -> str | None:
        """The picture that a candidate's record names, None if it is none of these.

        A file is found by its whole name, by the longest end of it, or by its last part where one picture has that.
        Raises `DataError` where several pictures could be meant.
        """
        by_id = next((key for key in record.keys if key in self.captions), None)
        if by_id is not None and len(record.keys) == 1:
            return by_id
        file = record.keys[-1].replace("\\", "/")
        surely, perhaps = self._named(file)
        if by_id is not None:
            if len(surely) == 1 and by_id not in surely:
                raise DataError(
                    f"{record.where}: id {shown(by_id)} and file {shown(file)} are two pictures of {self.name}, "
                    "expected one; leave the wrong one out"
                )
            return by_id
        pictures = surely or perhaps
        if len(pictures) > 1:
            raise DataError(
                f"{record.where}: {len(pictures)} pictures of {self.name} are called {shown(file)}, expected one; name "
                "the picture by its id"
            )
        return next(iter(pictures), None)

    def _named(self, file: str) -> tuple[set[str], set[str]]:
        """Pictures whose file this is or ends as the longest known name, and those that share its last part."""
        named = self._files.get(_last_part(file), [])
        ends = [(len(known), picture) for known, picture in named if f"/{file}".endswith(f"/{known.lstrip('/')}")]
        longest = max((length for length, _ in ends), default=0)
        return {picture for length, picture in ends if length == longest}, {picture for _, picture in named}


@dataclass
class CandidateSet:
    """The captions to score, raw, by the id that the references have for the picture."""

    name: str
    captions: dict[str, list[str]] = field(default_factory=dict)  # one or more
    unknown: list[Record] = field(default_factory=list)  # of pictures that have no references
    failed: dict[str, str] = field(default_factory=dict)  # picture -> why a captioner gave no caption
    places: dict[str, str] = field(default_factory=dict, repr=False)  # picture -> file and line of the first


def read_references(paths: Sequence[Path], form: str = AUTO, split: str | None = None) -> ReferenceSet:
    """Read the references of all files together, or those of a data set's folder.

    Several files add to each other's pictures; files of plain lines must have the same number of lines. `form` is one
    of `records.FORMS` or "auto", for a folder one of `showtell.data.readers.FORMATS`. `split` keeps the pictures of one
    split, where the file tells splits. Raises `DataError` where something cannot be read or no picture has a caption.
    """
    found = ReferenceSet(", ".join(map(str, paths)), split=split)
    counts, forms = {}, set()
    for path in paths:
        name, records = _open(path, form, found)
        counts[path] = 0
        for record in records:
            counts[path] += 1
            if record.split is not None:
                found.splits.add(record.split)
            if split is None or _same_split(record.split, split):
                captions = [text for text in record.captions if text.strip()] if name == "lines" else record.captions
                found.add(record._replace(captions=captions))
        forms.add(name)
    found.numbered = forms == {"lines"}
    if "lines" in forms and (len(forms) > 1 or len(set(counts.values())) > 1):
        told = ", ".join(f"{path} {count:,}" for path, count in counts.items())
        raise DataError(f"lines or entries: {told}; expected as many in each file, as line i belongs to picture i")
    if split is not None and not found.captions:
        splits = ", ".join(sorted(found.splits))
        what = f"its splits are {splits}" if splits else "it tells no splits; leave --split out"
        raise DataError(f"{found.name}: no picture in split {split!r}, {what}")
    if not any(found.captions.values()):
        raise DataError(f"{found.name}: {len(found.captions):,} pictures and no caption, expected one or more for each")
    return found


def read_training(path: Path) -> list[str]:
    """The captions that a model learnt from: those of the train split where the file tells splits, else all."""
    found = read_references([path])
    if any(known_split(name) == "train" for name in found.splits):
        found = read_references([path], split="train")
    return [text for captions in found.captions.values() for text in captions]


def read_candidates(path: Path, references: ReferenceSet, form: str = AUTO, *, several: bool = False) -> CandidateSet:
    """Read the captions of the references' pictures; of others they stay apart, in `unknown`.

    Raises `DataError` where the file cannot be read, where a record could mean several pictures, and, unless `several`
    are wanted, where a picture has a second candidate.
    """
    notes: list[str] = []
    form, records = read_records(path, form, notes)
    found = CandidateSet(str(path))
    if form == "lines":
        _check_lines(path, references)
    for record in records:
        picture = references.find(record)
        if picture is None:
            if record.captions or record.failed:
                found.unknown.append(record)
        elif record.failed:
            found.failed[picture] = record.failed
        else:
            _add(found, picture, record, several)
    if form == "lines" and (found.unknown or len(found.captions) < len(references.captions)):
        raise DataError(
            f"{path}: {len(found.captions) + len(found.unknown):,} lines, {references.name} has "
            f"{len(references.captions):,}; expected as many, as line i belongs to picture i"
        )
    return found


def _add(found: CandidateSet, picture: str, record: Record, several: bool) -> None:
    if not record.captions:
        return
    if not several and (len(record.captions) > 1 or picture in found.captions):
        first = found.places.get(picture, "the same entry")
        raise DataError(
            f"{record.where}: a second candidate for picture {shown(picture)} (the first is in {first}), expected one; "
            "--first scores the first of each picture, --oracle the best"
        )
    found.captions.setdefault(picture, []).extend(record.captions)
    found.places.setdefault(picture, record.where)


def _open(path: Path, form: str, found: ReferenceSet) -> tuple[str, Iterator[Record]]:
    if path.is_dir():
        return "dataset", _records_of_folder(path, form, found)
    return read_records(path, form, found.notes)


def _records_of_folder(path: Path, form: str, found: ReferenceSet) -> Iterator[Record]:
    from showtell.data.readers import read_dataset

    dataset = read_dataset(path, format=form)
    lost = [problem for problem in dataset.problems if problem.kind in _LOST]
    if lost:
        found.notes.append(
            f"{path}: {len(lost):,} entries gave no caption, such as {lost[0].where}: {lost[0].what}; "
            "`showtell data check` lists them"
        )
    for example in dataset.examples:
        file = example.image.as_posix()
        yield Record((example.id, file), list(example.captions), f"{path}: {example.id}", example.split)


def _check_lines(path: Path, references: ReferenceSet) -> None:
    if not references.numbered:
        raise DataError(
            f"{path}: holds plain lines, which name no picture, and {references.name} names its pictures; expected "
            "picture<TAB>caption, JSON lines, a table with a header, or plain lines as references too"
        )


def _same_split(found: str | None, wanted: str) -> bool:
    return found is not None and (found == wanted or known_split(found) == (known_split(wanted) or wanted))


def _last_part(file: str) -> str:
    return file.rpartition("/")[2]


def such(pictures: Sequence[str]) -> str:
    """The first few of some pictures, for a message."""
    return ", ".join(map(shown, pictures[:_SUCH])) + ", ..." * (len(pictures) > _SUCH)
