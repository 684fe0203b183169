"""Small pictures and maps of a page."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from showtell import ImageError
from showtell.images import ImageOptions, seen
from showtell.pages.pictures import LONG_SIDE, packed, seen_box, write_small

OPTIONS = ImageOptions(size=32)


def written(tmp_path, picture, name="x.jpg", images=OPTIONS, **how):
    picture.save(tmp_path / name, **how)
    return next(write_small([(tmp_path / name, tmp_path / "small.jpg")], images, threads=1))


def test_a_large_picture_becomes_small_and_keeps_its_proportions(tmp_path):
    small = written(tmp_path, Image.new("RGB", (3000, 1500), "red"))
    with Image.open(tmp_path / "small.jpg") as picture:
        assert picture.format == "JPEG"
        assert picture.size == (small.width, small.height) == (LONG_SIDE, LONG_SIDE // 2)


def test_a_small_picture_is_not_blown_up(tmp_path):
    small = written(tmp_path, Image.new("RGB", (64, 48)), "x.png")
    assert (small.width, small.height) == (64, 48)


def test_what_a_camera_noted_is_applied_and_not_passed_on(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    exif[0x010F] = "Camera of Ann"
    small = written(tmp_path, Image.new("RGB", (200, 100)), exif=exif, comment=b"at home with Ann")
    assert (small.width, small.height) == (100, 200)
    assert b"Ann" in (tmp_path / "x.jpg").read_bytes()
    assert b"Ann" not in (tmp_path / "small.jpg").read_bytes()


def test_pictures_keep_their_order_and_what_cannot_be_read_is_told(tmp_path):
    Image.new("RGB", (10, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "c.png")
    (tmp_path / "b.png").write_text("no picture")
    jobs = [(tmp_path / f"{name}.png", tmp_path / f"{name}.jpg") for name in "abc"]
    first, second, third = write_small(jobs, OPTIONS, threads=2)
    assert (first.width, third.width) == (10, 30)
    assert isinstance(second, ImageError)
    assert not (tmp_path / "b.jpg").exists()


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    fit=st.sampled_from(["squash", "crop", "pad"]),
    fraction=st.floats(0.3, 1),
)
def test_the_box_is_where_the_encoder_looks(width, height, fit, fraction):
    options = ImageOptions(size=32, fit=fit, crop_fraction=fraction)
    left, top, wide, high = seen_box(width, height, options)
    shown = seen(Image.new("RGB", (width, height)), options)
    assert wide * width == pytest.approx(shown.width, abs=1)
    assert high * height == pytest.approx(shown.height, abs=1)
    assert left + wide / 2 == pytest.approx(0.5)  # in the middle
    assert top + high / 2 == pytest.approx(0.5)


def test_each_word_is_scaled_by_its_own_highest_place():
    attention = np.array([[[0.2, 0.1], [0.0, 0.05]], [[1e-6, 0], [0, 0]], [[0, 0], [0, 0]]], np.float32)
    rows, columns, text = packed(attention)
    assert (rows, columns) == (2, 2)
    assert list(base64.b64decode(text)) == [255, 128, 0, 64, 255, 0, 0, 0, 0, 0, 0, 0]


def test_values_that_are_no_numbers_show_nothing():
    attention = np.array([[[np.nan, 1.0], [-1.0, 0.5]]], np.float32)
    assert list(base64.b64decode(packed(attention)[2])) == [0, 255, 0, 128]


@pytest.mark.parametrize("shape", [None, (3, 1, 1), (3, 10)])
def test_without_a_grid_there_is_no_map(shape):
    assert packed(None if shape is None else np.ones(shape, np.float32)) is None


def test_a_caption_without_words_has_a_map_of_no_word():
    assert packed(np.zeros((0, 2, 2), np.float32)) == (2, 2, "")
