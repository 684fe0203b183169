"""Generated shapes: exact captions, held-out combinations, the same pictures every time."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from showtell.cli.data import command
from showtell.data.check import check_dataset
from showtell.data.readers import read_dataset
from showtell.data.shapes import COLOURS, RELATIONS, SHAPES, SIZES, THINGS, make_picture, make_shapes, scenes
from showtell.errors import DataError

SENTENCE = re.compile(r"a (small|large) (\w+) (\w+)(?: (left of|right of|above|below) a (small|large) (\w+) (\w+))?")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes") / "new" / "set"
    make_shapes(out, train=400, val=50, test=100, size=32, seed=3)
    return out


def test_there_are_48_objects_and_4656_captions() -> None:
    singles, pairs = scenes()
    assert (len(COLOURS), len(SHAPES), len(SIZES), len(RELATIONS)) == (6, 4, 2, 4)
    captions = [scene.caption for scene in [*singles, *(scene for kept in pairs.values() for scene in kept)]]
    assert len(captions) == len(set(captions)) == 48 + 1128 * 4 + 48 * 2
    assert all(SENTENCE.fullmatch(caption) for caption in captions)


def test_it_reads_back_without_any_problem(shapes: Path) -> None:
    report = check_dataset(read_dataset(shapes))
    assert report.problems == ()  # so no picture occurs twice either
    assert report.pictures == {"train": 400, "val": 50, "test": 100, "none": 0}
    assert report.captions_histogram == {1: 550}
    assert (report.width.smallest, report.height.largest) == (32, 32)


def test_at_least_40_percent_of_test_captions_are_never_seen_in_training(shapes: Path) -> None:
    dataset = read_dataset(shapes)
    seen = {example.captions[0] for example in dataset.of_split("train")}
    for split in ("val", "test"):
        captions = [example.captions[0] for example in dataset.of_split(split)]
        assert sum(caption not in seen for caption in captions) >= 0.4 * len(captions)
        assert sum(caption not in seen for caption in set(captions)) >= 0.4 * len(set(captions))


def test_captions_are_kept_for_one_split_however_large_training_is() -> None:
    _, pairs = scenes()
    kept = {split: {scene.caption for scene in found} for split, found in pairs.items()}
    assert not kept["train"] & kept["test"]
    assert not kept["train"] & kept["val"]
    assert not kept["val"] & kept["test"]
    # Every object, and every relation, is seen in training all the same.
    assert {str(thing) for thing in THINGS} == {str(scene.first) for scene in pairs["train"]}
    assert {scene.relation for scene in pairs["train"]} == set(RELATIONS)


def test_all_relations_and_single_objects_occur(shapes: Path) -> None:
    captions = [example.captions[0] for example in read_dataset(shapes).examples]
    matches = [match for caption in captions if (match := SENTENCE.fullmatch(caption))]
    assert len(matches) == len(captions)
    counts = Counter(match[4] for match in matches)
    assert set(counts) == {None, *RELATIONS}
    assert min(counts.values()) > 40


@pytest.mark.parametrize("objects", [1, 2])
def test_as_many_objects_as_asked_for_are_told_and_drawn(tmp_path: Path, objects: int) -> None:
    out = tmp_path / "shapes"
    make_shapes(out, train=60, val=10, test=30, size=32, objects=objects)
    dataset = read_dataset(out)
    matches = [SENTENCE.fullmatch(example.captions[0]) for example in dataset.examples]
    assert all(match and bool(match[4]) == (objects == 2) for match in matches)
    kept = {scene.caption for scene in scenes()[1]["test"]}
    new = sum(example.captions[0] in kept for example in dataset.of_split("test"))
    assert new == (18 if objects == 2 else 0)  # three of five
    for index in range(30):
        scene, drawn = make_picture("test", index, objects=objects)
        told = {thing.colour for thing in (scene.first, scene.second) if thing}
        found, counts = np.unique(named_colour(np.asarray(drawn)), return_counts=True)
        seen = {list(COLOURS)[i] for i, count in zip(found, counts, strict=True) if i >= 0 and count >= 40}
        assert seen == told, (index, scene)


def test_the_command_draws_one_object_and_refuses_three(tmp_path: Path) -> None:
    def run(out: str, objects: str) -> int:
        counts = ["--train", "8", "--val", "0", "--test", "0", "--size", "32"]
        return (
            CliRunner().invoke(command, ["make-shapes", str(tmp_path / out), *counts, "--objects", objects]).exit_code
        )

    assert run("one", "1") == 0
    assert all(len(example.captions[0].split()) == 4 for example in read_dataset(tmp_path / "one").examples)
    assert run("three", "3") == 2
    assert not (tmp_path / "three").exists()


def named_colour(pixels: np.ndarray) -> np.ndarray:
    """The colour of each pixel as an index into COLOURS, -1 for the ground and for blends at an object's edge."""
    distance = np.linalg.norm(pixels[:, :, None].astype(float) - np.array(list(COLOURS.values())), axis=-1)
    return np.where(distance.min(-1) < 30, distance.argmin(-1), -1)


