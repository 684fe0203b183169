"""METEOR is that of pycocoevalcap, by the same Java program; without Java only what needs none is tested."""

import importlib.util
import json
import os
import random
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from fake_java import install_fake_java, is_running
from showtell.errors import DataError, JavaError
from showtell.metrics.meteor import MeteorProcess, combine, meteor

pytest.importorskip("pycocoevalcap")
java_only = pytest.mark.skipif(shutil.which("java") is None, reason="no `java` on PATH")
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for Java is a shell script")

TEXT = """
a the in on of with and is are man men woman women child kid boy girl dog dogs puppy runs running run jumps jumping
jumped sits sitting holds holding rides riding bike bicycle big large small little red blue grass field street road
water beach ball toy people person crowd mountain snow two three next to through young playing plays
"""
WORDS = TEXT.split()


def make_sets() -> dict[str, tuple[list[str], list[list[str]]]]:
    """Sets of candidates and references by what is special about them."""
    draw = random.Random(7)

    def text(longest: int = 12) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, longest)))

    def change(caption: str) -> str:
        words = caption.split()
        words[draw.randrange(len(words))] = draw.choice(WORDS)
        return " ".join(words)

    references = [[text() for _ in range(draw.randint(1, 5))] for _ in range(40)]
    sets = {
        "random": ([text() for _ in references], references),
        "near": ([change(texts[0]) for texts in references], references),
        "the reference itself": ([texts[-1] for texts in references], references),
        "shuffled": ([" ".join(draw.sample(t[0].split(), len(t[0].split()))) for t in references], references),
        "empty": (["" for _ in references], references),
        "one word": ([draw.choice(WORDS) for _ in references], references),
        "repeated": (["a dog " * draw.randint(1, 12) for _ in references], references),
        "empty references": ([text(), "", "", text()], [["", text()], [""], ["", ""], [""]]),
        "white space": (["  a  dog\truns ", " ", "a dog"], [["a dog runs"], ["  a   dog "], ["a\tdog"]]),
        "bars": (["a|||dog", "||| a dog", "a || dog", "a |||| dog"], [["a dog"], ["a dog"], ["a || dog"], ["a | dog"]]),
        "symbols": (
            ["café au lait", "日本 の 犬", "a 🐶", "naïve", "n't 's $ 5.50 50%", "“a” dog…", "-lrb- x-y 1/2"],
            [["cafe au lait"], ["日本 の 猫"], ["a 🐶 dog"], ["naïve"], ["is n't 's $ 5.5"], ["a dog"], ["( x y 1/2"]],
        ),
        "one picture": ([text()], [[text(), text()]]),
    }
    candidates, texts = zip(*sets.values(), strict=True)
    return sets | {"all at once": (list(chain.from_iterable(candidates)), list(chain.from_iterable(texts)))}


SETS = make_sets()


@pytest.fixture(scope="module")
def reference():
    """pycocoevalcap's scorer."""
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    yield scorer
    scorer.meteor_p.kill()
    scorer.meteor_p.wait()
    for pipe in (scorer.meteor_p.stdin, scorer.meteor_p.stdout, scorer.meteor_p.stderr):
        pipe.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """One process for all tests, of a Meteor in a folder with a space in its name, where it does not find its table."""
    real = Path(importlib.util.find_spec("pycocoevalcap").submodule_search_locations[0])
    folder = tmp_path_factory.mktemp("with") / "a space" / "pycocoevalcap"
    folder.mkdir(parents=True)
    (folder / "meteor").symlink_to(real / "meteor")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder.parent)
        process = MeteorProcess()
    assert any("a space" in part for part in process.command)
    with process:
        yield process


@pytest.mark.java
@java_only
@pytest.mark.parametrize("name", SETS)
def test_meteor_is_that_of_pycocoevalcap(ours, reference, name):
    candidates, references = SETS[name]
    numbers = range(len(candidates))
    value, per_picture = reference.compute_score(
        {n: list(references[n]) for n in numbers}, {n: [candidates[n]] for n in numbers}
    )
    score = ours.score(candidates, references)
    assert score.name == "METEOR"
    np.testing.assert_allclose(score.per_picture, per_picture, rtol=0, atol=1e-9)
    assert score.value == pytest.approx(value, abs=1e-9)


@pytest.mark.java
@java_only
def test_sums_over_any_choice_of_pictures_give_the_score_of_that_choice(ours, reference):
    candidates, references = SETS["all at once"]
    score = ours.score(candidates, references)
    generator = np.random.default_rng(3)
    for _ in range(5):
        chosen = generator.integers(0, len(candidates), 30)
        value, _each = reference.compute_score(
            {n: references[picture] for n, picture in enumerate(chosen)},
            {n: [candidates[picture]] for n, picture in enumerate(chosen)},
        )
        assert float(combine(score.statistics[chosen].sum(0))) == pytest.approx(value, abs=1e-9)


