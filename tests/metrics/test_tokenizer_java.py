"""Our tokenizer against Stanford's, which pycocoevalcap carries and the COCO caption evaluation uses."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from ptb_lines import CAPTIONS, GRAMMAR, make_lines
from showtell.data.readers import read_dataset
from showtell.metrics.tokenizer import tokenize_all

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(shutil.which("java") is None, reason="needs a Java runtime"),
    pytest.mark.skipif(
        find_spec("pycocoevalcap") is None, reason="needs pycocoevalcap, which carries the Java program"
    ),
]

FLICKR8K = Path(__file__).parents[2].parent / "shared" / "data" / "flickr8k"
# Between the lines, so that none looks ahead into the next; it begins as captions do.
SEPARATOR = "X"


def java_words(lines, tmp_path):
    """What coco-caption makes of each line, as pycocoevalcap's `PTBTokenizer` does it, but for the separators."""
    from pycocoevalcap.tokenizer import ptbtokenizer

    folder = Path(ptbtokenizer.__file__).parent
    file = tmp_path / "lines.txt"
    file.write_bytes("".join(f"{line}\n{SEPARATOR}\n" for line in lines).encode())
    command = ["java", "-cp", ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    done = subprocess.run(
        [*command, "-preserveLines", "-lowerCase", str(file)], cwd=folder, capture_output=True, check=True
    )
    printed = done.stdout.decode().split("\n")
    assert printed[1::2] == [SEPARATOR.lower()] * len(lines), "Java's lines are no longer beside ours"
    removed = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in removed) for line in printed[:-1:2]]


def differences(lines, tmp_path):
    ours, theirs = tokenize_all(lines), java_words(lines, tmp_path)
    return [(line, java, own) for line, java, own in zip(lines, theirs, ours, strict=True) if java != own]


def test_every_caption_of_flickr8k_has_javas_words(tmp_path):
    if not FLICKR8K.exists():
        pytest.skip(f"needs the Flickr8k captions in {FLICKR8K}")
    captions = [text for example in read_dataset(FLICKR8K).examples for text in example.captions]
    assert len(captions) == 40_455
    assert differences(captions, tmp_path) == []


def test_raised_and_lowered_digits_have_javas_words(tmp_path):
    signs = ("", "⁺", "⁻", "₊", "₋")
    digits = [first + second for first in ("²", "¹²", "₂", "₂₃") for second in ("", "²", "₂", "³₁")]
    lines = [before + sign + run for before in ("", "dog", "4", "x ", "²") for sign in signs for run in digits]
    assert differences([*lines, "dog²⁺₂", "⁺", "x⁺ y"], tmp_path) == []


def test_the_grammar_has_forty_categories():
    assert len(GRAMMAR) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_generated_lines_have_javas_words(seed, tmp_path):
    """400,000 lines in all, half of the grammar, half mutated captions."""
    captions = CAPTIONS
    if FLICKR8K.exists() and seed % 2:
        captions = tuple(text for example in read_dataset(FLICKR8K).examples for text in example.captions)
    assert differences(make_lines(40_000, seed, captions), tmp_path)[:5] == []


def test_the_same_lines_one_file_each_have_javas_words(tmp_path):
    """The separators change nothing: a hundred lines, each alone in its file."""
    from pycocoevalcap.tokenizer import ptbtokenizer

    lines = make_lines(100, 99)
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.in").write_bytes(f"{line}\n".encode())
    pairs = "".join(f"{tmp_path}/{number}.in {tmp_path}/{number}.out\n" for number in range(len(lines)))
    (tmp_path / "pairs").write_text(pairs)
    folder = Path(ptbtokenizer.__file__).parent
    command = ["java", "-cp", ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    options = ["-preserveLines", "-lowerCase", "-ioFileList", str(tmp_path / "pairs")]
    subprocess.run([*command, *options], cwd=folder, capture_output=True, check=True)
    removed = set(ptbtokenizer.PUNCTUATIONS)
    for number, ours in enumerate(tokenize_all(lines)):
        printed = (tmp_path / f"{number}.out").read_bytes().decode().removesuffix("\n")
        theirs = " ".join(word for word in printed.rstrip().split(" ") if word not in removed)
        assert ours == theirs, lines[number]
