"""SPICE's program is called as it wants to be; a Python program stands in for Java, as the models cannot be here."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from fake_java import install_fake_java, is_running
from showtell.errors import DataError, JavaError, MissingExtraError
from showtell.metrics.spice import MODELS, spice

pytest.importorskip("pycocoevalcap")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for Java is a shell script")

CANDIDATES = ["a dog", 'two "cats"\nrun', "é 🐶"]
REFERENCES = [["a dog runs", "dog"], ["cats"], ["x", "y", "z"]]

# Answers in another order than asked, with the subsets that SPICE adds; the score is the number of references over 10.
ANSWER = """
arguments = sys.argv[1:]
asked = json.load(open(arguments[arguments.index("edu.anu.spice.SpiceScorer") + 1]))
json.dump({"arguments": arguments, "asked": asked, "folder": os.getcwd()}, open(RECORD, "w"))
part = lambda f: {"pr": f, "re": f, "f": f, "fn": 0.0, "numImages": 1}
answers = [
    {"image_id": a["image_id"], "scores": {"Color": part(None), "All": part(len(a["refs"]) / 10)}} for a in asked
]
json.dump(answers[::-1], open(arguments[arguments.index("-out") + 1], "w"))
"""


@pytest.fixture
def models(tmp_path):
    """A folder that looks like that of the models, with a space in its name."""
    folder = tmp_path / "my models"
    folder.mkdir()
    for name in MODELS:
        (folder / name).touch()
    return folder


@pytest.fixture
def java(tmp_path, monkeypatch):
    def install(program):
        install_fake_java(tmp_path / "bin", monkeypatch, f"RECORD = {str(tmp_path / 'record.json')!r}\n" + program)

    return install


def test_spice_is_asked_and_answers_picture_by_picture(java, models, tmp_path):
    java(ANSWER)
    score = spice(CANDIDATES, REFERENCES, models)
    assert score.name == "SPICE"
    np.testing.assert_allclose(score.per_picture, [0.2, 0.1, 0.3])
    assert score.value == pytest.approx(0.2)
    assert float(score.combine(score.statistics.sum(0))) == score.value
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["asked"] == [
        {"image_id": number, "test": candidate, "refs": texts}
        for number, (candidate, texts) in enumerate(zip(CANDIDATES, REFERENCES, strict=True))
    ]
    arguments = record["arguments"]
    assert arguments[0] == "-Xmx8G"
    assert {"-subset", "-silent"} < set(arguments)
    class_path = arguments[arguments.index("-cp") + 1].split(os.pathsep)
    assert class_path[0].endswith("spice-1.0.jar")
    assert class_path[1:] == [str(models / name) for name in MODELS]
    assert not Path(record["folder"]).exists()  # nothing is left behind
    assert sorted(path.name for path in models.iterdir()) == sorted(MODELS)


def test_a_picture_without_a_number_makes_the_set_nan_as_coco_caption_has_it(java, models):
    java(ANSWER.replace('part(len(a["refs"]) / 10)', 'part(None if a["image_id"] == 1 else 0.5)'))
    score = spice(CANDIDATES, REFERENCES, models)
    np.testing.assert_array_equal(score.per_picture, [0.5, math.nan, 0.5])
    assert math.isnan(score.value)


def test_missing_models_are_one_line_that_says_where_they_are(java, models):
    java(ANSWER)
    (models / MODELS[1]).unlink()
    with pytest.raises(DataError) as caught:
        spice(CANDIDATES, REFERENCES, models)
    assert str(caught.value) == (
        f"{models}: {MODELS[1]} missing, which SPICE needs; expected {MODELS[0]} and {MODELS[1]} from "
        "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
    )
    with pytest.raises(DataError, match=r"^SPICE needs a folder with its models, which is not given; expected "):
        spice(CANDIDATES, REFERENCES, None)


def test_missing_java_is_told_before_the_models_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="SPICE needs a Java runtime"):
        spice(CANDIDATES, REFERENCES, tmp_path)


def test_a_class_path_that_java_would_part_is_refused(java, tmp_path):
    java(ANSWER)
    folder = tmp_path / f"a{os.pathsep}b"
    folder.mkdir()
    for name in MODELS:
        (folder / name).touch()
    with pytest.raises(DataError, match="Java cannot read a folder with ':' in its name"):
        spice(CANDIDATES, REFERENCES, folder)


def test_a_run_that_takes_too_long_is_ended(java, models, tmp_path):
    java("print('started', flush=True); time.sleep(600)")
    with pytest.raises(JavaError, match=r"^SPICE: Java was not done in 1 s and was ended; allow more time$"):
        spice(CANDIDATES, REFERENCES, models, timeout=1.0)
    assert not is_running(tmp_path / "bin")


def test_a_failing_run_is_quoted(java, models):
    java("sys.stderr.write('Caused by: no parser\\n\\tat Spice.main\\n'); sys.exit(3)")
    with pytest.raises(JavaError, match=r"^SPICE: Java ended with exit code 3: Caused by: no parser$"):
        spice(CANDIDATES, REFERENCES, models)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", r"no readable scores \(FileNotFoundError"),
        ("print('{', file=open('scores.json', 'w'))", r"no readable scores \(JSONDecodeError"),
        ("print('[{}]', file=open('scores.json', 'w'))", r"no readable scores \(KeyError"),
        ("print('[]', file=open('scores.json', 'w'))", "left 0 scores, expected one for each of 3 pictures"),
    ],
)
def test_answers_that_make_no_sense_are_told(java, models, answer, message):
    java(answer)
    with pytest.raises(JavaError, match=message) as caught:
        spice(CANDIDATES, REFERENCES, models)
    assert "\n" not in str(caught.value)


def test_pictures_are_checked_before_java_is_looked_for():
    with pytest.raises(DataError, match="picture 1 has no reference"):
        spice(["a", "b"], [["a"], []], None)
    with pytest.raises(DataError, match="1 candidates for 2 pictures"):
        spice(["a"], [["a"], ["b"]], None)
