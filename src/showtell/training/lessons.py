"""What is learnt from: a data set's captions, further ones from files, or lines of text without pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from filecmp import cmp
from pathlib import Path
from typing import Any

from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import DataError
from showtell.training.request import Request


def read_examples(request: Request) -> list[Example]:
    """The data set's examples. Raises `DataError` where there is none."""
    dataset = read_dataset(
        request.data,
        format=request.format,
        image_folder=request.images,
        splits=request.splits,
        regions=request.regions,
    )
    examples = list(dataset.examples)
    if not examples:
        raise DataError(f"{request.data}: no picture with captions; look at it with `showtell data check`")
    return examples


@dataclass(frozen=True)
class Added:
    """Training examples with further captions, and how many were left out as their pictures are not to be learnt."""

    examples: list[Example]
    held_out: int


def add_captions(
    examples: Sequence[Example], files: Sequence[Path], *, all_examples: Sequence[Example] = (), alone: bool
) -> Added:
    """Training examples with the captions of `files`, beside their own ones or, with `alone`, in their place.

    A file holds JSON lines as `showtell caption --format jsonl` and `showtell evaluate --out` write them: `caption`,
    and the picture as `id` or `path`; relative paths count from the file. A picture that is no training example becomes
    one, unless `all_examples` tell, by its id, path or bytes, that it is of val or test: these are never learnt. With
    `alone`, examples without a caption are left out. Raises `DataError` naming the file and the line.
    """
    if not files:
        return Added([example for example in examples if example.captions and not alone], 0)
    by_id = {example.id: example for example in examples}
    by_path = {example.image.resolve(): example.id for example in examples}
    held = _HeldOut([example for example in all_examples if example.split in ("val", "test")])
    held_out = 0
    added: dict[str, list[str]] = {}
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            name, path, caption = _added(line, file, number)
            if name not in by_id:
                if name in held.ids or (path and held.holds(path)):
                    held_out += 1
                    continue
                if path is None:
                    raise DataError(f"{file}:{number}: the data set has no picture {name!r}, and the line no `path`")
                name = by_path.setdefault(path, str(path))
                by_id.setdefault(name, Example(id=name, image=path, split="train"))
            if caption:
                added.setdefault(name, []).append(caption)
    found = []
    for name, example in by_id.items():
        own = () if alone else example.captions
        if own or name in added:
            found.append(replace(example, captions=(*own, *added.get(name, ()))))
    return Added(found, held_out)


class _HeldOut:
    """The pictures that nothing may be learnt of: by id, by path, and by what their files hold."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.ids = {example.id for example in examples}
        self._paths = {example.image.resolve() for example in examples}
        self._sizes: dict[int, list[Path]] | None = None  # made at the first file that is none of these

    def holds(self, path: Path) -> bool:
        """Whether a file is one of these, or has the same bytes under another name."""
        if path in self._paths:
            return True
        if self._sizes is None:
            self._sizes = {}
            for own in self._paths:
                if own.is_file():
                    self._sizes.setdefault(own.stat().st_size, []).append(own)
        try:
            return any(cmp(path, own, shallow=False) for own in self._sizes.get(path.stat().st_size, []))
        except OSError:  # it is left out later, with the reason
            return False


def text_examples(file: Path) -> list[Example]:
    """Each line of a text file, but empty ones, as a training example without a picture. Raises `DataError`."""
    found = [
        Example(id=f"{file.name}:{number}", image=file, captions=(line.strip(),), split="train")
        for number, line in enumerate(_lines(file), 1)
        if line.strip()
    ]
    if not found:
        raise DataError(f"{file}: holds no line of text, expected a sentence a line")
    return found


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); expected a text file in UTF-8") from error
    # Not by splitlines(), which also parts at signs that JSON allows within a text, such as U+2028.
    return text.split("\n") if text else []


def _added(line: str, file: Path, number: int) -> tuple[str, Path | None, str]:
    """Id, whole path, if there is one, and caption of one line; the caption is empty where it tells of a failure."""
    try:
        row: Any = json.loads(line)
        if "error" in row:
            return str(row.get("id", "")), (file.parent / row["path"]).resolve(), ""
        caption, path = row["caption"], row.get("path", "")
        if not isinstance(caption, str) or not isinstance(path, str) or not (path or "id" in row):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}:{number}: found {line[:60]!r}, expected a JSON object with `caption` and `path` or `id`, as "
            "`showtell evaluate --out FILE` writes them"
        ) from error
    return str(row.get("id", "")), (file.parent / path).resolve() if path else None, caption
