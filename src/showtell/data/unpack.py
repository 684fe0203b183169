"""Zip and tar archives -> a folder. The archive is a stranger's: whatever it says, nothing is written elsewhere."""

import gzip
import re
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from showtell.data.disk import DiskError, check_room, writing
from showtell.errors import DataError
from showtell.names import printable

STATE = ".download"  # the folder in a data set in which downloads are kept; no archive may write there
MAX_ENTRIES = 1_000_000  # COCO's largest archive holds 118,288
MAX_RATIO = 200  # bytes out for a byte in, of an entry larger than `_SMALL`; texts reach about 10
_SMALL = 1 << 20  # bytes; what is smaller may be all zeros
_BLOCK = 1 << 20  # bytes read at a time, at most; tar headers are read at once
_TAR_HEADERS = 2048  # bytes of a tar for each entry besides its content
_LONGEST_PART, _LONGEST_NAME = 255, 1000  # bytes that all systems can take, the folder before them included
# What systems put into archives beside the data.
_LITTER = re.compile(r"(.*/)?(__MACOSX(/.*)?|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # of Windows, in any folder


@dataclass(frozen=True)
class Unpacked:
    """What came out: `found` maps paths relative to the folder to their bytes, `left_out` counts the other files."""

    found: dict[str, int]
    left_out: int


@dataclass(frozen=True)
class _Entry:
    name: str  # as the archive has it
    folder: bool
    size: int  # bytes, as the archive declares
    reached: int  # bytes of the archive, so far into it
    open: Callable[[], IO[bytes]]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def why_unsafe(name: str) -> str:
    """Why nothing may be written under a name that an archive or a table gives; empty where it may.

    The rules are those of all systems at once, so that an archive is refused on each of them or on none.
    """
    if not name:
        return "is empty"
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name):
        return "holds what is no character of a text"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is absolute"
    for part in re.split(r"[/\\]", name):
        if part == "..":
            return "leads out of the folder by .."
        if part not in ("", ".") and part[-1] in ". ":
            return "has a part that ends with a dot or a blank"
        if _DEVICE.fullmatch(part):
            return f"has the part {part!r}, which is a device on Windows"
        if len(part.encode()) > _LONGEST_PART:
            return f"has a part of more than {_LONGEST_PART} bytes"
    if len(name.encode()) > _LONGEST_NAME:
        return f"has more than {_LONGEST_NAME:,} bytes"
    if "\\" in name:
        return "holds a backslash"
    return "holds a colon" if ":" in name else ""


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int,
    take: Sequence[str] = (),
    max_entries: int = MAX_ENTRIES,
    progress: Callable[[int], object] | None = None,
) -> Unpacked:
    """Unpack a zip, tar or tar.gz, told by its content, into the new folder `folder`.

    Only names that match one of the patterns `take` come out, or all where there is none; `__MACOSX` and other litter
    of systems never do. Permissions and times are not taken over. The whole archive is refused

    - for one entry, taken or not, with a name that is absolute, holds "..", a backslash, colon or control character,
      ends with a dot or blank, is a device of Windows, stands there twice or differs from another only in case;
    - for links, devices, sparse files, encrypted entries, and methods other than deflate;
    - where more than `max_bytes` or `max_entries` would come out in all, or more than 200 times its size out of an
      entry of a zip;
    - where a checksum or length is wrong.

    `progress` is called with the bytes of the archive that are done. Raises `DataError` in one line, `DiskError` where
    the disk is the reason; what is in `folder` by then is for the caller to remove.
    """
    with writing(folder):
        folder.mkdir()
    found: dict[str, int] = {}
    seen: dict[str, tuple[str, bool]] = {}
    total = count = left_out = 0
    try:
        for entry in _entries(archive, max_bytes, max_entries):
            name = _checked_name(entry, seen)
            total, count = total + entry.size, count + 1
            _check_limits(total, max_bytes, count, max_entries)
            if progress is not None:
                progress(entry.reached)
            if entry.folder:
                continue  # made along with the files in it; an empty one is no data
            if _LITTER.fullmatch(name) or (take and not any(fnmatchcase(name, pattern) for pattern in take)):
                left_out += 1
                continue
            check_room(folder, entry.size, name)
            found[name] = _write(entry, folder / name)
    except DiskError:
        raise
    except DataError as error:
        raise DataError(f"{archive}: is refused, as {error}; get it from another place") from error
    except Exception as error:  # decoders of foreign data fail in many ways
        reason = printable(str(error)) or type(error).__name__
        raise DataError(f"{archive}: is damaged ({reason}); load it again") from error
    return Unpacked(found, left_out)


