"""Which pictures of a data set are looked at."""

import json
from pathlib import Path

import pytest
from PIL import Image

from showtell.data.example import Example
from showtell.data.pick import draw, find, of_split, read_to_look
from showtell.data.readers import read_dataset
from showtell.data.split import split_examples
from showtell.errors import DataError


def examples(count: int) -> list[Example]:
    return [Example(id=f"{i:03d}.jpg", image=Path(f"x/{i:03d}.jpg"), captions=("a",)) for i in range(count)]


def test_the_same_seed_draws_the_same_pictures_in_whatever_order_they_come():
    known = examples(50)
    drawn = draw(known, 10, 3)
    assert drawn == draw(known[::-1], 10, 3)
    assert drawn != draw(known, 10, 4)
    assert len({example.id for example in drawn}) == 10


def test_a_larger_count_adds_pictures_and_more_than_all_is_all():
    known = examples(20)
    assert draw(known, 12, 0)[:5] == draw(known, 5, 0)
    assert sorted(example.id for example in draw(known, 99, 0)) == [example.id for example in known]


def test_drawn_pictures_are_not_those_that_a_split_of_the_same_seed_takes_first():
    known = examples(400)
    assigned = split_examples(known, (0.8, 0.1, 0.1), seed=0)
    held_out = sum(assigned[example.id] != "train" for example in draw(known, 40, 0))
    assert 1 <= held_out <= 20  # 8 are expected; in the order of the split it would be 40


def test_a_picture_is_found_by_id_and_by_file_name():
    known = [
        Example(id="7", image=Path("val/COCO_7.jpg")),
        Example(id="8", image=Path("val/COCO_8.jpg")),
        Example(id="a/1.jpg", image=Path("a/1.jpg")),
        Example(id="b/1.jpg", image=Path("b/1.jpg")),
    ]
    assert find(known, "7").id == "7"
    assert find(known, "COCO_8.jpg").id == "8"
    assert find(known, "b/1.jpg").id == "b/1.jpg"
    with pytest.raises(DataError, match=r"--id 1\.jpg: 2 pictures have this file name, such as a/1\.jpg; give the id"):
        find(known, "1.jpg")
    with pytest.raises(DataError, match=r"--id B/1: no picture has this id; ids are such as b/1\.jpg"):
        find(known, "B/1")
    with pytest.raises(DataError, match=r"--id cat: no picture has this id; ids are such as 7"):
        find(known, "cat")


def coco(root: Path, images: list[dict], pictures: bool = False) -> Path:
    (root / "annotations").mkdir(parents=True)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", **image} for i, image in enumerate(images)],
        "annotations": [{"id": i, "image_id": i, "caption": f"Caption {i}"} for i in range(len(images))],
    }
    (root / "annotations" / "captions_val2014.json").write_text(json.dumps(content))
    if pictures:
        Image.new("RGB", (4, 4)).save(root / "0.jpg")
    return root


def test_coco_tells_addresses_its_own_before_flickrs(tmp_path):
    ours, theirs = "http://images.example.org/0.jpg", "http://farm.example.org/0.jpg"
    root = coco(
        tmp_path,
        [
            {"coco_url": ours, "flickr_url": theirs},
            {"coco_url": "", "flickr_url": theirs},
            {"coco_url": 7},
            {},
        ],
        pictures=True,
    )
    assert [example.url for example in read_dataset(root).examples] == [ours, theirs, None, None]


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///etc/passwd", "ftp://example.org/0.jpg", "0.jpg"])
def test_what_is_no_web_address_is_never_taken_for_one(tmp_path, url):
    root = coco(tmp_path, [{"coco_url": url}], pictures=True)
    assert read_dataset(root).examples[0].url is None


def test_captions_alone_can_be_looked_at_where_addresses_are_known(tmp_path):
    root = coco(tmp_path / "known", [{"coco_url": "http://images.example.org/0.jpg"}])
    assert len(read_to_look(root).examples) == 1
    with pytest.raises(DataError, match="none of the 1 pictures"):
        read_dataset(root)
    with pytest.raises(DataError, match=r"none of the 1 pictures .* name their folder with --images"):
        read_to_look(coco(tmp_path / "unknown", [{}]))


def test_an_empty_split_names_those_that_there_are(tmp_path):
    dataset = read_to_look(coco(tmp_path, [{}], pictures=True))
    assert len(of_split(dataset, "val")) == len(of_split(dataset, None)) == 1
    with pytest.raises(DataError, match=r"no picture in split 'test'; the data set's splits: val"):
        of_split(dataset, "test")
