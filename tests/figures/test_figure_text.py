"""Lines that fit a width, whatever the text."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from showtell.figures.fonts import Face, font
from showtell.figures.text import Paragraph, break_lines, lay_out, shorten

FACE = Face((None,))
SIZE, WIDTH = 15, 200


def width(text: str) -> float:
    return sum(font(file, SIZE).getlength(run) for run, file in FACE.runs(text))


def test_words_are_kept_whole_and_lines_are_full():
    text = "A brown dog runs over the green grass with a stick in its mouth"
    lines = break_lines(text, SIZE, WIDTH, FACE)
    assert " ".join(lines) == text
    for line, following in itertools.pairwise(lines):
        assert width(line) <= WIDTH < width(f"{line} {following.split()[0]}")


def test_punctuation_that_stands_alone_stays_with_its_word():
    for end in (" .", " !", " . . ."):
        for words in range(3, 12):
            lines = break_lines(" ".join(["grass"] * words) + end, SIZE, WIDTH, FACE)
            assert all(line.startswith("grass") for line in lines)


def test_a_word_that_is_too_long_is_broken():
    lines = break_lines("x" * 200, SIZE, WIDTH, FACE)
    assert "".join(lines) == "x" * 200
    assert len(lines) > 1


def test_ideographs_are_broken_anywhere_but_before_closing_marks():
    text = "一只棕色的狗在草地上奔跑，嘴里叼着一个红色的飞盘。旁边还有两个孩子在看，很高兴。"
    for size in range(100, 220, 7):
        lines = break_lines(text, SIZE, size, FACE)
        assert "".join(lines) == text
        assert not any(line[0] in "，。" for line in lines)


@given(st.text(max_size=300), st.integers(30, 400))
def test_no_text_is_lost_and_no_line_is_too_wide(text, most):
    lines = break_lines(text, SIZE, most, FACE)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width(line) <= most or len(line) <= 2 for line in lines)


def test_a_limit_of_lines_ends_with_an_ellipsis():
    long = Paragraph(text="grass " * 100, size=SIZE, most_lines=3)
    column = lay_out([long], WIDTH, FACE)
    assert len(column.lines) == 3
    assert column.lines[-1].text.endswith("…")
    assert width(column.lines[-1].text) <= WIDTH
    whole = lay_out([Paragraph(text="grass", size=SIZE, most_lines=3)], WIDTH, FACE)
    assert [line.text for line in whole.lines] == ["grass"]


def test_a_text_of_any_length_is_laid_out_at_once():
    column = lay_out([Paragraph(text="x" * 1_000_000, size=SIZE)], WIDTH, FACE)
    assert len(column.lines) < 200
    assert column.lines[-1].text.endswith("…")


def test_control_characters_and_line_breaks_do_not_reach_the_picture():
    column = lay_out([Paragraph(text="red\n\x1b[31m", size=SIZE)], WIDTH, FACE)
    assert [line.text for line in column.lines] == ["red \\x1b[31m"]


def test_a_name_keeps_beginning_and_end():
    name = "a_very_long_file_name_that_does_not_fit_into_its_place_0001.jpg"
    short = shorten(name, SIZE, WIDTH, FACE)
    assert width(short) <= WIDTH
    head, tail = short.split("…")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert len(head) > 5
    assert len(tail) > 5
    assert shorten("1.jpg", SIZE, WIDTH, FACE) == "1.jpg"


def test_paragraphs_stand_below_each_other_within_their_column():
    texts = ["Grass", "jumping quickly " * 20, "yes"]
    column = lay_out([Paragraph(text=text, size=SIZE, before=7) for text in texts], WIDTH, FACE)
    tops = [line.top for line in column.lines]
    assert tops == sorted(set(tops))
    page = Image.new("L", (WIDTH + 40, column.height + 40), 255)
    column.draw(ImageDraw.Draw(page), 20, 20)
    dark = page.point(lambda value: 255 * (value < 128)).getbbox()
    assert dark is not None
    left, top, right, bottom = dark
    assert left >= 18
    assert top >= 20
    assert right <= 20 + WIDTH + 2
    assert bottom <= 20 + column.height