def _checked_name(entry: _Entry, seen: dict[str, tuple[str, bool]]) -> str:
    """The name under which an entry may be written. Raises `DataError` where it may not be.

    `seen` maps the names so far, in a form that no system tells apart, to their own form and whether it is a folder.
    """
    shown = repr(printable(entry.name))
    if reason := why_unsafe(entry.name):
        raise DataError(f"the name {shown} {reason}")
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    if not parts and not entry.folder:
        raise DataError(f"the name {shown} is that of a folder, and a file has it")
    if parts and parts[0].casefold() == STATE:
        raise DataError(f"the name {shown} is in the folder where downloads are kept")
    for length in range(1, len(parts) + 1):
        name, is_folder = "/".join(parts[:length]), entry.folder or length < len(parts)
        before, was_folder = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), (name, is_folder))
        if before != name:
            raise DataError(f"the names {before!r} and {name!r} are the same on some systems")
        if is_folder is not was_folder:
            raise DataError(f"{name!r} is a file and a folder")
    if not entry.folder:
        key = unicodedata.normalize("NFC", "/".join(parts)).casefold() + "/"  # no other name ends so
        if key in seen:
            raise DataError(f"the name {shown} stands there twice")
        seen[key] = (entry.name, False)
    return "/".join(parts)


def _check_limits(total: int, max_bytes: int, count: int, max_entries: int) -> None:
    if count > max_entries:
        raise DataError(f"it holds more than {max_entries:,} entries")
    if total > max_bytes:
        raise DataError(f"more than {max_bytes:,} bytes would come out of it, which is more than it should hold")


def _write(entry: _Entry, path: Path) -> int:
    """Write one file, which must not be there; returns its bytes."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        out = path.open("xb")
    written = 0
    with out, entry.open() as content:
        while block := content.read(_BLOCK):
            written += len(block)
            if written > entry.size:
                break
            with writing(path):
                out.write(block)
        with writing(path):
            out.flush()
    if written != entry.size:
        found = "more" if written > entry.size else f"{written:,}"
        raise ValueError(f"{entry.name}: {found} than the {entry.size:,} bytes that it tells came out")
    return written


def _entries(archive: Path, max_bytes: int, max_entries: int) -> Iterator[_Entry]:
    with archive.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK"):
            yield from _zip_entries(file, max_bytes, max_entries)
        elif head.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as plain:
                yield from _tar_entries(plain, max_bytes + _TAR_HEADERS * max_entries, file.tell)
        elif head[257:262] == b"ustar":
            yield from _tar_entries(file, max_bytes + _TAR_HEADERS * max_entries, file.tell)
        else:
            from showtell.sources import kind_of

            found = kind_of(head) if head else "nothing"
            raise DataError(f"it is no archive: found {found}, expected zip, tar or tar.gz")


def _zip_entries(file: IO[bytes], max_bytes: int, max_entries: int) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        entries, reached = archive.infolist(), 0
        # All is told at the end of the file: nothing of a bomb is written.
        _check_limits(sum(info.file_size for info in entries), max_bytes, len(entries), max_entries)
        for info in entries:
            # Not `filename`, which ends at a null byte and has its backslashes turned on some systems.
            name = info.orig_filename
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "link" if kind == stat.S_IFLNK else "device"
                raise DataError(f"{printable(name)!r} is a {what}, expected files and folders alone")
            if info.flag_bits & 0x1:
                raise DataError(f"{printable(name)!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python unpacks the others without a limit on memory.
                raise DataError(f"{printable(name)!r} is compressed by method {info.compress_type}, expected deflate")
            if info.file_size > max(_SMALL, MAX_RATIO * info.compress_size):
                ratio = info.file_size // max(info.compress_size, 1)
                raise DataError(f"{printable(name)!r} would become {ratio:,} times as large, as bombs do")
            reached += info.compress_size
            yield _Entry(name, name.endswith("/"), info.file_size, reached, partial(archive.open, info))


def _tar_entries(file: _Readable, limit: int, tell: Callable[[], int]) -> Iterator[_Entry]:
    reader: Any = _Forward(file, limit)
    with tarfile.open(fileobj=reader, mode="r:") as archive:
        for info in archive:
            name = printable(info.name)
            if info.issym() or info.islnk():
                raise DataError(f"{name!r} is a link, expected files and folders alone")
            if info.issparse() or not (info.isreg() or info.isdir()):
                what = "sparse file" if info.issparse() else "device"
                raise DataError(f"{name!r} is a {what}, expected files and folders alone")
            yield _Entry(info.name, info.isdir(), info.size, tell(), partial(_content, archive, info))
        # Python takes a damaged header, and none, for the end; a true end is zeros.
        if reader.last != bytes(tarfile.BLOCKSIZE):
            raise ValueError(f"no header of a file where one is expected, {reader.position:,} bytes into it")
        while reader.read(_BLOCK):  # gzip's checksum stands at its end
            pass


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    assert content is not None  # a regular file has content
    return content


class _Forward:
    """A stream that `tarfile` reads from front to end, in small pieces and up to a limit, whatever headers ask."""

    def __init__(self, file: _Readable, limit: int) -> None:
        self._file, self._limit = file, limit
        self.position = 0
        self.last = b""  # what was read last

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _BLOCK:
            raise DataError(f"a header of it claims {size:,} bytes")
        self.last = self._file.read(size)
        self.position += len(self.last)
        if self.position > self._limit:
            raise DataError(f"more than {self._limit:,} bytes would come out of it")
        return self.last

    def seek(self, position: int) -> int:
        """Forwards alone: a header that leads back would never end."""
        if position < self.position:
            raise DataError("a header of it leads back")
        if position > self._limit:
            raise DataError(f"more than {self._limit:,} bytes would come out of it")
        while self.position < position and self.read(min(_BLOCK, position - self.position)):
            pass
        return self.position
