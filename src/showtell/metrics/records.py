"""Files of candidates and references in any of their forms -> records: who the picture is, and its captions.

Everything that a record holds is checked here, so that nothing is guessed and nothing left out without a word.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from showtell.data.pictures import is_picture
from showtell.data.tables import CAPTION_COLUMNS, IMAGE_COLUMNS, texts_of
from showtell.data.textfiles import columns_of, header_of, parse_json, read_text, table_rows
from showtell.errors import DataError
from showtell.names import printable

AUTO = "auto"
# Form -> what it is, for help and messages.
FORMS = {
    "json": "COCO results or captions, Karpathy's JSON, or an object of id to captions",
    "jsonl": "one JSON object a line",
    "csv": "a table with a header, parted by commas, tabs, semicolons or bars",
    "txt": "lines of picture<TAB>caption",
    "lines": "line i holds the captions of picture i, parted by tabs",
}
ID_COLUMNS = ("image_id", "id", "img_id", "cocoid", "imgid")  # of several the first: in COCO's files "id" is another's
_JSON_START = re.compile(r"\s*(?:\[\s*[\[{\]\"]|\{\s*[\"}])")
_TOKEN_NAME = re.compile(r"(.+)#\d+")  # name.jpg#0, as Flickr's own files have it


class Record(NamedTuple):
    """An entry of a file. A picture may have several, and none of them need have a caption."""

    keys: tuple[str, ...]  # what names the picture: its id if there is one, its file if there is one
    captions: list[str]  # raw
    where: str  # file and line or entry
    split: str | None = None
    failed: str | None = None  # why there is no caption, where a captioner told that


def read_records(path: Path, form: str, notes: list[str]) -> tuple[str, Iterator[Record]]:
    """The form of a file (recognised by its content where `form` is "auto"), and its records in order.

    What is left out on purpose is added to `notes` while reading. Raises `DataError`, also while reading, where the
    file cannot be read in this form or an entry is not what it should be.
    """
    if form not in (AUTO, *FORMS):
        raise DataError(f"{path}: form {form!r} is not known for files, expected one of {', '.join((AUTO, *FORMS))}")
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "a device or pipe"
        raise DataError(f"{path}: is {found}, expected a file of captions; save them in one")
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: is empty, expected captions")
    if form == AUTO:
        form = _recognise(path, text)
    return form, _READERS[form](path, text, notes)


def _recognise(path: Path, text: str) -> str:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix == ".json" or _JSON_START.match(text):
        first, _, rest = text.lstrip().partition("\n")
        return "jsonl" if first.startswith("{") and rest.strip() and _is_json(first) else "json"
    if suffix in (".csv", ".tsv", ".tab") or header_of(path, (*ID_COLUMNS, *IMAGE_COLUMNS), CAPTION_COLUMNS):
        return "csv"
    name, tab, _ = text.lstrip("\n").partition("\n")[0].partition("\t")
    named = is_picture(name) or _TOKEN_NAME.fullmatch(name) or name.isdecimal() or name.startswith(("http:", "https:"))
    return "txt" if tab and named else "lines"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# JSON


def _read_json(path: Path, text: str, notes: list[str]) -> Iterator[Record]:
    try:
        content = parse_json(path, text, pairs=partial(_object, str(path)))
    except ValueError as error:  # Python refuses numbers of thousands of digits
        raise DataError(f"{path}: not JSON (a number is too long), expected {FORMS['json']}") from error
    if isinstance(content, list):
        yield from (_row(record, f"{path}:[{i}]") for i, record in enumerate(content))
    elif not isinstance(content, dict):
        raise DataError(f"{path}: found {_kind(content)}, expected {FORMS['json']}")
    elif isinstance(content.get("annotations"), list):
        yield from _coco(path, content, notes)
    elif isinstance(content.get("images"), list):
        yield from (_karpathy(image, f"{path}:images[{i}]") for i, image in enumerate(content["images"]))
    elif any(name in content for name in CAPTION_COLUMNS):
        yield _row(content, f"{path}:1")
    elif all(isinstance(value, str | list | None) for value in content.values()):
        for key, value in content.items():
            where = f"{path}:{shown(key)}"
            yield Record((_key(key, where),), _captions(value, where), where)
    else:
        raise DataError(f"{path}: found the keys {_listed(content)}, expected {FORMS['json']}")


def _object(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: {shown(twice)} stands twice in an object, expected once; put captions in a list")
    return found


def _coco(path: Path, content: dict[str, Any], notes: list[str]) -> Iterator[Record]:
    """COCO captions. Where the pictures are listed, they are the set: captions of others do not count, as there."""
    listed: set[str] | None = None
    if isinstance(content.get("images"), list):
        listed = set()
        for i, image in enumerate(content["images"]):
            where = f"{path}:images[{i}]"
            keys = _keys(_checked(image, where), where)
            listed.add(keys[0])
            yield Record(keys, [], where)
    others = 0
    for i, annotation in enumerate(content["annotations"]):
        where = f"{path}:annotations[{i}]"
        if "image_id" not in _checked(annotation, where):  # its "id" is the annotation's own
            raise DataError(f"{where}: found the keys {_listed(annotation)}, expected image_id and caption")
        row = _row(annotation, where)
        if listed is not None and row.keys[0] not in listed:
            others += 1
        else:
            yield row
    if others:
        notes.append(
            f"{path}: {others:,} captions of pictures that are not in its list 'images' are left out, as the COCO "
            "evaluation does"
        )


def _karpathy(image: Any, where: str) -> Record:
    image = _checked(image, where)
    names = [image.get("cocoid", image.get("imgid")), image.get("filename")]
    keys = tuple(_key(name, where) for name in names if name is not None)
    sentences = image.get("sentences")
    if not keys or not isinstance(sentences, list):
        raise DataError(f"{where}: found the keys {_listed(image)}, expected filename, split and sentences")
    split = image.get("split")
    return Record(keys, _captions(sentences, where), where, split=None if split is None else str(split))


def _read_jsonl(path: Path, text: str, notes: list[str]) -> Iterator[Record]:
    # Not splitlines: JSON strings may hold the other line separators of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line, object_pairs_hook=partial(_object, where))
        except (ValueError, RecursionError) as error:  # Python also refuses numbers of thousands of digits
            plain = "too deep" if isinstance(error, RecursionError) else "a number is too long"
            at = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else plain
            raise DataError(f"{where}: not JSON ({at}), expected one object a line; mend or delete the line") from error
        yield _row(record, where)


def _row(record: Any, where: str) -> Record:
    """An object with a picture's id or file and its caption or captions."""
    record = {str(name).strip().lower(): value for name, value in _checked(record, where).items()}
    keys, split = _keys(record, where), record.get("split")
    name = next((name for name in CAPTION_COLUMNS if name in record), None)
    split = None if split is None else str(split)
    if name is not None:
        return Record(keys, _captions(record[name], where), where, split)
    if "error" in record:
        return Record(keys, [], where, split, failed=str(record["error"]))
    raise DataError(f"{where}: found the keys {_listed(record)}, expected one of {_listed(CAPTION_COLUMNS)}")


