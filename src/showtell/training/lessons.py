"""What is learnt from: a data set's captions, further ones from files, or lines of text without pictures."""

import json
from collections.abc import Sequence
from dataclasses import replace
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


def add_captions(examples: Sequence[Example], files: Sequence[Path], *, alone: bool) -> list[Example]:
    """Training examples with the captions of `files`, beside their own ones or, with `alone`, in their place.

    A file holds JSON lines as `showtell caption --format jsonl` and `showtell evaluate --out` write them: `caption`,
    and the picture as `id` or `path`; relative paths count from the file. A picture that is no training example becomes
    one. With `alone`, examples without a caption are left out. Raises `DataError` naming the file and the line.
    """
    by_id = {example.id: example for example in examples}
    by_path = {example.image.absolute(): example.id for example in examples}
    added: dict[str, list[str]] = {}
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            name, path, caption = _added(line, file, number)
            if name not in by_id:
                name = by_path.get(path, str(path))
            if name not in by_id:
                by_id[name] = Example(id=name, image=path, split="train")
                by_path[path] = name
            if caption:
                added.setdefault(name, []).append(caption)
    found = []
    for name, example in by_id.items():
        own = () if alone else example.captions
        if own or name in added:
            found.append(replace(example, captions=(*own, *added.get(name, ()))))
    return found


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
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); expected a text file in UTF-8") from error


def _added(line: str, file: Path, number: int) -> tuple[str, Path, str]:
    """Id, absolute path and caption of one line; the caption is empty where the line tells of a failure."""
    try:
        row: Any = json.loads(line)
        if "error" in row:
            return str(row.get("id", "")), (file.parent / row["path"]).absolute(), ""
        caption, path = row["caption"], row.get("path", "")
        if not isinstance(caption, str) or not isinstance(path, str) or not (path or "id" in row):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}:{number}: found {line[:60]!r}, expected a JSON object with `caption` and `path` or `id`, as "
            "`showtell evaluate --out FILE` writes them"
        ) from error
    return str(row.get("id", "")), (file.parent / path).absolute(), caption
