"""From an entry of the table to a data set in its folder: loaded, checked, unpacked, moved into place, remembered.

All that is underway lies in `.download` in the data set's folder, so that a kill leaves no half data set and the same
call goes on: NAME.part and NAME.json (`transfer.py`), NAME (loaded), NAME.unpacking/ (thrown away at the next call),
NAME.unpacked/ and NAME.placing (being moved), NAME.done (all is in place).
"""

import filecmp
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from showtell.data.disk import DiskError, check_room, files_text, size_text, writing
from showtell.data.download import download
from showtell.data.places import DataSource, SourceFile
from showtell.data.transfer import Watcher
from showtell.data.unpack import STATE, unpack
from showtell.errors import CheckpointError, DataError
from showtell.files import lock, sync_folder, write_text

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_MANY = 100  # files of a folder that are remembered by their number, not each


@dataclass(frozen=True)
class Placed:
    """What one file of the table has become: `kept` maps paths in the data set to bytes, or folders to their files."""

    sha256: str
    files: int
    bytes: int
    kept: dict[str, int]


@dataclass
class Obtained:
    """What a call of `obtain` did: what is in place now, by file, and what went wrong, one line each."""

    placed: dict[str, Placed] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def obtain(
    source: DataSource,
    parts: Sequence[str],
    folder: Path,
    *,
    watcher: Watcher,
    keep_archives: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> Obtained:
    """Load the parts of a data set into `folder`, which is made where it is not there.

    What is there already is not loaded again. A file that fails is told in `failures`, and the others are loaded.
    Raises `DiskError` where there is no room, before anything is loaded if that can be known, and `DataError` where
    another process loads into the same folder.
    """
    files = [file for file in source.files if file.part in parts]
    state = folder / STATE
    with writing(state):
        state.mkdir(parents=True, exist_ok=True)
    try:
        held = lock(state / "lock", f"{folder}: is being loaded into by another process")
    except CheckpointError as error:
        raise DataError(str(error)) from error
    obtained = Obtained()
    with held:
        _check_room_for(files, folder, keep_archives)
        for file in files:
            try:
                obtained.placed[file.name] = _obtain_file(file, folder, watcher, keep_archives, sleep)
            except DiskError:
                raise
            except DataError as error:
                obtained.failures.append(str(error))
    return obtained


def placed_before(file: SourceFile, folder: Path) -> Placed | None:
    """What an earlier call placed, if it is all still there and the table still says the same of the file."""
    try:
        entry = json.loads((folder / STATE / f"{file.name}.done").read_text(encoding="utf-8"))
        placed = Placed(**entry["placed"])
        same = entry["file"] == _identity(file) and all(_is_there(folder, *item) for item in placed.kept.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return placed if same else None


def _obtain_file(
    file: SourceFile, folder: Path, watcher: Watcher, keep: bool, sleep: Callable[[float], object]
) -> Placed:
    state = folder / STATE
    if placed := placed_before(file, folder):
        _tidy(file, state, keep)  # an earlier call may have ended just before
        watcher.notice(f"{file.name}: is here already")
        return placed
    staged, plan = state / f"{file.name}.unpacked", state / f"{file.name}.placing"
    target = folder / file.to
    entry = _read_plan(plan, file) if staged.is_dir() else None
    if entry is None:
        shutil.rmtree(staged, ignore_errors=True)
        watcher.notice(f"{file.name}: {_announced(file, state)}")
        sha256 = download(file, state, watcher=watcher, sleep=sleep)
        if not (file.sha256 or file.md5):
            watcher.notice(f"{file.name}: sha256 is {sha256}; none is known to compare it with")
        entry = _stage(file, sha256, state, watcher, keep)
        with writing(plan):
            write_text(plan, json.dumps(entry))
            if hasattr(os, "sync"):
                os.sync()  # the files before the name that says they are whole
            (state / f"{file.name}.unpacking").replace(staged)
            sync_folder(state)
    moves = list(_moves(staged, target, folder))  # all that is in the way, before anything is moved
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for here, there in moves:
            here.replace(there)
        sync_folder(target)
        write_text(state / f"{file.name}.done", json.dumps(entry))
    _tidy(file, state, keep)
    placed = Placed(**entry["placed"])
    watcher.notice(f"{file.name}: {files_text(placed.files)}, {size_text(placed.bytes)}, in {target}")
    return placed


def _announced(file: SourceFile, state: Path) -> str:
    if (state / file.name).is_file():
        return "is loaded already"
    part = state / f"{file.name}.part"
    size = f"{'' if file.bytes else 'about '}{size_text(file.size)}" if file.size else "an unknown number of bytes"
    here = f", of which {size_text(part.stat().st_size)} are here" if part.is_file() else ""
    return f"loading {size} from {urlsplit(file.addresses[0]).hostname}{here}"


def _tidy(file: SourceFile, state: Path, keep: bool) -> None:
    shutil.rmtree(state / f"{file.name}.unpacked", ignore_errors=True)
    for rest in (f"{file.name}.placing", f"{file.name}.json", *(() if keep else (file.name,))):
        (state / rest).unlink(missing_ok=True)


def _stage(file: SourceFile, sha256: str, state: Path, watcher: Watcher, keep: bool) -> dict[str, Any]:
    """Unpack a loaded file into NAME.unpacking; returns what NAME.done will hold."""
    loaded, staging = state / file.name, state / f"{file.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    size = loaded.stat().st_size

    def progress(done: int) -> None:
        watcher.progress("unpacking", file.name, done, size)

    try:
        if file.name.lower().endswith(_ARCHIVES):
            found = unpack(loaded, staging, max_bytes=file.most_unpacked(size), take=file.take, progress=progress).found
        else:
            with writing(staging):
                staging.mkdir()
                (shutil.copyfile if keep else os.replace)(loaded, staging / file.name)
            found = {file.name: size}
        _check_layout(file, found)
    except DataError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if not (isinstance(error, DiskError) or file.sha256 or file.md5):
            loaded.unlink(missing_ok=True)  # nobody vouches for it: the same command loads it anew
        raise
    folders = Counter(name.rpartition("/")[0] for name in found)
    kept: dict[str, int] = {}
    for name, count in found.items():
        parent = name.rpartition("/")[0]
        many = folders[parent] > _MANY
        path = PurePosixPath(file.to, parent if many else name).as_posix()
        kept[f"{path}/" if many else path] = folders[parent] if many else count
    placed = Placed(sha256, len(found), sum(found.values()), kept)
    return {"file": _identity(file), "placed": asdict(placed)}


def _check_layout(file: SourceFile, found: dict[str, int]) -> None:
    if not found:
        raise DataError(f"{file.name}: holds nothing that is wanted ({', '.join(file.take) or 'no file at all'})")
    for name in file.gives:
        if not (name in found or (name.endswith("/") and any(path.startswith(name) for path in found))):
            such = ", ".join(list(found)[:3])
            raise DataError(f"{file.name}: does not hold {name}, but {such}; name another address with --sources")


def _moves(staged: Path, target: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    """What goes where, whole folders at once. Raises `DataError` where something else is in the way."""
    for above in (target, *target.parents):
        if above == folder:
            break
        _check_no_link(above)
    yield from _moves_below(staged, target)


def _moves_below(staged: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    for here in sorted(staged.iterdir()):
        there = target / here.name
        _check_no_link(there)
        if here.is_dir() and there.is_dir():
            yield from _moves_below(here, there)
        elif there.exists() and (here.is_dir() or there.is_dir() or not filecmp.cmp(here, there, shallow=False)):
            raise DataError(
                f"{there}: is there already and is another one; move it away, or name another folder, and run the same "
                "command again"
            )
        else:
            yield here, there


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise DataError(f"{path}: is a link, and nothing is written through links; replace it by a folder")


def _check_room_for(files: Sequence[SourceFile], folder: Path, keep: bool) -> None:
    """Room for all that will come out, and for the largest archive, or for all where they are kept."""
    loads, results = [0], 0
    for file in files:
        state = folder / STATE / file.name
        if placed_before(file, folder) or state.with_name(f"{file.name}.unpacked").is_dir():
            continue
        have = sum(path.stat().st_size for path in (state, state.with_name(f"{file.name}.part")) if path.is_file())
        loads.append(max(0, file.size - have))
        results += file.unpacked or file.size
    check_room(folder, results + (sum(loads) if keep else max(loads)), "what is to be loaded")


def _read_plan(path: Path, file: SourceFile) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return entry if entry["file"] == _identity(file) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _identity(file: SourceFile) -> dict[str, Any]:
    """What must not have changed in the table for a file to count as loaded."""
    return {key: value for key, value in asdict(file).items() if key in ("bytes", "sha256", "md5", "to")} | {
        "take": list(file.take)
    }


def _is_there(folder: Path, name: str, count: int) -> bool:
    path = folder / name
    if name.endswith("/"):
        with os.scandir(path) as entries:
            return sum(1 for _ in entries) >= count
    return path.is_file() and path.stat().st_size == count
