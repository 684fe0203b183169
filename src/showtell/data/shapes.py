"""A small data set that anybody can generate: coloured shapes, each with the one caption that is exact.

A picture holds one object ("a large green triangle") or two ("a small red circle above a large blue square"). There are
6 colours, 4 shapes and 2 sizes, so 48 objects, and 4 relations. The caption is a function of the picture: of two
objects, the one earlier in the order of colour, then shape, then size is named first, and of two equal ones the left
or the upper one. That leaves 48 captions of one object and 1128 * 4 + 48 * 2 = 4608 of two. A set can be asked for in
which every picture holds one object, for captioners that see a picture as one vector, or every picture two.

What is measured is whether a captioner puts known words together anew. A tenth of the captions of two objects, chosen
by their hash, is kept for validation and a fifth for test; training never shows them, and 60 % of the validation and
test pictures have such a caption, none where pictures hold one object. Sizes, colours and positions are far enough
apart that a person names every picture without doubt, so a captioner that errs has not learnt; a small ResNet at 64
pixels, trained from nothing on the default 8,000 pictures, learns the set in two to three minutes of two cores.

S side of a picture, pixels.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from showtell.data.dataset import SPLITS
from showtell.errors import DataError
from showtell.files import write_text

COLOURS = {
    "red": (214, 39, 40),
    "green": (38, 160, 62),
    "blue": (36, 78, 210),
    "yellow": (240, 205, 30),
    "purple": (150, 60, 180),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": 0.095, "large": 0.185}  # half the side of the object, in sides of the picture
RELATIONS = ("left of", "right of", "above", "below")

_SIZE_JITTER = 0.08  # share of the object's size
_COLOUR_JITTER = 10  # of 255
_MARGIN = 0.02  # between an object and the edge, in sides of the picture
_GAP = 0.05  # between two objects along the relation
_DRIFT = 0.06  # of two objects across the relation
_OVERSAMPLING = 4
_NEW_SHARE = (3, 5)  # of the validation and test pictures have a caption that training never shows
_SINGLE_SHARE = 0.25  # of the other pictures hold one object
_SMALLEST = 32  # pixels: below, a small circle and a small square look alike


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. Its order among all is that of `COLOURS`, `SHAPES`, `SIZES`."""

    colour: str
    shape: str
    size: str

    def __str__(self) -> str:
        return f"a {self.size} {self.colour} {self.shape}"


THINGS = tuple(Thing(colour, shape, size) for colour in COLOURS for shape in SHAPES for size in SIZES)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: one object, or two with the relation of the first to the second."""

    first: Thing
    relation: str = ""
    second: Thing | None = None

    @property
    def caption(self) -> str:
        return f"{self.first} {self.relation} {self.second}" if self.second else str(self.first)


def scenes() -> tuple[list[Scene], dict[str, list[Scene]]]:
    """All scenes of one object, and those of two by the split that they are kept for."""
    pairs = [Scene(a, relation, b) for a, b in combinations(THINGS, 2) for relation in RELATIONS]
    pairs += [Scene(thing, relation, thing) for thing in THINGS for relation in ("left of", "above")]
    kept: dict[str, list[Scene]] = {split: [] for split in SPLITS}
    for scene in pairs:
        tenth = hashlib.sha256(scene.caption.encode()).digest()[0] * 10 // 256
        kept["test" if tenth < 2 else "val" if tenth < 3 else "train"].append(scene)
    return [Scene(thing) for thing in THINGS], kept


def make_shapes(
    out: Path,
    *,
    train: int = 8000,
    val: int = 300,
    test: int = 500,
    size: int = 64,
    seed: int = 0,
    objects: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Write pictures to `out`/images and, at last, their captions and splits to `out`/metadata.jsonl.

    Each picture holds one object or two, drawn anew, or as many as `objects` says. The same arguments give the same
    captions and pixels. `progress` is called with 1 for each picture. Raises `DataError` where `out` is not empty, a
    count is negative or none is positive, `size` is below 32 pixels, or `objects` is neither 1 nor 2.
    """
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    if min(counts.values()) < 0 or not any(counts.values()):
        raise DataError(f"{out}: {train} train, {val} val, {test} test pictures; expected one or more, none negative")
    if size < _SMALLEST:
        raise DataError(f"{out}: pictures of {size} pixels, expected {_SMALLEST} or more; shapes cannot be told apart")
    if objects not in (None, 1, 2):
        raise DataError(f"{out}: {objects} objects in a picture, expected 1 or 2, or None for either")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and is not an empty folder; name a new one or remove it")
    images = out / "images"
    lines = []
    try:
        images.mkdir(parents=True, exist_ok=True)
        for split, count in counts.items():
            for index in range(count):
                scene, picture = make_picture(split, index, size=size, seed=seed, objects=objects)
                path = images / f"{split}-{index:05d}.png"
                picture.save(path, compress_level=4)
                record = {"file_name": f"images/{path.name}", "caption": scene.caption, "split": split}
                lines.append(json.dumps(record) + "\n")
                progress(1)
        write_text(out / "metadata.jsonl", "".join(lines))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error}); check permissions and space") from error