def _keys(record: dict[str, Any], where: str) -> tuple[str, ...]:
    found = []
    for names in (ID_COLUMNS, IMAGE_COLUMNS):
        value = next((record[name] for name in names if record.get(name) is not None), None)
        if value is not None:
            found.append(_key(value, where))
    if not found:
        expected = _listed((*ID_COLUMNS, *IMAGE_COLUMNS))
        raise DataError(f"{where}: found the keys {_listed(record)}, expected the picture as one of {expected}")
    return tuple(found)


def _key(value: Any, where: str) -> str:
    """A picture's id as text: 42, 42.0 and "42" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{where}: the picture's id is {_kind(value)}, expected a whole number or a text")
    key = str(value).strip()
    if not key:
        raise DataError(f"{where}: the picture's id is empty, expected a number or a name")
    return key


def _captions(value: Any, where: str) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    texts = []
    for entry in entries:
        if isinstance(entry, dict):  # Karpathy's sentences, and what the COCO evaluation takes from programs
            entry = entry.get("raw", entry.get("caption"))
        if not isinstance(entry, str):
            raise DataError(
                f'{where}: the caption is {_kind(entry)}, expected a text; quote it, write "" for a caption without '
                "words, or leave the entry out"
            )
        texts.append(entry)
    return texts


def _checked(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataError(f"{where}: found {_kind(record)}, expected an object with a picture's id and its caption")
    return record


# Tables and lines


def _read_csv(path: Path, text: str, notes: list[str]) -> Iterator[Record]:
    header = header_of(path, (*ID_COLUMNS, *IMAGE_COLUMNS), CAPTION_COLUMNS)
    if header is None:
        raise DataError(
            f"{path}:1: found the columns {_listed(columns_of(path))}, expected one of the picture "
            f"({_listed((*ID_COLUMNS, *IMAGE_COLUMNS))}) and one of the caption ({_listed(CAPTION_COLUMNS)}); write "
            "them in the first line"
        )
    delimiter, names = header
    for line, cells, wrong in table_rows(path, delimiter, len(names), last_is_text=names[-1] in CAPTION_COLUMNS):
        where = f"{path}:{line}"
        if wrong:
            raise DataError(f"{where}: {wrong}; mend or delete the line")
        row = dict(zip(names, cells, strict=True))
        if row.get("error"):  # of `showtell caption --format csv`
            yield Record(_keys(row, where), [], where, failed=row["error"])
            continue
        caption = next(row[name] for name in CAPTION_COLUMNS if name in row)
        yield Record(_keys(row, where), texts_of(caption) or [], where, row.get("split"))


def _read_txt(path: Path, text: str, notes: list[str]) -> Iterator[Record]:
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab:
            raise DataError(
                f"{path}:{number}: found no tab in {shown(line)}, expected picture<TAB>caption as in the first line; "
                "name the form if it is another"
            )
        token = _TOKEN_NAME.fullmatch(name)
        yield Record((_key(token[1] if token else name, f"{path}:{number}"),), [caption], f"{path}:{number}")


def _read_lines(path: Path, text: str, notes: list[str]) -> Iterator[Record]:
    for number, line in enumerate(_lines(text), start=1):
        yield Record((str(number),), line.split("\t"), f"{path}:{number}")


def _lines(text: str) -> list[str]:
    # Not splitlines: captions may hold the other line separators of Unicode, and all lines after would be misplaced.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


_READERS: dict[str, Callable[[Path, str, list[str]], Iterator[Record]]] = {
    "json": _read_json,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "txt": _read_txt,
    "lines": _read_lines,
}


# For messages


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    return {"str": "a text", "list": "a list", "dict": "an object"}[type(value).__name__]


def shown(text: str) -> str:
    """Text in quotes for a message: on one line, and not a megabyte."""
    return repr(printable(text[:60]) + "..." * (len(text) > 60))


def _listed(names: Any) -> str:
    return ", ".join(shown(str(name)) for name in list(names)[:16]) or "none"
