"""Writing so that a kill at any moment leaves either the old file or the new one; whether a place can be written."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from showtell.errors import CheckpointError, ShowtellError
from showtell.names import printable

try:
    import fcntl
except ImportError:  # Windows has no flock; a second writer goes unnoticed there
    fcntl = None  # type: ignore[assignment]


SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # what file managers leave behind
_held: WeakSet[IO[Any]] = WeakSet()  # the locks of this process


def check_writable(folder: Path) -> None:
    """Raise `ShowtellError` where nothing new can be put into `folder`, which need not be there yet.

    For work that takes long and writes at its end. It is tried, with a file that never gets a name: permissions do not
    tell of a disk that is full or only for reading.
    """
    name = printable(str(folder))
    try:
        there = folder.resolve()
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            raise ShowtellError(f"{name}: {printable(str(there))} is a file, expected a folder; name another place")
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"showtell")
            file.flush()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ShowtellError(
            f"{name}: cannot be written ({reason}); check permissions and space, or name another place"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write aside, fsync, rename over `path`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside, fsync, rename over `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """A folder aside to fill, which then takes the place of `folder`, or nothing does where filling it fails.

    Only a kill between two renames leaves the earlier folder aside, under a hidden name. Raises `OSError`.
    """
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o755)
        yield aside
        if folder.exists():
            _swap(aside, folder)
        else:
            aside.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(aside: Path, folder: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        folder.rename(old / folder.name)
        try:
            aside.rename(folder)
        except OSError:
            (old / folder.name).rename(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append whole lines and fsync."""
    text = "".join(line + "\n" for line in lines)
    if text:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path, message: str) -> IO[Any]:
    """Hold `path` until the returned file is closed or the process ends; raises `CheckpointError` if another does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}); check permissions and space, or name another place"
        ) from error
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise CheckpointError(f"{message}; wait for it or stop it") from error
    _held.add(file)
    return file


def _let_go() -> None:
    """A forked process inherits its parent's locks, and would hold them for a while after the parent was killed."""
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
