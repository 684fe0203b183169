import math

import pytest
from PIL import Image

from showtell.data.example import Example
from showtell.errors import DataError, RecipeError
from showtell.evaluation import evaluate

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


@pytest.fixture
def picture(tmp_path):
    def make(colour, *captions, split="test"):
        path = tmp_path / f"{split}-{colour}.png"
        Image.new("RGB", (40, 40), COLOURS[colour]).save(path)
        return Example(id=path.stem, image=path, captions=captions, split=split)

    return make


def test_right_captions_have_the_scores_worked_out_by_hand(captioner, picture):
    examples = [picture("red", "A red picture."), picture("blue", "a BLUE picture!")]
    result = evaluate(captioner, examples, "test")
    assert [caption.text for _, caption in result.captions] == ["a red picture", "a blue picture"]
    assert [example.id for example, _ in result.captions] == ["test-red", "test-blue"]
    # Only "red" and "blue" tell the two apart: cosine 1 for runs of 1, 2 and 3 words, no run of 4 words: 3/4 of 10.
    assert result.scores["CIDEr"] == pytest.approx(750)
    assert result.scores["BLEU-1"] == pytest.approx(100)
    assert result.scores["BLEU-3"] == pytest.approx(100)
    assert result.scores["repeating captions, %"] == 0
    assert result.scores["words per caption"] == 3


def test_a_wrong_caption_costs_its_share(captioner, picture):
    examples = [picture("red", "a red picture"), picture("blue", "a blue picture"), picture("green", "a red picture")]
    result = evaluate(captioner, examples, "test")
    assert [caption.text for _, caption in result.captions][2] == "a green picture"
    # 8 of 9 words and 4 of 6 pairs are in the references.
    assert result.scores["BLEU-1"] == pytest.approx(100 * 8 / 9)
    assert result.scores["BLEU-2"] == pytest.approx(100 * math.sqrt(8 / 9 * 4 / 6))


def test_only_pictures_of_the_split_that_have_captions_count(captioner, picture):
    examples = [
        picture("red", "a red picture"),
        picture("green"),
        picture("blue", "nonsense", split="train"),
        picture("red", "nonsense", split="val"),
    ]
    assert [e.id for e, _ in evaluate(captioner, examples, "test").captions] == ["test-red"]


def test_a_picture_that_cannot_be_read_is_left_out_and_named(captioner, picture, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = Example(id="broken", image=tmp_path / "broken.png", captions=("x",), split="test")
    missing = Example(id="missing", image=tmp_path / "missing.png", captions=("x",), split="test")
    examples = [picture("red", "a red picture"), broken, picture("blue", "a blue picture"), missing]
    result = evaluate(captioner, examples, "test")
    assert [e.id for e, _ in result.captions] == ["test-red", "test-blue"]
    assert result.scores["BLEU-1"] == pytest.approx(100)
    assert [failure.source for failure in result.failures] == [str(broken.image), str(missing.image)]
    with pytest.raises(DataError, match=r"none of the 2 pictures of split 'test' can be read; .*broken\.png"):
        evaluate(captioner, [broken, missing], "test")


def test_an_empty_split_is_told_with_those_there_are(captioner, picture):
    examples = [picture("red", "x", split="train"), picture("red", "x", split="val"), picture("blue", split="test")]
    with pytest.raises(DataError, match=r"no picture with captions in split 'test'; .* splits: test, train, val$"):
        evaluate(captioner, examples, "test")
    with pytest.raises(DataError, match=r"no picture with captions in split 'train'"):
        evaluate(captioner, [], "train")


def test_options_reach_the_decoding_and_unknown_ones_are_refused(captioner, picture):
    examples = [picture("red", "a red picture")]
    short = evaluate(captioner, examples, "test", max_words=2)
    assert [caption.tokens for _, caption in short.captions] == [("a", "red")]
    with pytest.raises(RecipeError, match="unknown option 'beem_width'"):
        evaluate(captioner, examples, "test", beem_width=4)
