"""What a disk can take: room, faults of writing, and sizes as people say them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from showtell.errors import DataError


class DiskError(DataError):
    """The disk is full or may not be written: other files would fail alike."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` inside, which must all be about `path` on the disk, into a `DiskError`."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror}); make room or name another folder") from error


def check_room(folder: Path, needed: int, name: str) -> None:
    """Raise `DiskError` where the disk has no room for `needed` more bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"{folder}: {name} needs {size_text(needed)} and {size_text(free)} are free; make room or name a folder on "
            "another disk"
        )


def size_text(count: float) -> str:
    """Bytes as people say them: 13.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            break
        count /= 1000
    return f"{f'{count:.1f}'.removesuffix('.0') if count < 99.95 else f'{count:,.0f}'} {unit}"


def files_text(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"
