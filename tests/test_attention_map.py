"""The attention sheet: a panel for the picture and one for each word, warm where the word looked."""

import numpy as np
import pytest
from PIL import Image

from showtell import Caption, ImageError, ShowtellError
from showtell.attention_map import draw_attention
from showtell.images import ImageOptions, open_picture

PANEL = 240  # pixels, long side
MARGIN, TITLE = 14, 28


def caption(words: str, attention) -> Caption:
    tokens = tuple(words.split())
    return Caption("x.jpg", words, tokens, -1.0, -0.5, attention)


def corner(words: str) -> Caption:
    """Every word looks at the upper left of four places."""
    weights = np.tile(np.array([[0.97, 0.01], [0.01, 0.01]], np.float32), (len(words.split()), 1, 1))
    return caption(words, weights)


def panel(sheet: Image.Image, column: int, row: int, size: tuple[int, int]) -> np.ndarray:
    left, top = MARGIN + column * (PANEL + MARGIN), MARGIN + TITLE + row * (size[1] + TITLE + MARGIN)
    return np.asarray(sheet.crop((left, top, left + size[0], top + size[1]))).astype(int)


def test_there_is_a_panel_for_the_picture_and_for_each_word():
    picture = Image.new("RGB", (400, 200), (90, 90, 90))
    sheet = draw_attention(picture, corner("a dog runs"), ImageOptions())
    assert sheet.size == (4 * (PANEL + MARGIN) + MARGIN, PANEL // 2 + TITLE + 2 * MARGIN)
    assert (panel(sheet, 0, 0, (PANEL, PANEL // 2)) == 90).all()


def test_a_word_is_warm_where_it_looked_and_dim_elsewhere():
    sheet = draw_attention(Image.new("RGB", (300, 300), (90, 90, 90)), corner("dog"), ImageOptions())
    seen = panel(sheet, 1, 0, (PANEL, PANEL))
    looked, elsewhere = seen[10, 10], seen[-10, -10]
    assert looked[0] > 150
    assert looked[0] > looked[2]  # warm: more red than blue
    assert (elsewhere < 60).all()


def test_weights_of_any_scale_are_drawn_alike():
    picture = Image.new("RGB", (50, 50), (90, 90, 90))
    small = corner("dog")
    large = caption("dog", small.attention * 1000)
    np.testing.assert_array_equal(
        np.asarray(draw_attention(picture, small, ImageOptions())),
        np.asarray(draw_attention(picture, large, ImageOptions())),
    )


def test_many_words_fill_rows_evenly():
    sheet = draw_attention(Image.new("RGB", (100, 100)), corner(" ".join(["word"] * 12)), ImageOptions())
    assert sheet.size == (5 * (PANEL + MARGIN) + MARGIN, 3 * (PANEL + TITLE + MARGIN) + MARGIN)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000)])
@pytest.mark.parametrize("word", ["a", "supercalifragilisticexpialidocious"])
def test_odd_pictures_and_long_words_find_room(size, word):
    sheet = draw_attention(Image.new("RGB", size, (90, 90, 90)), corner(word), ImageOptions())
    edge = np.asarray(sheet.convert("L"))
    assert edge.shape[0] > TITLE
    assert (edge[:, -2:] == 255).all()  # the word does not run out of the sheet


def test_letters_of_any_language_are_told_apart():
    from showtell.figures.fonts import undrawn

    if undrawn("éê"):
        pytest.skip("no font here has them")
    one, other = (np.asarray(draw_attention(Image.new("RGB", (99, 99)), corner(word), ImageOptions())) for word in "éê")
    assert (one != other).any()


@pytest.mark.parametrize(("fit", "shape"), [("squash", (240, 120)), ("crop", (240, 240)), ("pad", (240, 240))])
def test_panels_show_what_the_encoder_saw(fit, shape):
    sheet = draw_attention(Image.new("RGB", (400, 200)), corner("dog"), ImageOptions(fit=fit))
    assert sheet.size == (2 * (shape[0] + MARGIN) + MARGIN, shape[1] + TITLE + 2 * MARGIN)


def test_a_caption_without_attention_is_refused():
    with pytest.raises(ShowtellError, match=r"x.jpg: its caption carries no attention"):
        draw_attention(Image.new("RGB", (9, 9)), caption("dog", None), ImageOptions())


def test_a_damaged_picture_is_told(tmp_path):
    Image.new("RGB", (90, 90)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    with pytest.raises(ImageError, match="truncated or damaged"):
        draw_attention(open_picture(content[:60]), corner("dog"), ImageOptions())
