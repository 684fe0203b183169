"""Distinct JPEG photos of 640 x 480 pixels, cut from the pictures in scikit-image's wheel.

    python benchmarks/photos.py FOLDER COUNT

Each is another cut of another size, mirrored or not, brighter or darker. No two files are the same, so that nothing can
be answered from memory.
"""

import hashlib
import random
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

SIZE = (640, 480)
SOURCES = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "motorcycle_left.png", "rocket.jpg")
QUALITY = 90  # of the JPEG


def cut_photos(folder: Path, count: int) -> None:
    """Write `count` photos as 0000.jpg, 0001.jpg ...; the same count gives the same photos."""
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("scikit-image, whose pictures are cut, is missing: pip install scikit-image")
    sources = [Image.open(Path(found.submodule_search_locations[0], "data", name)).convert("RGB") for name in SOURCES]
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(0)
    seen: set[bytes] = set()
    for number in range(count):
        photo = _cut(sources[number % len(sources)], chance)
        path = folder / f"{number:04d}.jpg"
        photo.save(path, quality=QUALITY)
        seen.add(hashlib.sha256(path.read_bytes()).digest())
    if len(seen) != count:
        raise SystemExit(f"only {len(seen)} of {count} photos are distinct; expected each to differ")


def _cut(source: Image.Image, chance: random.Random) -> Image.Image:
    wide, high = SIZE
    largest = min(source.width / wide, source.height / high)
    scale = largest * chance.uniform(0.5, 1)  # the cut's size, in sizes of the photo
    width, height = wide * scale, high * scale
    left, top = chance.uniform(0, source.width - width), chance.uniform(0, source.height - height)
    photo = source.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if chance.random() < 0.5:
        photo = ImageOps.mirror(photo)
    return ImageEnhance.Brightness(photo).enhance(chance.uniform(0.8, 1.2))


if __name__ == "__main__":
    cut_photos(Path(sys.argv[1]), int(sys.argv[2]))
