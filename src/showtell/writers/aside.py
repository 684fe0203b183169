"""A file that appears whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from showtell.errors import ShowtellError
from showtell.names import printable


@contextmanager
def write_aside(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """UTF-8 text for `path`, written beside it, synced, and renamed to it when the block ends well.

    Where the block raises, what was at `path` stays untouched. A device or pipe is written as it comes. Raises
    `ShowtellError` where the place cannot be written.
    """
    path = Path(path)
    name = printable(str(path))
    if path.is_dir():
        raise ShowtellError(f"{name}: is a folder, expected a file to write; name a file in it")
    through = path.exists() and not path.is_file()
    aside = path if through else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as out:
            yield out
            if not through:
                out.flush()
                os.fsync(out.fileno())
        if not through:
            aside.replace(path)
    except OSError as error:
        raise ShowtellError(f"{name}: cannot be written ({error.strerror or error}); check folder and disk") from error
    finally:
        if not through:
            aside.unlink(missing_ok=True)