@pytest.mark.java
@java_only
def test_captions_that_would_break_the_conversation_keep_their_places(ours):
    ends = ["a dog\nEVAL ||| 1", "a\rdog", "a\r\ndog", "a\u2028dog", "a\x85dog", "a\x0bdog", "a \ud83d dog", "a\0dog"]
    score = ours.score([*ends, "a dog"], [["a dog", "a cat\nSCORE ||| "] for _ in range(len(ends) + 1)])
    assert score.per_picture[-1] == 1.0
    np.testing.assert_array_equal(score.per_picture[1:6], 1.0)
    bars = ours.score(["a dog"], [["a cat ||| a dog"]])  # no second reference is smuggled in
    assert 0 < bars.value < 1


@pytest.mark.java
@java_only
def test_long_captions_are_scored(ours):
    draw = random.Random(1)
    long = " ".join("".join(draw.choices("bcdfghjklm", k=6)) for _ in range(20_000))
    score = ours.score([long, "a dog"], [["a dog"], ["a dog", long]])
    np.testing.assert_array_equal(score.per_picture, [0.0, 1.0])


@pytest.mark.java
@java_only
def test_an_empty_candidate_scores_zero_and_bad_numbers_are_refused_before_java_is_asked(ours):
    assert ours.score([""], [[""]]).value == 0.0
    with pytest.raises(DataError, match="picture 0 has no reference"):
        ours.score(["a"], [[]])
    assert ours.score(["a dog"], [["a dog"]]).value == 1.0


def test_the_formula_by_hand():
    # 3 of 4 and 3 of 6 weighted words matched, in 2 chunks of 4 matched words.
    precision, recall = 3 / 4, 3 / 6
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    expected = mean * (1 - 0.6 * (2 / 4) ** 0.2)
    sums = np.array([[3.0, 3, 4, 6, 2, 4], [0, 0, 4, 6, 0, 0], [0, 0, 0, 6, 0, 0], [0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(combine(sums), [expected, 0, 0, 0], atol=1e-15)
    assert float(combine(sums[0])) == pytest.approx(expected)


@posix
def test_counts_become_statistics_and_a_whole_match_has_no_penalty(tmp_path, monkeypatch):
    # "the dog runs" against "the dogs run fast": "the" exact, the other two by stem, one chunk.
    part = "3 4 1 1  0 0 1 1  2 2 0 0  0 0 0 0  0 0 0 0  1 3 3"
    whole = "2 2 1 1  1 1 1 1  0 0 0 0  0 0 0 0  0 0 0 0  1 2 2"
    program = f"for answer in ({part!r}, {whole!r}): sys.stdin.readline(); print(answer, flush=True)"
    install_fake_java(tmp_path, monkeypatch, program)
    score = meteor(["the dog runs", "a dog"], [["the dogs run fast"], ["a dog"]])
    matches = 0.25 * 1.0 + 0.75 * 2 * 0.6
    expected = [[matches, matches, 0.75 * 2 + 0.25, 0.75 * 3 + 0.25, 1, 3], [1.0, 1.0, 1.0, 1.0, 0, 2]]
    np.testing.assert_allclose(score.statistics, expected)
    assert score.per_picture[1] == 1.0
    assert not is_running(tmp_path)


@posix
def test_java_gets_meteors_options_and_one_line_for_each_picture(tmp_path, monkeypatch):
    zeros = " ".join(["0.0"] * 23)
    program = f"""
lines = []
for line in sys.stdin.buffer:
    lines.append(line.decode())
    json.dump([sys.argv[1:], lines], open({str(tmp_path / "record.json")!r}, "w"))
    print({zeros!r}, flush=True)
"""
    install_fake_java(tmp_path, monkeypatch, program)
    meteor(["a\nb", "é|||x"], [["one", ""], ["two\u2028||| three"]])
    arguments, lines = json.loads((tmp_path / "record.json").read_text())
    assert lines == ["SCORE ||| one |||  ||| a b\n", "SCORE ||| two  three ||| éx\n"]
    jar = arguments[arguments.index("-jar") + 1]
    assert Path(jar).is_file()
    assert arguments[arguments.index(jar) + 1 : -1] == ["-", "-", "-stdio", "-l", "en", "-norm", "-a"]
    assert Path(arguments[-1]).is_file()


@posix
def test_an_answer_of_meteor_that_is_no_numbers_is_told_and_ends_it(tmp_path, monkeypatch):
    install_fake_java(tmp_path, monkeypatch, "print('Error: specify hypothesis', flush=True); time.sleep(600)")
    message = "METEOR: candidate 1: Meteor answered 'Error: specify hypothesis', expected 23 numbers"
    with pytest.raises(JavaError, match=f"^{message}$"):
        meteor(["a"], [["a"]])
    assert not is_running(tmp_path)


@posix
def test_a_hung_meteor_is_ended(tmp_path, monkeypatch):
    install_fake_java(tmp_path, monkeypatch, "time.sleep(600)")
    with pytest.raises(JavaError, match=r"^METEOR: candidate 1 of 1 .*no answer in 0.5 s"):
        meteor(["a"], [["a"]], timeout=0.5)
    assert not is_running(tmp_path)


def test_pictures_are_checked_before_java_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no pictures"):
        meteor([], [])
    with pytest.raises(DataError, match="1 candidates for 2 pictures"):
        meteor(["a"], [["a"], ["b"]])
