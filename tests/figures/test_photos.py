"""A data set's pictures as figures show them, and the reasons why there is none."""

import numpy as np
import pytest
from PIL import Image

from showtell.data.example import Example
from showtell.figures.fonts import Face
from showtell.figures.photos import Photo, load_photo, load_photos, paste_photo, short_reason
from showtell.images import open_picture, upright_size

BOX = (280, 280)


def example(path, **more) -> Example:
    return Example(id=path.name, image=path, captions=("a",), **more)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1000, 500), (280, 140)),
        ((500, 1000), (140, 280)),
        ((200, 100), (280, 140)),
        ((64, 64), (256, 256)),  # a drawing in pixels grows by a whole number
        ((3000, 2), (280, 1)),
        ((1, 1), (280, 280)),
    ],
)
def test_a_picture_fits_its_place_in_its_own_proportions(tmp_path, size, shown):
    path = tmp_path / "x.png"
    Image.new("RGB", size).save(path)
    photo = load_photo(example(path), BOX)
    assert photo.picture is not None
    assert photo.picture.size == shown
    assert photo.size == size


def test_small_pictures_keep_their_pixels_sharp(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "x.png")
    photo = load_photo(example(tmp_path / "x.png"), BOX)
    assert photo.picture is not None
    assert len(photo.picture.getcolors(100)) == 64


def test_the_cameras_rotation_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200)).save(tmp_path / "x.jpg", exif=exif)
    assert upright_size(open_picture(tmp_path / "x.jpg")) == (200, 400)
    photo = load_photo(example(tmp_path / "x.jpg"), BOX)
    assert photo.size == (200, 400)
    assert photo.picture is not None
    assert photo.picture.size == (140, 280)


def test_what_is_no_picture_is_told_in_short(tmp_path):
    contents = {
        "empty.jpg": (b"", "is empty (0 bytes)"),
        "text.jpg": (b"Dear diary\n", "no picture: found text"),
        "gone.jpg": (None, "no such file"),
    }
    for name, (content, reason) in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        photo = load_photo(example(tmp_path / name), BOX)
        assert photo.picture is None
        assert short_reason(photo) == reason
        assert str(tmp_path / name) in str(photo.error)


def test_many_come_in_order_and_bytes_are_kept_on_request(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for i, path in enumerate(paths):
        Image.new("RGB", (10 + i, 10)).save(path)
    paths[4].write_bytes(b"")
    photos = list(load_photos([example(path) for path in paths], BOX))
    assert [photo.size[0] for photo in photos] == [0 if i == 4 else 10 + i for i in range(9)]
    assert photos[0].source is None
    kept = load_photo(example(paths[0]), BOX, keep=True)
    assert kept.source is not None
    assert kept.source.content == paths[0].read_bytes()


@pytest.mark.parametrize("box", [(280, 280), (40, 30), (8, 8)])
def test_a_frame_holds_its_reason(tmp_path, box):
    photo = load_photo(example(tmp_path / "gone.jpg"), BOX)
    page = Image.new("RGB", (box[0] + 40, box[1] + 40), "white")
    paste_photo(page, photo, (20, 20), box, Face((None,)))
    pixels = np.asarray(page).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 60).nonzero()
    if box == (280, 280):
        assert len(red[0])
        assert red[0].min() >= 20
        assert red[0].max() < 20 + box[1]
        assert red[1].min() >= 20
        assert red[1].max() < 20 + box[0]
    assert (pixels[:18] == 255).all()


def test_a_picture_higher_than_its_place_is_made_smaller():
    photo = Photo(Example(id="x", image=None), Image.new("RGB", (140, 280), "black"), (500, 1000))
    page = Image.new("RGB", (280, 200), "white")
    paste_photo(page, photo, (0, 0), (280, 200), Face((None,)))
    black = (np.asarray(page).sum(2) == 0).nonzero()
    assert black[0].min() == 0
    assert black[0].max() == 199
    assert black[1].max() - black[1].min() + 1 == 100


def test_a_white_picture_has_an_edge_and_no_pixel_of_it_is_covered():
    white = Photo(Example(id="x", image=None), Image.new("RGB", (60, 40), "white"), (60, 40))
    page = Image.new("RGB", (100, 80), "white")
    paste_photo(page, white, (20, 20), (60, 40), Face((None,)))
    tinted = (np.asarray(page) != 255).any(axis=2)
    assert not tinted[20:60, 20:80].any()
    assert tinted[19, 19:81].all()
    assert tinted[19:61, 80].all()
    assert tinted.sum() == 2 * (62 + 40)