def make_picture(
    split: str, index: int, *, size: int = 64, seed: int = 0, objects: int | None = None
) -> tuple[Scene, Image.Image]:
    """The picture `index` of a split, RGB of S x S pixels, and what it shows; both follow from the arguments alone."""
    # The stream of RandomState is frozen across versions of numpy, that of the newer generators is not.
    digest = hashlib.sha256(f"shapes {seed} {split} {index}".encode()).digest()
    random = np.random.RandomState(np.frombuffer(digest, dtype=np.uint32))
    scene = _choose(split, index, random, objects)
    picture = _background(size, random).resize((size * _OVERSAMPLING,) * 2, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for thing, x, y, radius in _arrange(scene, random):
        side = size * _OVERSAMPLING
        colour = np.add(COLOURS[thing.colour], random.randint(-_COLOUR_JITTER, _COLOUR_JITTER + 1, 3)).clip(0, 255)
        _draw(draw, thing.shape, x * side, y * side, radius * side, (int(colour[0]), int(colour[1]), int(colour[2])))
    return scene, picture.resize((size, size), Image.Resampling.BOX)


_SINGLES, _PAIRS = scenes()


def _choose(split: str, index: int, random: np.random.RandomState, objects: int | None) -> Scene:
    new, of = _NEW_SHARE
    if objects == 1:
        pool = _SINGLES
    elif split != "train" and index % of < new:
        pool = _PAIRS[split]
    elif objects is None and random.random_sample() < _SINGLE_SHARE:
        pool = _SINGLES
    else:
        pool = _PAIRS["train"]
    return pool[random.randint(len(pool))]


def _arrange(scene: Scene, random: np.random.RandomState) -> list[tuple[Thing, float, float, float]]:
    """Each object with centre x, y and half side, in sides of the picture; two differ clearly along one axis only."""
    things = [scene.first] + ([scene.second] if scene.second else [])
    radii = [SIZES[thing.size] * (1 + random.uniform(-_SIZE_JITTER, _SIZE_JITTER)) for thing in things]
    if len(things) == 1:
        reach = radii[0] + _MARGIN
        return [(things[0], random.uniform(reach, 1 - reach), random.uniform(reach, 1 - reach), radii[0])]
    order = [0, 1] if scene.relation in ("left of", "above") else [1, 0]  # from low to high coordinates
    low, high = (radii[i] for i in order)
    least = low + high + _GAP
    start = random.uniform(low + _MARGIN, 1 - _MARGIN - high - least)
    end = random.uniform(start + least, 1 - _MARGIN - high)
    reach = max(radii) + _MARGIN + _DRIFT / 2
    middle = random.uniform(reach, 1 - reach)
    along = {order[0]: start, order[1]: end}
    across = [middle + random.uniform(-_DRIFT / 2, _DRIFT / 2) for _ in things]
    upright = scene.relation in ("above", "below")
    return [
        (thing, across[i] if upright else along[i], along[i] if upright else across[i], radii[i])
        for i, thing in enumerate(things)
    ]


def _background(size: int, random: np.random.RandomState) -> Image.Image:
    """Light grey of one of many levels with soft clouds, RGB, S x S pixels."""
    level = random.uniform(205, 240)
    clouds = random.uniform(-10, 10, (6, 6))
    grey = Image.fromarray(np.rint(level + clouds).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    return grey.convert("RGB")


def _draw(
    draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, colour: tuple[int, int, int]
) -> None:
    """Draw a shape that fills the square from (x - radius, y - radius) to (x + radius, y + radius)."""
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=colour)
    else:
        arm = radius / 3
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
