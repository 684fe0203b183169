"""What `write_page` puts into the files of a page; what a browser makes of them is tested in tests/browser."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_evaluation import ABOUT, Sample, Told, evaluated
from showtell import Caption
from showtell.images import ImageOptions
from showtell.pages import evaluation as page_module
from showtell.pages.evaluation import pieces, write_page
from showtell.tokenizers import join_words, split_words

OPTIONS = ImageOptions(size=32)
HOSTILE = "</script><script>hacked=1</script>\"'&\u2028\ud800 <img src=x onerror=hacked=1>"


def data_of(page):
    script = (page / "data.js").read_text(encoding="ascii")
    return json.loads(script.removeprefix("window.showtellPage = ").removesuffix(";\n"))


@pytest.fixture
def write(tmp_path):
    def run(sample, images=OPTIONS, about=ABOUT, **how):
        write_page(tmp_path / "page", evaluated(tmp_path / "pictures", sample), about, images=images, **how)
        return tmp_path / "page"

    return run


def test_every_picture_has_its_caption_references_and_scores_cider_first(write, tmp_path):
    rows = [Told(words="a red circle"), Told(words="a blue square", references=("one square",))]
    page = write(Sample(rows=rows))
    data = data_of(page)
    assert data["metrics"] == ["CIDEr", "BLEU-1", "BLEU-4", "ROUGE-L"]
    first, second = data["pictures"]
    assert "".join(first["words"]) == "a red circle"
    assert first["references"] == ["a red circle", "the circle is red"]
    assert second["references"] == ["one square"]
    assert first["scores"][1] == 100  # BLEU-1: every word is in a reference
    assert second["scores"][1] == pytest.approx(100 / 3, abs=0.01)  # one of three, and not too short
    assert first["logs"] == [-0.25, -0.5, -0.75, -1.0]
    assert (first["width"], first["height"]) == (200, 150)
    assert sorted(path.name for path in (page / "pictures").iterdir()) == ["00000.jpg", "00001.jpg"]


def test_the_head_tells_scores_command_model_and_date(write):
    page = write(Sample(rows=[Told(words="a red circle"), Told(words="a dog", references=("a dog",))]), ci=True)
    index = (page / "index.html").read_text()
    for expected in (
        "<title>tiny on shapes, test</title>",
        "showtell evaluate tiny --data shapes --page page",
        '<time datetime="2026-03-01T09:05+00:00">1 March 2026, 09:05 UTC</time>',
        "<li>2 pictures of the split test</li><li>beam 3</li>",
        "<dt>BLEU-1</dt><dd>100.0",
        "<dt>repeating captions</dt><dd>0.0 %",
    ):
        assert expected in index
    assert index.index("<dt>CIDEr</dt>") < index.index("<dt>BLEU-1</dt>")
    assert re.search(r'<small title="95 % interval">[\d.]+ to [\d.]+</small>', index)


def test_attention_lies_in_parts_of_its_own(write, monkeypatch):
    monkeypatch.setattr(page_module, "PART", 2)
    looking = Told(words="a circle", looks=("upper left", "lower right"))
    page = write(Sample(rows=[looking, Told(words="a circle"), looking]))
    assert data_of(page)["attention"] == 2
    scripts = [path.read_text() for path in sorted((page / "attention").iterdir())]
    assert [script[: script.index("[")] for script in scripts] == ["showtellAttention(0, ", "showtellAttention(1, "]
    rows, columns, _ = json.loads(scripts[0][len("showtellAttention(0, ") : -3])[0]
    assert (rows, columns) == (6, 6)
    assert json.loads(scripts[0][len("showtellAttention(0, ") : -3])[1] is None


def test_without_attention_there_is_none_in_the_page(write):
    page = write(Sample(rows=[Told(words="a circle")]))
    assert data_of(page)["attention"] == 0
    assert not (page / "attention").exists()


def test_the_part_that_the_encoder_saw_is_told_where_it_is_not_all(write):
    rows = [Told(words="a circle", size=(200, 100))]
    assert "seen" not in data_of(write(Sample(rows=rows)))["pictures"][0]
    crop = ImageOptions(size=32, fit="crop")
    assert data_of(write(Sample(rows=rows), images=crop))["pictures"][0]["seen"] == [0.25, 0, 0.5, 1]


def test_a_model_of_regions_shows_the_pictures_that_are_there_and_no_maps(write, tmp_path):
    rows = [Told(words="a circle", id="1.jpg"), Told(words="a circle", id="2.jpg"), Told(words="a dog", id="3.jpg")]
    pictures = {"1.jpg": tmp_path / "pictures" / "0000.png", "2.jpg": tmp_path / "gone.jpg"}
    page = write(Sample(rows=rows), images=None, pictures=pictures)
    data = data_of(page)
    assert ["width" in picture for picture in data["pictures"]] == [True, False, False]
    assert data["attention"] == 0
    assert "seen" not in data["pictures"][0]


def test_pictures_that_failed_are_listed_with_the_reason_and_no_path(write, tmp_path):
    failures = [
        ("a.jpg", "no such file; check the name"),
        ("b<i>.jpg", f"a link to {tmp_path}/x y/c.jpg, which is not"),
    ]
    page = write(Sample(rows=[Told(words="a circle")], failures=failures))
    index = (page / "index.html").read_text()
    assert "2 pictures could not be read" in index
    assert "<li><bdi>a.jpg</bdi>: no such file; check the name</li>" in index
    assert "<li><bdi>b&lt;i&gt;.jpg</bdi>: a link to c.jpg, which is not</li>" in index
    written = [path for path in page.rglob("*") if path.is_file()]
    assert not [path for path in written if str(tmp_path).encode() in path.read_bytes()]


def test_captions_that_repeat_themselves_or_training_are_flagged(write):
    rows = [Told(words="a dog a dog"), Told(words="a circle")]
    first, second = data_of(write(Sample(rows=rows, training=("a circle",))))["pictures"]
    assert (first.get("repeats"), second.get("repeats")) == (True, None)
    assert (first.get("verbatim"), second.get("verbatim")) == (None, True)


def test_hostile_texts_leave_neither_html_nor_script(write):
    about = dataclasses.replace(ABOUT, model=HOSTILE, data=HOSTILE, split=HOSTILE, command=HOSTILE, notes=(HOSTILE,))
    rows = [Told(words=HOSTILE, references=(HOSTILE,), id=HOSTILE)]
    page = write(Sample(rows=rows, failures=[("x.jpg", HOSTILE)]), about=about)
    index = (page / "index.html").read_text()
    assert "<img" not in index
    assert index.count("<script") == index.count("</script>") == 6  # the page's own
    assert "hacked=1&lt;/script&gt;&quot;&#x27;&amp;" in index
    picture = data_of(page)["pictures"][0]
    assert picture["references"] == [HOSTILE]
    assert "".join(picture["words"]).split() == HOSTILE.split()


def test_an_absolute_id_is_shown_by_its_last_part(write):
    assert data_of(write(Sample(rows=[Told(words="a dog", id="/home/ann/x.jpg")])))["pictures"][0]["id"] == "x.jpg"


def test_scores_that_are_no_numbers_and_no_scores_at_all_are_written(write, tmp_path):
    evaluation = evaluated(tmp_path / "pictures", Sample(rows=[Told(words="a circle")], metrics=("CIDEr",)))
    evaluation.measured.scores["CIDEr"].per_picture[0] = np.nan
    write_page(tmp_path / "page", evaluation, ABOUT, images=OPTIONS)
    assert data_of(tmp_path / "page")["pictures"][0]["scores"] == [None]
    page = write(Sample(rows=[Told(words="a circle", logs=False)], metrics=("diversity",)))
    assert data_of(page)["metrics"] == []
    assert "logs" not in data_of(page)["pictures"][0]


def test_a_page_is_written_over_an_older_one(write):
    write(Sample(rows=[Told(words="a circle")] * 3))
    page = write(Sample(rows=[Told(words="a dog")]))
    assert len(list((page / "pictures").iterdir())) == len(data_of(page)["pictures"]) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("a", "man", "'s", "hat"), ["a", " man", "'s", " hat"]),
        (("a", "dog", ",", "running", "."), ["a", " dog", ",", " running", "."]),
        (("the", "``", "red", "''", "dog"), ["the", ' "', "red", '"', " dog"]),
        ((), []),
    ],
)
def test_the_parts_of_a_caption_are_its_words_with_their_blanks(words, expected):
    assert pieces(Caption("x", join_words(words), words, -1.0, -1.0)) == expected


def test_a_caption_of_another_kind_is_shown_by_its_words_or_as_it_stands():
    assert pieces(Caption("x", "A dog!", ("a", "dog"), -1.0, -1.0)) == ["a", " dog"]
    assert pieces(Caption("x", "A dog!", (), -1.0, -1.0)) == ["A dog!"]


@given(st.text(alphabet="abc 's.,()\"1ä犬", max_size=40))
def test_the_parts_together_are_the_text(text):
    words = tuple(split_words(text))
    assert "".join(pieces(Caption("x", join_words(words), words, -1.0, -1.0))) == join_words(words)


# What a colour-blind or weak-sighted reader needs: WCAG 2.2, AA.


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.dot(
        [0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    )


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrasts_are_those_of_wcag_aa_in_light_and_dark(write):
    page = write(Sample(rows=[Told(words="a circle")]))
    light, dark = {}, {}
    for name in ("base.css", "page.css"):
        blocks = re.findall(r":root \{(.*?)\}", (page / name).read_text(), re.S)
        for colours, block in zip((light, dark), blocks, strict=True):
            colours |= re.findall(r"--(\w+): (#\w{6});", block)
    assert set(dark) == set(light)
    for colours in (light, dark):
        texts = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "card")]
        texts += [("soft", "frame"), ("accent", "tint"), ("card", "accent"), ("ink", "mark")]
        for text, ground in texts:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for part, ground in (("edge", "card"), ("edge", "paper"), ("accent", "paper"), ("accent", "idle")):
            assert contrast(colours[part], colours[ground]) >= 3, (part, ground)
