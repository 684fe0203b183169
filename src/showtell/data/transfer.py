"""One connection at a time: what a server says of a file, and which of its bytes can be that file's."""

import json
import os
import re
import ssl
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Protocol
from urllib import request
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from showtell import __version__
from showtell.address import opener, reason_of
from showtell.data.disk import check_room, writing
from showtell.data.places import SourceFile
from showtell.files import sync_folder, write_text
from showtell.names import printable

_BLOCK = 1 << 16  # bytes read and written at a time
_PASSING = (408, 425, 429)  # and 5xx: answers that may be better another time


class Watcher(Protocol):
    """Who looks on: `progress` of `name` in bytes (total 0 where it is not known), and lines that people read."""

    def progress(self, doing: str, name: str, done: int, total: int) -> None: ...

    def notice(self, line: str) -> None: ...


@dataclass
class Said:
    """What the server said of the file of which `NAME.part` is the beginning."""

    address: str
    etag: str = ""
    modified: str = ""
    bytes: int = -1  # in all; -1 where it did not say

    def other_size(self, other: "Said") -> bool:
        return self.bytes >= 0 and other.bytes >= 0 and self.bytes != other.bytes

    def other_file(self, other: "Said") -> bool:
        """Whether both may be different files, as size, address and the server's marks tell."""
        if self.address != other.address or self.other_size(other):
            return True
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)


