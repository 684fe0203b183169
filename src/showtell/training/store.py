"""Rows of one shape on disk: an encoder's regions, or prepared pixels, one row per distinct picture.

Append-only, larger than RAM is fine. A row counts once its line is in the index, which is written after the row's bytes
have reached the disk: whatever a kill leaves behind the last line is written over. Rows are read from their places, not
mapped: a mapped page counts as the process's memory once it was looked at, and an epoch looks at all.

    store/
      identity.json     whose rows these are
      index.jsonl       {"key": sha256 of the picture's bytes, "row": n}, one line a finished row
      files.jsonl       {"path", "size", "time", "key"}: a file is hashed again only when its size or time changed
      shard-00000.bin   rows, at most 1 GiB
      mask-00000.bin    one byte per region: 1 where it is real
"""

import hashlib
import json
import os
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from showtell.errors import FeatureError
from showtell.files import append_lines, check_writable, lock, write_text

SHARD_BYTES = 1 << 30


class Rows(Protocol):
    """What training reads: rows of one shape, by number."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows by number -> values (N, *shape) and masks (N, R)."""
        ...


class BlankRows:
    """In a store's place where there are no pictures: every row is regions of zeros, float32 (R, D)."""

    def __init__(self, regions: int, size: int) -> None:
        self.shape: tuple[int, ...] = (regions, size)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def read(self, rows: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Zeros for each of the rows, every region real."""
        return np.zeros((len(rows), *self.shape), self.dtype), np.ones((len(rows), self.shape[0]), bool)


class RowStore:
    """A folder of rows of `shape` and `dtype`. N rows, R regions.

    `identity` is plain JSON data; a folder that holds rows of another identity is refused with `FeatureError`.
    """

    rows: dict[str, int]  # key -> number
    _next_row: int

    def __init__(self, folder: Path, identity: dict[str, Any], shape: Sequence[int], dtype: str) -> None:
        self.folder = folder
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.row_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self.rows_per_shard = max(1, SHARD_BYTES // self.row_bytes)
        self._claim({**identity, "shape": list(self.shape), "dtype": self.dtype.name})
        self.reload()

    def __enter__(self) -> Self:
        """Hold the store for writing; a second writer is refused with `CheckpointError`."""
        self._lock = lock(self.folder / "lock", f"{self.folder}: another process is filling this feature store")
        for name in ("index.jsonl", "files.jsonl"):
            cut_unfinished_line(self.folder / name)
        fresh = {path: entry for path, entry in self._files.items() if "fresh" in entry}
        self.reload()
        self._files |= fresh
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def reload(self) -> None:
        """Look again which rows there are: another process may have added some."""
        self.rows = {entry["key"]: entry["row"] for entry in read_lines(self.folder / "index.jsonl")}
        self._files = {entry["path"]: entry for entry in read_lines(self.folder / "files.jsonl")}
        self._next_row = max(self.rows.values(), default=-1) + 1
        self._check_shards()

    def forget_files(self) -> None:
        """Let go of what is known of files, a kilobyte a picture: nobody asks for it who only reads rows."""
        self._files.clear()

    def key(self, path: Path) -> str:
        """sha256 of the file's bytes; looked up where size and time are unchanged. Raises `OSError`."""
        status = path.stat()
        known = self._files.get(str(path.absolute()))
        if known and known["size"] == status.st_size and known["time"] == status.st_mtime_ns:
            return str(known["key"])
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        self._remember(path, status, key)
        return key

    @property
    def knows_more(self) -> bool:
        """Whether `key` has learnt what `flush_files` has yet to write."""
        return any("fresh" in entry for entry in self._files.values())

    def flush_files(self) -> None:
        """Write what `key` has learnt since the last call."""
        fresh = [entry for entry in self._files.values() if entry.pop("fresh", False)]
        append_lines(self.folder / "files.jsonl", [json.dumps(entry) for entry in fresh])

    def append(self, keys: Sequence[str], values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> None:
        """Add rows (N, *shape) under `keys`, and their masks (N, R), durably. Raises `FeatureError` on a NaN."""
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):  # told below, as an error
                values = values.astype(self.dtype)
            finite = np.isfinite(values).reshape(len(values), -1).all(1)
            if not finite.all():
                raise FeatureError(
                    f"picture {keys[int(np.argmin(finite))][:12]}: the encoder gave a value that is not finite in "
                    f"{self.dtype.name}; check its weights and preparation"
                )
        if mask is None:
            mask = np.ones((len(keys), self.shape[0]), bool)
        try:
            self._append(keys, values, mask)
        except OSError as error:
            raise FeatureError(
                f"{self.folder}: cannot be written ({error.strerror or error}); what is done stays done: make room, or "
                "name another --features folder, and start again"
            ) from error

    def read(self, rows: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows by number -> values (N, *shape) and masks (N, R). Raises `FeatureError` where they cannot be read."""
        values = np.empty((len(rows), *self.shape), self.dtype)
        mask = np.empty((len(rows), self.shape[0]), np.uint8)
        for kind, array in (("shard", values), ("mask", mask)):
            for shard in sorted({row // self.rows_per_shard for row in rows}):
                path = self._shard_path(kind, shard)
                try:
                    # Opened anew: a file that stays open has one position, which threads and forked processes share.
                    with path.open("rb") as file:
                        for i, row in enumerate(rows):
                            if row // self.rows_per_shard == shard:
                                _read_at(file, row % self.rows_per_shard, array[i])
                except OSError as error:
                    raise FeatureError(f"{path}: cannot be read ({error.strerror or error})") from error
        return values, mask != 0

    def _append(self, keys: Sequence[str], values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        assert len(keys) == len(values) == len(mask)
        rows = range(self._next_row, self._next_row + len(keys))
        done = 0
        while done < len(rows):  # once for each shard
            shard, place = divmod(rows[done], self.rows_per_shard)
            part = slice(done, done + self.rows_per_shard - place)
            self._write("shard", shard, place, values[part])
            self._write("mask", shard, place, mask[part].astype(np.uint8))
            done = part.stop
        added = dict(zip(keys, rows, strict=True))
        append_lines(self.folder / "index.jsonl", [json.dumps({"key": key, "row": row}) for key, row in added.items()])
        self.rows |= added
        self._next_row = rows.stop

    def _claim(self, identity: dict[str, Any]) -> None:
        path = self.folder / "identity.json"
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise FeatureError(f"{path}: damaged ({error}); delete the folder to fill it again") from error
            if found != json.loads(json.dumps(identity)):
                differing = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
                raise FeatureError(
                    f"{self.folder}: holds features of another encoder (differs in {', '.join(differing)}); "
                    "name another --features folder"
                )
        else:
            check_writable(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(identity, indent=1))

    def _check_shards(self) -> None:
        if not self.rows:
            return
        for shard in range(max(self.rows.values()) // self.rows_per_shard + 1):
            rows = sum(1 for row in self.rows.values() if row // self.rows_per_shard == shard)
            for kind, size in (("shard", self.row_bytes), ("mask", self.shape[0])):
                path = self._shard_path(kind, shard)
                found = path.stat().st_size if path.exists() else 0
                if found < rows * size:
                    raise FeatureError(
                        f"{path}: {found} bytes, its index promises {rows * size}; delete the folder to fill it again"
                    )

    def _remember(self, path: Path, status: os.stat_result, key: str) -> None:
        self._files[str(path.absolute())] = {
            "path": str(path.absolute()),
            "size": status.st_size,
            "time": status.st_mtime_ns,
            "key": key,
            "fresh": True,
        }

    def _shard_path(self, kind: str, shard: int) -> Path:
        return self.folder / f"{kind}-{shard:05d}.bin"

    def _write(self, kind: str, shard: int, place: int, rows: NDArray[Any]) -> None:
        """Write rows from this place of a shard on, durably."""
        path = self._shard_path(kind, shard)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(place * rows[0].nbytes)
            file.write(np.ascontiguousarray(rows).data)
            file.flush()
            os.fsync(file.fileno())


def _read_at(file: BufferedReader, place: int, row: NDArray[Any]) -> None:
    """Fill `row` with that of this number in a file of such rows. Raises `FeatureError` where the file ends before."""
    file.seek(place * row.nbytes)
    if (found := file.readinto(row.data)) != row.nbytes:
        raise FeatureError(
            f"{file.name}: ends in row {place} after {found} of {row.nbytes} bytes; delete the folder to fill it again"
        )


def cut_unfinished_line(path: Path) -> None:
    """Cut off what a kill left of a last line. Only for the one who holds the store: another may be writing it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Entries of a JSON-lines file; a last line that is not finished is left out."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise FeatureError(f"{path}: damaged ({error}); delete the folder to fill it again") from error
