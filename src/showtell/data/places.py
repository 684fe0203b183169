"""Where data sets are to be had: `places.toml`, and a user's own table of the same form, as frozen dataclasses."""

import difflib
import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from showtell.data.unpack import why_unsafe
from showtell.errors import DataError

TABLE = Path(__file__).with_name("places.toml")
HOLDINGS = ("captions", "pictures")
# What may come out of an archive at most, where the table does not say.
_UNPACKED_TIMES = 20  # its own size; COCO's annotations give about 4 times
_UNPACKED_LEAST = 1 << 26  # bytes, which do no harm


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a data set, and all that is known of it before it is loaded."""

    name: str  # of the file, and its name on disk
    part: str
    addresses: tuple[str, ...]  # http or https, tried in this order
    bytes: int = 0  # exact; 0 where none is published
    roughly: int = 0  # bytes, where no exact number is published
    sha256: str = ""  # lower case, hexadecimal; empty where none is published
    md5: str = ""
    take: tuple[str, ...] = ()  # patterns of names in the archive; all where empty
    to: str = ""  # folder below the data set's
    gives: tuple[str, ...] = ()  # files, or folders with "/" at the end, that must come out, relative to `to`
    unpacked: int = 0  # bytes that may come out at most
    holds: tuple[str, ...] = HOLDINGS

    @property
    def size(self) -> int:
        """Bytes, as well as they are known before it is loaded; 0 is unknown."""
        return self.bytes or self.roughly

    def most_unpacked(self, size: int) -> int:
        """Bytes that may come out of the archive of `size` bytes."""
        return self.unpacked or max(_UNPACKED_TIMES * size, _UNPACKED_LEAST)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A part that only its authors give out."""

    part: str
    where: str
    then: str
    holds: tuple[str, ...] = HOLDINGS


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One data set: its files by part, and what people should know."""

    name: str
    title: str
    parts: tuple[str, ...]  # loaded unless others are named
    files: tuple[SourceFile, ...]
    ask: tuple[Asked, ...] = ()
    home: str = ""
    terms: str = ""

    @property
    def all_parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*(file.part for file in self.files), *(asked.part for asked in self.ask))))


def read_places(own: Path | None = None) -> dict[str, DataSource]:
    """The table of the package, with that of the file `own` laid over it key by key.

    Raises `DataError` naming the file and key where the table cannot be read, a key is unknown or missing, or a value
    is of another kind or unsafe.
    """
    table = _read(TABLE)
    if own is not None:
        _lay_over(table, _read(own))
    where = own or TABLE
    return {name: _source(f"{where}: {name}", name, entry) for name, entry in table.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name given with --sources") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not TOML ({error}); see `showtell data download --help`") from error


def _lay_over(table: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _lay_over(table[key], value)
        else:
            table[key] = value


def _source(where: str, name: str, entry: Any) -> DataSource:
    _plain(where, "data set", name)
    files = _tables(where, entry, "files")
    asked = _tables(where, entry, "ask")
    source: DataSource = _made(
        DataSource,
        where,
        entry,
        name=name,
        files=tuple(_file(f'{where}.files."{key}"', key, value) for key, value in files.items()),
        ask=tuple(_made(Asked, f"{where}.ask.{key}", value, part=key) for key, value in asked.items()),
    )
    for part in source.all_parts:
        _plain(where, "part", part)
    unknown = set(source.parts) - set(source.all_parts)
    if unknown or not source.files:
        found = f"names {', '.join(sorted(unknown))}" if unknown else "there is no file"
        raise DataError(f"{where}.parts: {found}, expected parts of its files ({', '.join(source.all_parts)})")
    return source


def _file(where: str, name: str, entry: Any) -> SourceFile:
    file: SourceFile = _made(SourceFile, where, entry, name=name)
    # The name becomes a file of ours, with endings of its own beside it.
    reason = "is no plain file name" if "/" in name or name.startswith(".") or len(name) > 200 else why_unsafe(name)
    if reason:
        raise DataError(f"{where}: {reason}; name the file as the server does, without folders")
    for key, path in [("to", file.to), *(("gives", path.rstrip("/")) for path in file.gives)]:
        if path and (reason := why_unsafe(path)):
            raise DataError(f"{where}.{key}: {path!r} {reason}; expected a path inside the data set")
    if not file.addresses:
        raise DataError(f"{where}.addresses: is empty, expected one address at least")
    for address in file.addresses:
        if urlsplit(address).scheme.lower() not in ("http", "https") or not urlsplit(address).hostname:
            raise DataError(f"{where}.addresses: {address!r} is not an http or https address")
    for key, digits in (("sha256", 64), ("md5", 32)):
        if (value := getattr(file, key)) and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
            raise DataError(f"{where}.{key}: {value!r}, expected {digits} hexadecimal digits in lower case")
    return file


def _made(kind: type[Any], where: str, entry: Any, **known: Any) -> Any:
    """`kind` from a TOML table, with the values `known`; every other key is checked by name and type."""
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is {entry!r}, expected a table")
    hints = get_type_hints(kind)
    allowed = [field.name for field in fields(kind) if field.name not in known or field.name in ("files", "ask")]
    values = dict(known)
    for key, value in entry.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
            raise DataError(f"{where}.{key}: is not a known key; {hint}")
        if key not in known:
            values[key] = _value(f"{where}.{key}", value, hints[key])
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise DataError(f"{where}: has no {field.name}; add it")
    if not set(values.get("holds", ())) <= set(HOLDINGS):
        raise DataError(f"{where}.holds: is {values['holds']!r}, expected some of {', '.join(HOLDINGS)}")
    return kind(**values)


def _value(where: str, value: Any, hint: Any) -> Any:
    if hint == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is int and type(value) is int and value > 0:
        return value
    expected = {str: "a text", int: "a number of bytes, 1 or more"}.get(hint, "a list of texts")
    raise DataError(f"{where}: is {value!r}, expected {expected}")


def _tables(where: str, entry: Any, key: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is {entry!r}, expected a table")
    found = entry.get(key, {})
    if not isinstance(found, dict):
        raise DataError(f"{where}.{key}: is {found!r}, expected tables")
    return found


def _plain(where: str, what: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or PurePosixPath(name).name != name:
        raise DataError(f"{where}: {name!r} is no name of a {what}; use letters, digits, - and _")
