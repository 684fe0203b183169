"""A file that appears whole or not at all."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from showtell.errors import ShowtellError
from showtell.names import printable

# What the shell has opened, named as a file. Opened anew, a redirected one would lose its place, or be replaced.
_OPEN = re.compile(r"/dev/(?:(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")


@contextmanager
def write_aside(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """UTF-8 text for `path`, written beside it, synced, and renamed to it when the block ends well.

    Where the block raises, what was at `path` stays untouched; a link stays one. A device, a pipe, or what the process
    has open (`/dev/stdout`) is written as it comes. Raises `ShowtellError` where the place cannot be written.
    """
    path = Path(path)
    name = printable(str(path))
    if path.is_dir():
        raise ShowtellError(f"{name}: is a folder, expected a file to write; name a file in it")
    descriptor = _descriptor(path)
    through = descriptor is not None or (path.exists() and not path.is_file())
    place = path if through else Path(os.path.realpath(path))
    aside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        target = place if through else aside
        with open(target if descriptor is None else os.dup(descriptor), "w", encoding="utf-8", newline="") as out:  # noqa: PTH123
            yield out
            if not through:
                out.flush()
                os.fsync(out.fileno())
        if not through:
            aside.replace(place)
    except OSError as error:
        raise ShowtellError(f"{name}: cannot be written ({error.strerror or error}); check folder and disk") from error
    finally:
        if not through:
            aside.unlink(missing_ok=True)


def _descriptor(path: Path) -> int | None:
    """The number of an open file that `path` names, such as /dev/stdout; what was printed before goes first."""
    if not (found := _OPEN.fullmatch(str(path))):
        return None
    sys.stdout.flush()
    sys.stderr.flush()
    if found[1] or found[2]:
        return 1 if found[1] else 2
    return int(found[3] or found[4])