@pytest.mark.parametrize("relation", RELATIONS)
def test_pixels_show_what_the_caption_says(relation: str) -> None:
    """Found again by colour alone: the named object lies where the caption puts it, and only one relation holds."""
    colours = list(COLOURS)
    checked = 0
    for index in range(250):
        scene, drawn = make_picture("train", index)
        if scene.relation != relation or scene.second is None or scene.first.colour == scene.second.colour:
            continue
        found = named_colour(np.asarray(drawn))
        boxes = []
        for thing in (scene.first, scene.second):
            rows, columns = np.nonzero(found == colours.index(thing.colour))
            boxes.append((columns.min(), rows.min(), columns.max(), rows.max()))
        first, second = boxes
        between = {
            "left of": second[0] - first[2],
            "right of": first[0] - second[2],
            "above": second[1] - first[3],
            "below": first[1] - second[3],
        }
        assert between.pop(relation) > 1, (index, scene)
        assert max(between.values()) < 0, (index, scene)
        checked += 1
    assert checked > 10


def test_large_is_clearly_larger_than_small() -> None:
    widths: dict[str, list[int]] = {"small": [], "large": []}
    for index in range(200):
        scene, drawn = make_picture("train", index)
        if scene.second is None:
            columns = np.nonzero((named_colour(np.asarray(drawn)) >= 0).any(axis=0))[0]
            widths[scene.first.size].append(int(np.ptp(columns)) + 1)
    assert max(widths["small"]) + 4 < min(widths["large"])


def test_objects_named_first_come_first_in_the_order_of_colour_shape_and_size() -> None:
    _, pairs = scenes()
    for scene in (scene for kept in pairs.values() for scene in kept):
        assert scene.second is not None
        first, second = THINGS.index(scene.first), THINGS.index(scene.second)
        assert first < second or (first == second and scene.relation in ("left of", "above"))


def test_the_same_seed_gives_the_same_set_and_another_gives_another(tmp_path: Path) -> None:
    def digest(name: str, seed: int) -> str:
        make_shapes(tmp_path / name, train=6, val=2, test=2, size=32, seed=seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert len(files) == 11
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    assert digest("one", 1) == digest("two", 1) != digest("three", 2)


def test_a_picture_does_not_depend_on_how_many_are_made() -> None:
    scene, drawn = make_picture("test", 7, seed=4)
    again, redrawn = make_picture("test", 7, seed=4)
    assert scene == again
    assert drawn.tobytes() == redrawn.tobytes()


def test_nothing_is_overwritten_and_impossible_wishes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="exists and is not an empty folder"):
        make_shapes(tmp_path, train=1, val=0, test=0)
    with pytest.raises(DataError, match="pictures of 16 pixels, expected 32 or more"):
        make_shapes(tmp_path / "a", train=1, size=16)
    with pytest.raises(DataError, match="expected one or more, none negative"):
        make_shapes(tmp_path / "a", train=0, val=0, test=0)
    for objects in (0, 3):
        with pytest.raises(DataError, match=f"{objects} objects in a picture, expected 1 or 2"):
            make_shapes(tmp_path / "a", train=1, objects=objects)
    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)"):
        make_shapes(tmp_path / "mine.txt" / "a", train=1, val=0, test=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
