"""Regions from files, one for each picture: what a detector of objects or another program found, for an encoder's.

A file is .npz or .safetensors and holds n rows of D numbers, in the order in which its maker ranks them. A model takes
the same number R of rows for every picture; where a picture has fewer, the rest is NaN from the reading to the decoder,
which then takes a mask in its place. Nothing is ever unpickled.

B pictures, n regions of a file, R regions that a model takes, D region size.
"""

import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from showtell.data.example import Example
from showtell.errors import DataError, FeatureError, ImageError
from showtell.images import ImageOptions, read_pixels
from showtell.names import printable
from showtell.sources import PICTURE_SUFFIXES, Source, kind_of, read_content, source_name

REGION_SUFFIXES = (".npz", ".safetensors")
_KNOWN = ("features", "x")  # arrays that are taken whatever else a file holds
_BOXES = ("bbox", "boxes")  # where the regions are; not used
_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # BF16: the upper half of float32

# Floating-point arrays of a file by name: the shape, and what reads the values.
_Arrays = dict[str, tuple[tuple[int, ...], Callable[[], NDArray[Any]]]]


def input_reader(images: ImageOptions | None, count: int, size: int) -> Callable[[Source], NDArray[Any]]:
    """What turns one source into a model's input.

    With `images` pixels of a picture, uint8 (S, S, 3); without, regions from a file: see `read_regions`.
    """
    if images is not None:
        return partial(read_pixels, options=images)
    return partial(read_regions, count=count, size=size)


def read_regions(source: Source, count: int, size: int) -> NDArray[np.float32]:
    """A file of regions -> float32 (R, D) with R = `count`, D = `size`; rows behind the file's last are NaN.

    `source` is a path, an address, the file's bytes, or an array (n, D). Of a file the array `features` is taken, or
    `x`, or the only one of floating point with two dimensions beside the boxes; one of a single dimension is one
    region. With `count` 1 the file's regions are averaged. Values are rounded to float16, as training stores them, so
    that use sees the same digits. Raises `ImageError` where there is no such file or it is damaged or empty,
    `FeatureError` where its regions do not fit or are not finite.
    """
    name = printable(source_name(source))
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    if isinstance(source, np.ndarray):
        shape, read = source.shape, partial(np.asarray, source)
    else:
        shape, read = _chosen(_arrays(BytesIO(read_content(source)), name), name)
    # All before so many numbers are read as a stranger's file promises.
    if len(shape) != 2 or shape[1] != size:
        raise FeatureError(f"{name}: holds {_shape(shape)} numbers, expected regions of {size}; another detector?")
    if not shape[0]:
        raise ImageError(f"{name}: holds no region, expected one or more; leave the picture out")
    if 1 < count < shape[0]:
        raise FeatureError(
            f"{name}: holds {shape[0]} regions, the model takes {count} at most; leave the weakest out, or train with "
            f"--set encoder.regions={shape[0]}"
        )
    try:
        with np.errstate(over="ignore"):  # told below, as an error
            values = np.asarray(read(), np.float32).reshape(shape)  # (n, D)
            rounded = (values.mean(0, keepdims=True) if count == 1 else values).astype(np.float16)
    except Exception as error:  # foreign data fails in many ways; one bad file must not end the rest
        raise _damaged(name, error) from error
    if not np.isfinite(rounded).all():
        raise FeatureError(f"{name}: holds a value that is not finite in 16 bits, expected numbers up to 65,504")
    regions = np.full((count, size), np.nan, np.float32)
    regions[: len(rounded)] = rounded
    return regions


