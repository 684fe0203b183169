"""The contact sheet and the figure of one picture: what stands where, and that nothing runs out of its place."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from showtell import Caption
from showtell.data.example import Example
from showtell.errors import ImageError
from showtell.figures import picture as one
from showtell.figures import sheet
from showtell.figures.photos import Photo
from showtell.figures.picture import Told, draw_picture
from showtell.figures.sheet import draw_sheet
from showtell.figures.style import picture_bytes
from showtell.images import ImageOptions
from showtell.names import Named

LONG = "A brown dog runs over the grass with a stick in its mouth while two children look on and laugh . "


def photo(tmp_path, captions=("A dog .",), size=(280, 210), name="x.png") -> Photo:
    picture = Image.new("RGB", size, (90, 90, 90))
    content = picture_bytes(picture)
    example = Example(id=name, image=tmp_path / name, captions=tuple(captions), split="val")
    return Photo(example, picture, size, source=Named(name, content))


def ink(figure: Image.Image) -> np.ndarray:
    """Where text is: darker than frames and lines, and not the grey of the pictures here."""
    grey = np.asarray(figure.convert("L")).astype(int)
    return (grey < 200) & (grey != 90)


def margins_are_empty(figure: Image.Image, margin: int = 30) -> bool:
    dark = ink(figure)
    return not (dark[:margin].any() or dark[-margin:].any() or dark[:, :margin].any() or dark[:, -margin:].any())


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (6, 3, 2), (12, 4, 3), (24, 6, 4), (100, 8, 13)]
)
def test_pictures_stand_in_rows_of_nearly_equal_length(tmp_path, count, columns, rows):
    assert sheet._columns(count) == columns
    figure = draw_sheet("shapes", "some", [photo(tmp_path)] * count)
    assert figure.width == 72 + columns * 280 + (columns - 1) * 28
    grey = (np.asarray(figure)[..., 0] == 90).sum(axis=1) > 200  # rows of pixels with a picture
    assert (np.diff(grey.astype(int)) == 1).sum() == rows


def test_captions_stand_below_their_picture_and_nothing_runs_out(tmp_path):
    words = ["Donaudampfschifffahrt" * 9, LONG * 4, "x", "", "y" * 900]
    photos = [photo(tmp_path, words), photo(tmp_path, [LONG] * 9)]
    assert margins_are_empty(draw_sheet("a name " * 60, "24 of 1,000 pictures", photos))
    below_the_title = ink(draw_sheet("name", "24 of 1,000 pictures", photos))[120:]
    assert not below_the_title[:, 36 + 280 + 3 : 36 + 280 + 28 - 3].any()  # the gap between the columns


def test_more_captions_make_a_sheet_higher_up_to_five(tmp_path):
    heights = [draw_sheet("d", "n", [photo(tmp_path, ["A dog ."] * count)]).height for count in (1, 5, 6, 60)]
    assert heights[0] < heights[1] < heights[2] == heights[3]


@pytest.mark.parametrize(
    ("size", "height"), [((280, 210), 210), ((280, 280), 280), ((140, 280), 280), ((280, 50), 170)]
)
def test_places_have_the_pictures_usual_proportions(tmp_path, size, height):
    assert sheet._height([photo(tmp_path, size=size)] * 3) == height
    assert sheet._height([Photo(Example(id="x", image=tmp_path), error=ImageError("x: gone"))]) == 210


def test_a_sheet_is_the_same_to_the_byte_and_carries_no_metadata(tmp_path):
    first, second = (picture_bytes(draw_sheet("d", "n", [photo(tmp_path)] * 3)) for _ in range(2))
    assert first == second
    assert b"tEXt" not in first
    assert b"tIME" not in first


def caption(words: str, attention=True) -> Caption:
    tokens = tuple(words.split())
    maps = np.full((len(tokens), 2, 2), 0.25, np.float32) if attention else None
    return Caption("x.png", words, tokens, -2.5, -0.5, maps)


def told(words: str, attention=True) -> Told:
    return Told("tiny", caption(words, attention), ImageOptions())


def test_the_likelihood_is_that_of_the_sentence_and_of_a_word():
    assert told("a red dog runs on").likelihood == "log-probability -2.50, -0.50 a word"
    assert Told("tiny", dataclasses.replace(caption(""), tokens=()), ImageOptions()).likelihood.endswith("-2.50 a word")
    sure = dataclasses.replace(caption("a dog"), log_probability=-0.004)
    assert Told("tiny", sure, ImageOptions()).likelihood == "log-probability 0.00, 0.00 a word"


def test_a_panel_for_each_word_stands_below_the_picture(tmp_path):
    alone = draw_picture(photo(tmp_path))
    plain = draw_picture(photo(tmp_path), told("a red dog", attention=False))
    looked = draw_picture(photo(tmp_path), told("a red dog"))
    assert alone.height < plain.height < looked.height
    below = np.asarray(looked)[plain.height - 20 :]
    panels = (below[..., 0] != 255).sum(axis=0) > 100
    assert (np.diff(panels.astype(int)) == 1).sum() == 4  # the picture and three words


def test_a_long_caption_widens_the_figure_to_its_panels(tmp_path):
    figure = draw_picture(photo(tmp_path), told("a red dog runs on the green grass of the park again"))
    assert figure.width > one._WIDTH
    assert margins_are_empty(figure)


@pytest.mark.parametrize("size", [(640, 480), (640, 2), (2, 480), (280, 210)])
@pytest.mark.parametrize("captions", [[], ["A dog ."], [LONG * 4] * 45, ["z" * 3000]])
def test_nothing_runs_out_of_the_figure_of_one_picture(tmp_path, size, captions):
    figure = draw_picture(photo(tmp_path, captions, size, name="n" * 200 + ".png"), told("a " + "word" * 99, False))
    assert margins_are_empty(figure)


def test_a_damaged_picture_is_a_frame_beside_its_captions(tmp_path):
    whole = photo(tmp_path)
    broken = Photo(
        whole.example, error=ImageError(f"{whole.example.image}: is empty (0 bytes), expected JPEG; copy it")
    )
    figure = draw_picture(broken)
    assert margins_are_empty(figure)
    red = np.asarray(figure).astype(int)
    assert ((red[..., 0] - red[..., 1]) > 60).any()