class PassingError(Exception):
    """Something that may be better at the next try."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds, as the server asks


class FinalError(Exception):
    """Something that this address will say again."""


class Transfer:
    """Brings `NAME.part` to its full length. All that must outlive it is on the disk."""

    def __init__(self, file: SourceFile, folder: Path, watcher: Watcher, timeout: float) -> None:
        self.file, self.watcher, self.timeout = file, watcher, timeout
        self.part = folder / f"{file.name}.part"
        self.notes = folder / f"{file.name}.json"
        self.said = self._read_notes()
        self.pieces = 2 if self.have else 0  # connections that brought what is there; of an earlier run two or more
        self.brought = False  # whether the last request brought anything new
        self._whole = False  # ask for the whole file, as this server does not understand ranges
        self._sure = bool(file.sha256 or file.md5)  # a wrong byte will be noticed, whatever the server says

    @property
    def have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def total(self) -> int:
        """Bytes of the whole file; -1 where nobody told."""
        return self.file.bytes or self.said.bytes

    def forget(self) -> None:
        """Throw away what came."""
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.pieces, self.said = 0, Said(self.said.address)

    def finish(self, path: Path) -> None:
        """Give the checked file its name."""
        with writing(path):
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())
            self.part.replace(path)
            self.notes.unlink(missing_ok=True)
            sync_folder(path.parent)

    def ask(self, address: str) -> bool:
        """One request, and the bytes that it brings; whether the file is whole then.

        Raises `PassingError` or `FinalError` where it is not, and `DiskError`.
        """
        self.brought = False
        if 0 <= self.total < self.have:
            self.forget()
        if self.have == self.total:
            return True
        begin = self.have if self._may_go_on(address) else 0
        headers = {"User-Agent": f"showtell/{__version__}", "Accept-Encoding": "identity"}
        if begin:
            headers["Range"] = f"bytes={begin}-"
            # Of a file that has changed the server then sends the whole. Not asked where a sum is known, as the
            # servers behind one address may mark the same file differently.
            mark = self.said.etag if self.said.etag.startswith('"') else self.said.modified
            if mark and not self._sure:
                headers["If-Range"] = mark
        try:
            quoted = quote(address, safe="%/:=&?~#+!$,;'@()*[]")
            with opener().open(request.Request(quoted, headers=headers), timeout=self.timeout) as answer:
                return self._take(address, answer, begin)
        except HTTPError as error:
            with error:
                return self._take_refusal(error, begin)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None)
            if isinstance(reason, str | ssl.SSLCertVerificationError):
                raise FinalError(f"{printable(address)}: {reason_of(error)}") from error
            raise PassingError(f"the connection to {urlsplit(address).hostname} fails ({reason_of(error)})") from error

    def _may_go_on(self, address: str) -> bool:
        if self._whole or not self.have:
            return False
        marked = bool(self.said.etag or self.said.modified or self.said.bytes >= 0)
        return self._sure or (marked and self.said.address == address)

    def _take_refusal(self, error: HTTPError, begin: int) -> bool:
        if error.code == 416 and begin:
            end = re.fullmatch(r"bytes \*/(\d{1,18})", error.headers.get("Content-Range", ""))
            if end and int(end[1]) == begin and not self.file.bytes:
                self.said.bytes = begin  # it told of more before
                return True
            if end and int(end[1]) < begin:
                self.forget()
            self._whole = True
            raise PassingError(f"the server knows no piece of the file from byte {begin:,} on")
        reason = f"the server answers {error.code} ({printable(str(error.reason))})"
        if error.code in _PASSING or error.code >= 500:
            raise PassingError(reason, _seconds(error.headers.get("Retry-After", "")))
        raise FinalError(f"{reason} for {printable(error.url)} (--sources names other addresses)")

    def _take(self, address: str, answer: HTTPResponse, begin: int) -> bool:
        """Take an answer's bytes, if they can be the file's; whether it is whole then."""
        start, said = self._understand(address, answer)
        if self.file.bytes and 0 <= said.bytes != self.file.bytes:
            raise PassingError(f"the server offers {said.bytes:,} bytes, expected {self.file.bytes:,}")
        if start and start != begin:
            self._whole = True
            raise PassingError(f"the server sends from byte {start:,} on, asked was from {begin:,}")
        if self.have and (self.said.other_size(said) if self._sure else self.said.other_file(said)):
            self.watcher.notice(f"{self.file.name}: is another file on the server now; from the beginning")
            self.forget()
            if start:
                raise PassingError("the server has another file now")
        if said.bytes < 0:
            said.bytes = self.said.bytes
        self.said = said
        with writing(self.notes):
            write_text(self.notes, json.dumps(asdict(said)))
        check_room(self.part.parent, self.total - self.have, self.file.name)
        if not self._receive(answer, start):
            self.forget()
            raise PassingError(f"more came than the {self.total:,} bytes of the file")
        if 0 <= self.total != self.have:
            raise PassingError(f"cut off after {self.have:,} of {self.total:,} bytes")
        return True

    def _understand(self, address: str, answer: HTTPResponse) -> tuple[int, Said]:
        """At which byte an answer begins, and what it says of the whole file."""
        said = Said(address, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        # Some servers call a .tar.gz encoded, and send it as it is.
        if encoding not in ("", "identity") and not self.file.name.lower().endswith("gz"):
            raise PassingError(f"the server sends it encoded ({printable(encoding)}), which was not asked for")
        if answer.status == 200:
            length = answer.headers.get("Content-Length", "")
            said.bytes = int(length) if re.fullmatch(r"\d{1,18}", length) else -1
            return 0, said
        piece = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", answer.headers.get("Content-Range", ""))
        if answer.status != 206 or piece is None:
            raise PassingError(f"the server answers {answer.status}, which tells nothing of the file")
        said.bytes = -1 if piece[2] == "*" else int(piece[2])
        return int(piece[1]), said

    def _receive(self, answer: HTTPResponse, position: int) -> bool:
        """Write what comes from `position` on; False where more comes than the file has.

        What is there already is compared, so that a server which knows no ranges harms nothing.
        """
        with writing(self.part):
            out = self.part.open("r+b" if self.have else "wb", buffering=0)
        with out:
            there = self.have
            while chunk := answer.read1(_BLOCK):
                if 0 <= self.total < position + len(chunk):
                    return False
                with writing(self.part):
                    if position < there:
                        out.seek(position)
                        same = out.read(min(len(chunk), there - position))
                        if not chunk.startswith(same):
                            out.truncate(position)
                            there = position
                    if position + len(chunk) > there:
                        out.seek(position)
                        _write_all(out, chunk)
                        self.pieces += not self.brought
                        self.brought = True
                position += len(chunk)
                self.watcher.progress("loading", self.file.name, position, max(self.total, 0))
            if self.total < 0:
                out.truncate(position)  # where nobody tells the length, the end is the end
        return True

    def _read_notes(self) -> Said:
        try:
            entry = json.loads(self.notes.read_text(encoding="utf-8")) if self.have else {}
            said = Said(**entry)
            if all(type(getattr(said, field.name)) is field.type for field in fields(said)):
                return said
        except (OSError, ValueError, TypeError):
            pass
        return Said("")  # lost or damaged: then only a known sum allows to go on


def _write_all(out: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[out.write(rest) :]


def _seconds(text: str) -> float:
    """Retry-After, as seconds or as a date; 0 where it is neither."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