def apart(regions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Regions (B, R, D) -> the same with zeros for NaN, and the mask (B, R), true where a region is real."""
    real = ~np.isnan(regions[:, :, 0])
    return np.where(real[:, :, None], regions, np.float32(0)), real


def measure(paths: Iterable[Path]) -> tuple[int, int]:
    """The most regions that one of the files holds, and the size D of all of them. Only their heads are read.

    Files that cannot be read are passed over. Raises `FeatureError` where sizes differ or no file can be read.
    """
    most, size, first, trouble = 0, 0, "", "none is there"
    for path in paths:
        try:
            with path.open("rb") as file:
                shape, _ = _chosen(_arrays(file, str(path)), str(path))
        except OSError:
            continue
        except ImageError as error:
            trouble = str(error)
            continue
        if size and shape[1] != size:
            raise FeatureError(f"{path}: holds regions of {shape[1]} numbers, but {first} of {size}; expected one size")
        most, size, first = max(most, shape[0]), shape[1], first or str(path)
    if not (most and size):
        raise FeatureError(f"no file of regions can be read: {trouble}")
    return most, size


def with_region_files(examples: Sequence[Example], folder: Path) -> list[Example]:
    """The same examples, with the region file of each in `folder` or below it as its `image`.

    A file is named after the picture's id or file, with its suffix or without: 123.npz or 123.jpg.npz for 123.jpg. One
    that is missing is named as it should be. Raises `DataError` where there is none at all, or one for two pictures.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of region files; check the name given with --regions")
    files = _listed(folder)
    found: dict[Path, str] = {}
    changed = []
    for example in examples:
        path = next((files[name] for name in _names(example) if files.get(name)), None)
        if path is not None and found.setdefault(path, example.id) != example.id:
            raise DataError(
                f"{path}: means both {found[path]} and {example.id}; name it after one with its suffix, or use folders"
            )
        changed.append(replace(example, image=path or folder / f"{example.image.stem}.npz"))
    if not found:
        such = f", such as {changed[0].image.name}" if changed else ""
        raise DataError(f"{folder}: holds no region file (.npz, .safetensors) of {len(examples):,} pictures{such}")
    return changed


def remembered_folder(run: Path) -> Path | None:
    """The folder of region files that a training run has learnt from; None of anything else."""
    try:
        folder = json.loads((run / "data.json").read_text(encoding="utf-8"))["source"].get("regions")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Path(folder) if folder else None


def _listed(folder: Path) -> dict[str, Path | None]:
    """Region files by their name below the folder, and by its last part: None where several have that."""
    files: dict[str, Path | None] = {}
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    paths = [path for path in paths if path.suffix in REGION_SUFFIXES]
    for path in paths:
        files[path.name] = None if path.name in files else path
    return files | {path.relative_to(folder).as_posix(): path for path in paths}


def _names(example: Example) -> Iterable[str]:
    for name in (example.id, example.image.name):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 (an id's slashes stay as they are)
        for base in (name, stem) if suffix.lower() in PICTURE_SUFFIXES else (name,):
            yield from (f"{base}{kind}" for kind in REGION_SUFFIXES)


def _chosen(arrays: _Arrays, name: str) -> tuple[tuple[int, ...], Callable[[], NDArray[Any]]]:
    """The array of regions among those of a file, its shape as (n, D)."""
    kinds = (
        [key for key in _KNOWN if key in arrays][:1],
        [key for key, (shape, _) in arrays.items() if len(shape) == 2 and key not in _BOXES],
        [key for key, (shape, _) in arrays.items() if len(shape) == 1],
    )
    fitting = next((keys for keys in kinds if keys), [])
    if len(fitting) != 1 or len(arrays[fitting[0]][0]) not in (1, 2):
        found = ", ".join(f"{key} ({_shape(shape)})" for key, (shape, _) in arrays.items()) or "none"
        raise FeatureError(f"{name}: its arrays of floats are {found}; expected `features`, `x` or one, regions x size")
    shape, read = arrays[fitting[0]]
    return (shape if len(shape) == 2 else (1, *shape)), read


def _arrays(file: BinaryIO, name: str) -> _Arrays:
    head = file.read(9)
    file.seek(0)
    if not head:
        raise ImageError(f"{name}: is empty (0 bytes); make or copy it again")
    if not head.startswith(b"PK\x03\x04") and head[8:] != b"{":
        kind = kind_of(file.read(512)).partition(" without")[0]  # whether a picture is whole does not matter here
        raise ImageError(f"{name}: no region file: found {kind}, the model takes regions from .npz or .safetensors")
    try:
        return _npz(file) if head.startswith(b"PK") else _safetensors(file)
    except Exception as error:  # as in `read_regions`
        raise _damaged(name, error) from error


def _npz(file: BinaryIO) -> _Arrays:
    arrays: _Arrays = {}
    archive = zipfile.ZipFile(file)
    for member in archive.namelist():
        if not member.endswith(".npy"):
            continue
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        if dtype.kind == "f":
            arrays[member.removesuffix(".npy")] = shape, partial(_read_member, archive, member)
    return arrays


def _read_member(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        values: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return values


def _safetensors(file: BinaryIO) -> _Arrays:
    """By hand, for use needs no package of that name: 8 bytes of length, a JSON header, the values."""
    arrays: _Arrays = {}
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > total - 8:
        raise ValueError(f"a header of {length} bytes in a file of {total}")
    for name, entry in json.loads(file.read(length)).items():
        if name == "__metadata__" or entry["dtype"] not in _SAFETENSORS:
            continue
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = np.dtype(_SAFETENSORS[entry["dtype"]])
        if min(shape, default=0) < 0 or not 0 <= begin <= end <= total - 8 - length:
            raise ValueError(f"{name} does not lie in the file")
        if math.prod(shape) * dtype.itemsize != end - begin:
            raise ValueError(f"{name} has {end - begin} bytes for {_shape(shape)} numbers")
        arrays[name] = shape, partial(_read_tensor, file, 8 + length + begin, end - begin, dtype, shape)
    return arrays


def _read_tensor(
    file: BinaryIO, start: int, count: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    file.seek(start)
    values = np.frombuffer(file.read(count), dtype).reshape(shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if dtype.kind == "u" else values


def _damaged(name: str, error: Exception) -> ImageError:
    reason = printable(str(error)) or type(error).__name__
    return ImageError(f"{name}: the file of regions is truncated or damaged ({reason}); make or copy it again")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"
