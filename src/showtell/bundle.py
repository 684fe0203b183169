"""The model on disk: a folder of manifest, ONNX graphs, vocabulary, card and licence, each file with its hash."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from showtell import __version__
from showtell.decoding.options import DecodeOptions
from showtell.errors import BundleError, ShowtellError
from showtell.files import SYSTEM_FILES, check_writable, replace_folder, write_bytes
from showtell.images import ImageOptions
from showtell.model_folder import MANIFEST
from showtell.onnx_safety import refuse_unsafe_graph
from showtell.vocabulary import Vocabulary

FORMAT = 1
GRAPHS = ("encoder.onnx", "start.onnx", "step.onnx")
VOCABULARY = "vocabulary.json"
WEIGHTS = ("float32", "fp16", "int8")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_AGAIN = "export the checkpoint again with `showtell export`, or copy the bundle again"


@dataclass(frozen=True, kw_only=True)
class RegionGeometry:
    """What the encoder gives for one picture: `count` regions of `size` numbers, `grid` rows and columns if a grid."""

    count: int
    size: int
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        numbers = (self.count, self.size, *(self.grid or ()))
        if any(type(number) is not int or number < 1 for number in numbers):
            raise BundleError(f"regions: {numbers} as count, size and grid, expected whole numbers from 1")
        if self.grid is not None and (len(self.grid) != 2 or self.grid[0] * self.grid[1] != self.count):
            raise BundleError(f"regions: grid {self.grid} does not hold {self.count} regions")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle tells about itself."""

    name: str
    images: ImageOptions | None  # None: it has no encoder and takes regions from files
    regions: RegionGeometry
    decoding: DecodeOptions = dataclasses.field(default_factory=DecodeOptions)
    scores: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = "float32"
    licence: str = ""
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    showtell: str = __version__  # the version that wrote it

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs that such a bundle holds."""
        return GRAPHS if self.images else GRAPHS[1:]

    @property
    def masked(self) -> bool:
        """Whether pictures may have fewer regions than the model takes: then start.onnx takes a `mask` too."""
        return self.images is None and self.regions.count > 1


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle as the manifest lists it."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have been read and checked. `graphs` holds the ONNX models that passed, by file name."""

    path: Path
    manifest: Manifest
    vocabulary: Vocabulary
    graphs: Mapping[str, bytes]


