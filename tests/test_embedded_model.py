"""What the model inside the package says of Flickr8k's test split, as its card promises."""

from pathlib import Path

import pytest

import showtell
from showtell.bundle import read_manifest
from showtell.data.readers import read_dataset
from showtell.evaluation import evaluate
from showtell.model_folder import EMBEDDED

FLICKR8K = Path(__file__).parents[2] / "shared" / "data" / "flickr8k"
ARTICLES = {"a", "an", "the"}
PREPOSITIONS = {
    *("about", "above", "across", "against", "along", "among", "around", "as", "at", "behind", "below", "beneath"),
    *("beside", "between", "by", "for", "from", "in", "inside", "into", "like", "near", "of", "off", "on", "onto"),
    *("out", "outside", "over", "past", "through", "to", "toward", "towards", "under", "up", "with", "without"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FLICKR8K.is_dir(), reason=f"needs Flickr8k in {FLICKR8K}"),
]


@pytest.fixture(scope="module")
def told():
    examples = read_dataset(FLICKR8K).examples
    return evaluate(showtell.load(threads=2), examples, "test", ("BLEU-4", "CIDEr"))


def test_its_scores_are_those_of_its_card(told):
    promised = read_manifest(EMBEDDED)[0].scores
    scores = {name: 100 * score.value for name, score in told.measured.scores.items()}
    assert len(told.captions) == 1000
    # Another processor rounds otherwise, which may change a caption here and there.
    assert scores["CIDEr"] == pytest.approx(promised["test CIDEr"], abs=0.5)
    assert scores["BLEU-4"] == pytest.approx(promised["test BLEU-4"], abs=0.3)


def test_no_caption_breaks_off_or_stammers(told):
    words = [caption.tokens for _, caption in told.captions]
    assert not [of for of in words if any(a == b == c for a, b, c in zip(of, of[1:], of[2:], strict=False))]
    assert not [of for of in words if of[-1] in ARTICLES]
    assert len([of for of in words if of[-1] in PREPOSITIONS]) <= 0.005 * len(words)


def test_captions_differ_from_picture_to_picture(told):
    assert len({caption.text for _, caption in told.captions}) >= 500
