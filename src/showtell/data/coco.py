"""COCO captions JSON (2014, 2017 and anything of the same form) and Karpathy's JSON with his splits."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from showtell.data.collect import Collector
from showtell.data.dataset import known_split
from showtell.data.tables import table_files
from showtell.data.textfiles import ends_of, read_json
from showtell.errors import DataError

# Other annotations that COCO ships beside the captions, of up to half a gigabyte each.
_NO_CAPTIONS = r"(?!instances_|person_keypoints_|stuff_|panoptic_|image_info_)"


def find_coco(root: Path) -> list[Path]:
    """captions_*.json first; else any JSON whose annotations hold captions."""
    files = [path for path in table_files(root, _NO_CAPTIONS + r".*\.json") if _looks_like_coco(path)]
    return [path for path in files if path.name.lower().startswith("captions")] or files


def find_karpathy(root: Path) -> list[Path]:
    """JSON files with "sentences", such as dataset_flickr8k.json; the first alone."""
    return [path for path in table_files(root, r".*\.json") if '"sentences"' in ends_of(path)][:1]


def read_coco(files: Sequence[Path], collector: Collector) -> None:
    """Read COCO captions: the file's name tells split and picture folder, as in captions_val2017.json and val2017/.

    Of several files, those whose picture folder is absent are left out and noted: the annotations are handed out
    together, the pictures one by one.
    """
    folders = {path: re.sub(r"^captions_?", "", path.stem, flags=re.IGNORECASE) for path in files}
    present = [path for path in files if _has_folder(collector.root, folders[path])]
    for path in files:
        if present and path not in present:
            what = f"left out: there is no folder {folders[path]} with its pictures"
            collector.problem("left out", path.name, what)
        else:
            _read_coco_file(path, collector, folders[path] if path in present else "")


def read_karpathy(files: Sequence[Path], collector: Collector) -> None:
    """Read Karpathy's splits; "restval" belongs to training, as in the papers. The sentences are taken raw."""
    for path in files:
        for place, image in _records(path, _part(path, read_json(path), "images"), "images", collector):
            where = collector.where(path, place)
            name, sentences = image.get("filename"), image.get("sentences", [])
            raw = [entry.get("raw") for entry in sentences if isinstance(entry, dict)]
            if not isinstance(name, str) or any(not isinstance(text, str) for text in raw):
                collector.problem("bad row", where, "expected filename, split and sentences with their raw text")
                continue
            cocoid = image.get("cocoid")
            collector.add(
                name,
                [str(text) for text in raw],
                where=where,
                split=str(image.get("split", "")),
                key=None if cocoid is None else str(cocoid),
                prefer=str(image.get("filepath", "")),
            )


def _read_coco_file(path: Path, collector: Collector, folder: str) -> None:
    content = read_json(path)
    split = _split_of(path, collector.root)
    names: dict[Any, str] = {}
    keys: dict[Any, str] = {}
    for place, image in _records(path, _part(path, content, "images"), "images", collector):
        where = collector.where(path, place)
        number, name = image.get("id"), image.get("file_name")
        if not isinstance(number, int | str) or not isinstance(name, str):
            collector.problem("bad row", where, "expected a picture's id and file_name")
            continue
        names[number] = name
        # Numbers may start again in each file; then the file's name tells two pictures apart.
        keys[number] = str(number) if collector.is_free(str(number), name, folder) else f"{path.stem}/{number}"
        urls = (image.get("coco_url"), image.get("flickr_url"))  # Flickr's go away with their photos
        url = next((url for url in urls if isinstance(url, str) and url), None)
        collector.add(name, (), where=where, split=split, key=keys[number], prefer=folder, url=url)
    for place, annotation in _records(path, _part(path, content, "annotations"), "annotations", collector):
        where = collector.where(path, place)
        number, caption = annotation.get("image_id"), annotation.get("caption")
        if not isinstance(caption, str):
            collector.problem("bad row", where, "expected image_id and a caption")
        elif number not in names:
            collector.problem("orphan caption", where, f"image_id {number} is not among the images: {caption[:60]!r}")
        else:
            collector.add(names[number], (caption,), where=where, key=keys[number], prefer=folder)


def _records(path: Path, part: list[Any], name: str, collector: Collector) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, record in enumerate(part):
        if isinstance(record, dict):
            yield f"{name}[{index}]", record
        else:
            collector.problem("bad row", collector.where(path, f"{name}[{index}]"), "expected a JSON object")


def _part(path: Path, content: Any, name: str) -> list[Any]:
    part = content.get(name) if isinstance(content, dict) else None
    if not isinstance(part, list):
        found = f"the keys {', '.join(list(content)[:8])}" if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: found {found}, expected an object with the list {name!r}; is it another annotation?")
    return part


def _looks_like_coco(path: Path) -> bool:
    if path.name.lower().startswith("captions_"):
        return True
    ends = ends_of(path)
    return '"caption"' in ends and '"image_id"' in ends and '"sentences"' not in ends


def _has_folder(root: Path, folder: str) -> bool:
    return any((root / top / folder).is_dir() for top in ("", "images", "Images")) and bool(folder)


def _split_of(path: Path, root: Path) -> str | None:
    words = re.findall(r"[a-z]+", path.stem.lower())
    if path.parent != root:
        words.append(path.parent.name.lower())
    return next((word for word in words if known_split(word)), None)