def read_manifest(path: Path) -> tuple[Manifest, dict[str, FileEntry]]:
    """Read a bundle's manifest only, without opening its files. Raises `BundleError` naming the file and the key."""
    where = path / MANIFEST
    try:
        table = json.loads(where.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{path}: no bundle: it holds no {MANIFEST}; give the folder that an export wrote") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{where}: cannot be read ({error}); {_AGAIN}") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        found = table.get("format") if isinstance(table, dict) else table
        raise BundleError(
            f"{path}: bundle format {found!r}, this version of showtell ({__version__}) reads {FORMAT}; "
            "export the checkpoint again with `showtell export`, or install the version that wrote it"
        )
    try:
        manifest = Manifest(
            name=_typed(table, "name", str),
            images=None if table.get("images", "") is None else _options(ImageOptions, _typed(table, "images", dict)),
            regions=_options(RegionGeometry, _typed(table, "regions", dict)),
            decoding=_options(DecodeOptions, _typed(table, "decoding", dict)),
            scores=_typed(table, "scores", dict),
            weights=_typed(table, "weights", str),
            licence=_typed(table, "licence", str),
            recipe=_typed(table, "recipe", dict),
            showtell=_typed(table, "showtell", str),
        )
        files = {
            name: FileEntry(_typed(entry, "sha256", str), _typed(entry, "bytes", int))
            for name, entry in _typed(table, "files", dict).items()
        }
    except (ShowtellError, TypeError, ValueError) as error:
        raise BundleError(f"{where}: {error}; {_AGAIN}") from error
    for name in files:
        _check_name(name, where)
    for name in (*manifest.graphs, VOCABULARY):
        if name not in files:
            raise BundleError(f"{where}: lists no {name}; {_AGAIN}")
    return manifest, files


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check all of it: format, every file's size and hash, the graphs' safety, the vocabulary.

    The bytes that were checked are the bytes that are returned. Raises `BundleError` in one line otherwise.
    """
    path = Path(path)
    manifest, files = read_manifest(path)
    contents = {name: _read(path / name, entry) for name, entry in files.items()}
    graphs = {name: contents[name] for name in manifest.graphs}
    for name, graph in graphs.items():
        refuse_unsafe_graph(graph, str(path / name))
    try:
        words = json.loads(contents[VOCABULARY])
        vocabulary = Vocabulary(tuple(words["words"]), words["tokenizer"])
    except (ShowtellError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path / VOCABULARY}: no readable vocabulary ({error}); {_AGAIN}") from error
    return Bundle(path, manifest, vocabulary, graphs)


def write_bundle(folder: str | os.PathLike[str], *, files: Mapping[str, bytes], manifest: Manifest) -> Path:
    """Write a bundle so that `folder` never holds half of one. Returns its absolute path.

    `files` must hold the graphs and the vocabulary; a card and a licence belong there too. Everything is written aside
    and synced, then renamed into place; an older bundle there is renamed away just before and deleted last. A folder
    that holds anything else is left alone. Raises `BundleError` where a file is missing, badly named or not writable.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a link to a folder stays what it is
    if missing := [name for name in (*manifest.graphs, VOCABULARY) if name not in files]:
        raise BundleError(f"{folder}: a bundle needs {', '.join(missing)}")
    for name in files:
        _check_name(name, folder)
    check_place(folder)
    table = {"format": FORMAT, **dataclasses.asdict(manifest)}
    table["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    text = json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(folder) as aside:
            for name, content in {**files, MANIFEST: text.encode()}.items():
                write_bytes(aside / name, content)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written ({error}); check the disk and its permissions") from error
    return folder


def check_place(folder: str | os.PathLike[str]) -> None:
    """Raise `BundleError` where no bundle can be written: at a folder of anything but an older bundle, or no place.

    An older bundle is one of any format, damaged too, if nothing lies in it but what its manifest lists.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a link to a folder stays what it is
    try:
        if folder.exists():
            if not folder.is_dir():
                raise BundleError(f"{folder}: is a file, expected the folder of a bundle; name another")
            entries = {path.name for path in folder.iterdir()}
            if foreign := sorted(entries - _listed(folder)):
                found = (
                    "is no bundle" if MANIFEST not in entries else f"holds {foreign[0]}, which is no part of a bundle"
                )
                raise BundleError(f"{folder}: exists and {found}; name another folder, or remove it first")
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    try:
        check_writable(folder.parent)
    except ShowtellError as error:
        raise BundleError(str(error)) from error


def _listed(folder: Path) -> set[str]:
    """The names of the files that may lie in an older bundle; none where it has no manifest that lists them."""
    try:
        table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {MANIFEST, *SYSTEM_FILES, *table["files"]} if "format" in table else {*SYSTEM_FILES}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {*SYSTEM_FILES}


def _check_name(name: str, where: Path) -> None:
    if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
        raise BundleError(f"{where}: file name {name!r}, expected a plain name without folders; {_AGAIN}")


def _read(path: Path, entry: FileEntry) -> bytes:
    try:
        size = path.stat().st_size
        if size != entry.bytes:  # before reading: whatever lies there now, no more than promised is read
            raise BundleError(f"{path}: {size} bytes, the manifest says {entry.bytes}; {_AGAIN}")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{path}: is missing, the manifest lists it; {_AGAIN}") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error}); check its permissions") from error
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        raise BundleError(f"{path}: damaged: its sha256 is {found[:12]}..., expected {entry.sha256[:12]}...; {_AGAIN}")
    return content


def _typed(table: Any, key: str, kind: type) -> Any:
    if not isinstance(table, dict) or key not in table:
        raise ValueError(f"key {key!r} is missing")
    value = table[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{key} is {value!r}, expected {kind.__name__}")
    return value


def _options(kind: Any, table: dict[str, Any]) -> Any:
    """A frozen options class from a JSON table; unknown keys and values of another type are refused."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := [key for key in table if key not in fields]:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(fields)}")
    values: dict[str, Any] = {}
    for key, value in table.items():
        default = fields[key].default
        if isinstance(value, list) and all(isinstance(number, int | float) for number in value):
            value = tuple(value)
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if default is not dataclasses.MISSING and default is not None and type(value) is not type(default):
            raise TypeError(f"{key} is {value!r}, expected {type(default).__name__}")
        values[key] = value
    return kind(**values)
