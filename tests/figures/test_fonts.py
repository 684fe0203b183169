"""Which font draws which character, and what stands for one that no font has."""

import pytest
from PIL import ImageFont

from showtell.figures import fonts
from showtell.figures.fonts import Face, face_for, fallback_files, for_matplotlib, undrawn

ENGLISH = "A dog's life: 3 dogs, “wet” … (really)!"
BOX = "\u25a1"


@pytest.fixture
def no_system_fonts(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: ())


def test_english_is_drawn_by_the_font_that_every_machine_has():
    assert face_for([ENGLISH]) == Face((None,))
    assert Face((None,)).runs(ENGLISH) == [(ENGLISH, None)]


def test_one_font_draws_a_whole_text_where_it_can():
    if not fonts._installed():
        pytest.skip("needs a system font or matplotlib's")
    face = face_for(["Un chien très étonné", "plain"])
    assert len(face.files) == 1
    assert face.files[0] is not None
    assert face.runs("très") == [("très", face.files[0])]


def test_a_box_or_a_question_mark_stands_for_what_no_font_has(no_system_fonts):
    face = face_for(["a 犬 b"])
    assert "".join(run for run, _ in face.runs("a 犬 b")) == "a ? b"
    assert undrawn(["a 犬 b", "犬 é"]) == "é犬"
    assert for_matplotlib("a 犬") == f"a {BOX}"


def test_what_is_not_seen_needs_no_font(no_system_fonts):
    assert undrawn(["a\u200db\u2066 \ufe0f\t"]) == ""
    assert for_matplotlib("a\u200db\ufe0f c") == "ab c"
    assert Face((None,)).runs("a\u200d\ufe0fb") == [("a\u200d\ufe0fb", None)]


def test_a_font_that_has_characters_is_told_from_one_that_has_not():
    assert fonts._has(None, "a")
    assert not fonts._has(None, "犬")
    assert fonts._has(None, " ")


def test_matplotlib_gets_no_further_font_for_what_its_own_has():
    pytest.importorskip("matplotlib")
    assert fallback_files("plain, très étonné, собака") == []


def test_fonts_are_looked_for_once(monkeypatch):
    fonts._installed()
    monkeypatch.setattr(ImageFont, "truetype", lambda *_: pytest.fail("searched again"))
    fonts._installed()
