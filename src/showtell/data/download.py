"""One file from an http(s) address to the disk: what came stays, the rest is asked for, and the whole is checked.

`NAME.part` grows beside `NAME.json`, which tells what the server said of the file; a checked file is called `NAME`.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from showtell.data.places import SourceFile
from showtell.data.transfer import FinalError, PassingError, Transfer, Watcher
from showtell.errors import DataError
from showtell.names import printable

TIMEOUT = 60.0  # seconds without a byte before a connection counts as cut
_TRIES = 6  # in a row that bring nothing; an hour's trouble is for the user to judge
_INTERRUPTIONS = 500  # in all, for servers that bring a little each time
_LONGEST_WAIT = 60.0  # seconds, of our own
_LONGEST_ASKED = 300.0  # seconds, that a server may ask for


def download(
    file: SourceFile,
    folder: Path,
    *,
    watcher: Watcher,
    sleep: Callable[[float], object] = time.sleep,
    timeout: float = TIMEOUT,
) -> str:
    """Load a file to `folder/NAME` and check its size and sums; returns its sha256.

    Goes on from what an earlier call left, in whatever way that ended. What the server breaks off, delays or gets wrong
    is tried again, at once where bytes came and after growing waits where none did, at most 6 times in a row. Bytes
    that belong to another version of the file, or to none, are thrown away. A file `NAME` that is there is only
    checked. Raises `DataError` in one line that tells what is kept, and `DiskError` where the disk is the reason.
    """
    path = folder / file.name
    if path.is_file():
        try:
            return _check(file, path, watcher)
        except FinalError as error:
            raise DataError(f"{path}: is not the file that is expected: {error}; remove it and try again") from error
    transfer, addresses, again = Transfer(file, folder, watcher, timeout), list(file.addresses), True
    while True:
        _load(transfer, addresses, sleep)
        try:
            sha256 = _check(file, transfer.part, watcher)
        except FinalError as error:
            source, pieces = transfer.said.address, transfer.pieces
            transfer.forget()
            if pieces > 1 and again:
                again = False
                watcher.notice(f"{file.name}: the pieces do not fit together ({error}); once more from the beginning")
                continue
            again, addresses = True, [address for address in addresses if address != source]
            if not addresses:
                raise DataError(
                    f"{file.name}: {printable(source)} sends another file than expected: {error}; nothing of it is "
                    "kept; name another address with --sources"
                ) from error
            watcher.notice(f"{file.name}: {printable(source)} sends another file ({error}); trying another address")
        else:
            transfer.finish(path)
            return sha256


def _load(transfer: Transfer, addresses: Sequence[str], sleep: Callable[[float], object]) -> None:
    """Ask until all is there. Raises `DataError` where no address gives more."""
    name, reason = transfer.file.name, ""
    for address in addresses:
        barren = 0  # connections in a row that brought nothing
        for _ in range(_INTERRUPTIONS):
            asked_wait = 0.0
            try:
                if transfer.ask(address):
                    return
            except FinalError as error:
                reason = str(error)
                break
            except PassingError as error:
                reason, asked_wait = str(error), error.wait
            barren = 0 if transfer.brought else barren + 1
            if barren == _TRIES:
                break
            wait = max(min(2.0**barren / 2, _LONGEST_WAIT), min(asked_wait, _LONGEST_ASKED))
            transfer.watcher.notice(f"{name}: {reason}; trying again in {wait:g} s")
            sleep(wait)
    kept = "nothing is kept yet, the same command tries again"
    if transfer.have:
        of = f" of {transfer.total:,}" if transfer.total >= 0 else ""
        kept = f"{transfer.have:,}{of} bytes are kept, the same command goes on from there"
    raise DataError(f"{name}: cannot be loaded: {reason}; {kept}")


def _check(file: SourceFile, path: Path, watcher: Watcher) -> str:
    """The sha256 of a file. Raises `FinalError` where its size or a sum is not as published."""
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        raise FinalError(f"it has {size:,} bytes, expected {file.bytes:,}")
    sha256, md5, done = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            sha256.update(block)
            if file.md5:
                md5.update(block)
            done += len(block)
            watcher.progress("checking", file.name, done, size)
    for kind, found, expected in (("sha256", sha256, file.sha256), ("md5", md5, file.md5)):
        if expected and found.hexdigest() != expected:
            raise FinalError(f"its {kind} is {found.hexdigest()}, expected {expected}")
    return sha256.hexdigest()
