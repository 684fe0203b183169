"""`showtell score`, run as a user runs it."""

import contextlib
import csv
import io
import json
import os
import sys
from dataclasses import dataclass

import pytest
from PIL import Image

from showtell.cli import main
from showtell.errors import JavaError, ShowtellError
from showtell.metrics.documents import read_documents
from showtell.metrics.score import mean_score

REFERENCES = {
    1: ["a dog runs in the park", "the dog is running"],
    2: ["a cat sleeps on a bed", "one cat on the bed"],
    3: ["two men play football", "men playing a game"],
    4: ["a red ball on the grass", "the ball is red"],
}
GOOD = {1: "A dog runs in the park.", 2: "a cat on a bed", 3: "two men play a game", 4: "a red ball"}
BAD = {1: "a cat", 2: "a dog on a bed", 3: "two men play a game", 4: "ball ball"}


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def showtell(tmp_path, monkeypatch):
    """Runs a command line in a folder that holds r.json, good.json, bad.json."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(coco(REFERENCES))
    (tmp_path / "good.json").write_text(results(GOOD))
    (tmp_path / "bad.json").write_text(results(BAD))

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["showtell", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        assert "Traceback" not in err.getvalue() + out.getvalue()
        assert "unexpected" not in err.getvalue()
        return Result(ended.value.code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def score(showtell):
    return lambda *arguments: showtell("score", *arguments)


def coco(references):
    texts = [(i, text) for i, captions in references.items() for text in captions]
    annotations = [{"id": n, "image_id": i, "caption": text} for n, (i, text) in enumerate(texts)]
    return json.dumps({"images": [{"id": i, "file_name": f"{i}.jpg"} for i in references], "annotations": annotations})


def results(candidates):
    return json.dumps([{"image_id": i, "caption": text} for i, text in candidates.items()])


def rows(path):
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    return [json.loads(line) for line in path.read_text().splitlines()]


def _one_line(result, *expected, code=1):
    assert result.code == code
    assert result.out == ""
    lines = result.err.splitlines()
    if code == 2:
        lines = [line for line in lines if not line.startswith(("Usage:", "Try ")) and line]
    assert len(lines) == 1, result.err
    for text in expected:
        assert text in lines[0]


def published(candidates, references):
    """The COCO evaluation's own figures, by our names, of texts that are tokens already."""
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    ours = {i: [text.lower().replace(".", "").strip()] for i, text in candidates.items()}
    of_set, of_pictures = bleu.compute_score(references, ours, verbose=0)
    found = {f"BLEU-{n}": pair for n, pair in enumerate(zip(of_set, of_pictures, strict=True), 1)}
    return found | {"ROUGE-L": rouge.compute_score(references, ours), "CIDEr": cider.compute_score(references, ours)}


# The scores


def test_the_table_has_the_published_digits_in_the_order_of_papers(score):
    result = score("good.json", "r.json")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "r.json: 4 of 4 pictures scored, 8 reference captions"
    told = {words[0]: words[1] for line in lines[3:] if (words := line.split())}
    assert list(told) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert told == {name: f"{100 * value:.2f}" for name, (value, _) in published(GOOD, REFERENCES).items()}


def test_json_and_the_file_by_picture_have_the_published_digits(score, tmp_path):
    result = score("good.json", "r.json", "--json", "--per-picture", "p.jsonl")
    told = json.loads(result.out)
    expected = published(GOOD, REFERENCES)
    assert told["scores"] == pytest.approx({name: 100 * float(value) for name, (value, _) in expected.items()})
    assert (told["candidates"], told["references"], told["pictures"], told["of"]) == ("good.json", "r.json", 4, 4)
    by_picture = rows(tmp_path / "p.jsonl")
    assert [row["id"] for row in by_picture] == ["1", "2", "3", "4"]
    assert [row["caption"] for row in by_picture] == list(GOOD.values())
    for name, (_, values) in expected.items():
        assert [row[name] for row in by_picture] == pytest.approx([100 * float(value) for value in values], abs=1e-5)


def test_pictures_are_written_as_csv_too_whole_or_not_at_all(score, tmp_path):
    candidates = GOOD | {3: 'say "hi", 写真\nü', 4: "lone \ud800"}
    (tmp_path / "c.json").write_text(json.dumps([{"image_id": i, "caption": t} for i, t in candidates.items()]))
    assert score("c.json", "r.json", "--per-picture", "p.csv").code == 0
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["caption"] for row in table] == [*list(candidates.values())[:3], "lone \\ud800"]
    assert score("c.json", "r.json", "--per-picture", "p.jsonl").code == 0
    assert [row["caption"] for row in rows(tmp_path / "p.jsonl")] == list(candidates.values())
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]


def test_metrics_are_chosen_by_short_or_full_name_in_any_case(score):
    told = json.loads(score("good.json", "r.json", "--metrics", "CIDEr-plain, cider,BLEU-2", "--json").out)["scores"]
    assert list(told) == ["BLEU-2", "CIDEr", "CIDEr-plain"]
    _one_line(
        score("good.json", "r.json", "--metrics", "bleu,cidre"),
        "'cidre' is not known, expected some of bleu, cider, cider-plain, diversity, meteor, rouge, spice",
        code=2,
    )


def test_empty_candidates_and_very_long_ones_are_scored(score, tmp_path):
    (tmp_path / "c.json").write_text(results({1: "", 2: "NULL", 3: "two men " * 125_000, 4: "nan"}))
    result = score("c.json", "r.json", "--json")
    told = json.loads(result.out)
    assert result.code == 0
    assert told["notes"] == ["c.json: empty candidates, scored as they are: 1"]
    assert 0 < told["scores"]["BLEU-1"] < 1  # two right words of a quarter of a million


def test_plain_lines_with_several_reference_files(score, tmp_path):
    (tmp_path / "c.txt").write_text("".join(text + "\n" for text in GOOD.values()))
    for n in range(2):
        (tmp_path / f"r{n}.txt").write_text("".join(texts[n] + "\n" for texts in REFERENCES.values()))
    (tmp_path / "tabs.txt").write_text("".join("\t".join(texts) + "\n" for texts in REFERENCES.values()))
    expected = json.loads(score("good.json", "r.json", "--json").out)["scores"]
    for references in (["r0.txt", "r1.txt"], ["tabs.txt"]):
        assert json.loads(score("c.txt", *references, "--json").out)["scores"] == pytest.approx(expected)


def test_formats_can_be_named(score, tmp_path):
    (tmp_path / "c.txt").write_text("1\tone\n2\ttwo\n")  # ids and captions, if nobody says otherwise
    (tmp_path / "r.txt").write_text("one\tuno\ntwo\n")
    told = json.loads(score("c.txt", "r.txt", "--json").out)
    assert (told["pictures"], told["scores"]["BLEU-1"]) == (2, pytest.approx(100))
    (tmp_path / "one.txt").write_text("1.jpg\tone\n")
    _one_line(score("one.txt", "r.txt", "--candidates-format", "lines"), "a second candidate for picture '1'")
    _one_line(score("c.txt", "r.txt", "--references-format", "xml"), "form 'xml' is not known for files")
    _one_line(score("c.txt", "r.txt", "--candidates-format", "xml"), "form 'xml' is not known for files")


def test_a_split_of_a_data_set_is_the_reference(score, tmp_path):
    (tmp_path / "set").mkdir()
    table = ["image,caption,split"]
    for i, captions in REFERENCES.items():
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / f"{i}.png")
        table += [f"{i}.png,{text},{'test' if i > 1 else 'train'}" for text in captions]
    (tmp_path / "set" / "captions.csv").write_text("\n".join(table))
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"path": f"/x/{i}.png", "caption": GOOD[i], "score": -1}) + "\n" for i in (2, 3, 4))
    )
    told = json.loads(score("c.jsonl", "set", "--split", "test", "--json").out)
    assert (told["pictures"], told["of"]) == (3, 3)
    _one_line(score("c.jsonl", "set"), "no candidate for 1 of the 4", "'1.png'", "--split (test, train)")
    assert "3 of 4 pictures scored" in score("c.jsonl", "set", "--partial").out


def test_only_some_pictures_are_scored_as_the_coco_evaluation_scores_a_subset(score, tmp_path):
    (tmp_path / "c.json").write_text(results({1: GOOD[1], 2: GOOD[2]}))
    _one_line(score("c.json", "r.json"), "c.json: no candidate for 2 of the 4 pictures of r.json, such as '3', '4'")
    result = score("c.json", "r.json", "--partial", "--json")
    some = {i: REFERENCES[i] for i in (1, 2)}
    expected = {name: 100 * float(value) for name, (value, _) in published({1: GOOD[1], 2: GOOD[2]}, some).items()}
    assert json.loads(result.out)["scores"] == pytest.approx(expected)
    assert json.loads(result.out)["notes"] == ["c.json: pictures without a candidate, left out: 2"]


# Several candidates


def test_of_several_candidates_the_first_or_the_best_is_scored(score, tmp_path):
    both = [{"image_id": i, "caption": text} for i in GOOD for text in (BAD[i], GOOD[i])]
    (tmp_path / "both.json").write_text(json.dumps(both))
    _one_line(score("both.json", "r.json"), "both.json:[1]: a second candidate for picture '1'", "--first", "--oracle")
    plain = {name: json.loads(score(f"{name}.json", "r.json", "--json").out)["scores"] for name in ("good", "bad")}
    first = json.loads(score("both.json", "r.json", "--first", "--json").out)["scores"]
    assert first == pytest.approx(plain["bad"])
    best = json.loads(score("both.json", "r.json", "--oracle", "--json", "--per-picture", "p.csv").out)["scores"]
    assert best["CIDEr"] == pytest.approx(plain["good"]["CIDEr"])  # each good one is at least as good
    table = rows(tmp_path / "p.csv")
    assert [row["caption"] for row in table] == [row["caption"] for row in both]
    assert best["CIDEr"] == pytest.approx(
        sum(max(float(table[n]["CIDEr"]), float(table[n + 1]["CIDEr"])) for n in range(0, 8, 2)) / 4, abs=1e-5
    )
    _one_line(score("both.json", "r.json", "--oracle", "--first"), "--first and --oracle exclude each other", code=2)


# Chance


def test_intervals_hold_the_score(score):
    told = json.loads(score("good.json", "r.json", "--ci", "--json").out)
    assert set(told["intervals"]) == set(told["scores"])
    for name, (low, high) in told["intervals"].items():
        assert low <= told["scores"][name] <= high
    lines = score("good.json", "r.json", "--ci").out.splitlines()
    assert lines[2].split() == ["score", "95%", "interval"]
    name, value, low, dots, high = lines[3].split()
    assert (name, dots) == ("BLEU-1", "..")
    assert float(low) <= float(value) <= float(high)


def test_two_files_are_compared_and_chance_is_called_chance(score, tmp_path):
    result = score("good.json", "bad.json", "--versus", "r.json")
    assert result.code == 1  # references and candidates are not taken for each other
    lines = score("good.json", "r.json", "--versus", "bad.json").out.splitlines()
    assert lines[1:3] == ["A  good.json", "B  bad.json"]
    cells = next(line for line in lines if line.startswith("CIDEr")).split()
    ours, theirs, difference = map(float, cells[1:4])
    assert difference == pytest.approx(ours - theirs, abs=0.011)
    assert difference > 0
    assert lines[5].endswith("  may be chance")  # four pictures tell nothing
    many = {i: REFERENCES[i % 4 + 1] for i in range(40)}
    (tmp_path / "many.json").write_text(coco(many))
    for name, captions in (("a", GOOD), ("b", BAD)):
        (tmp_path / f"{name}.json").write_text(results({i: captions[i % 4 + 1] for i in many}))
    lines = score("a.json", "many.json", "--versus", "b.json", "--ci").out.splitlines()
    assert all(line.endswith("  A is better") for line in lines[5:11])
    lines = score("b.json", "many.json", "--versus", "a.json").out.splitlines()
    assert all(line.endswith("  B is better") for line in lines[5:11])
    lines = score("a.json", "many.json", "--versus", "a.json").out.splitlines()
    assert all(line.endswith("1.0000  equal") for line in lines[5:11])


def test_a_difference_that_no_digit_shows_is_none(score, tmp_path):
    """BLEU-4 of captions without any run of four words is no more than the evaluation's guard against log 0."""
    pictures = range(40)
    (tmp_path / "many.json").write_text(coco({i: ["a dog runs over the grass"] for i in pictures}))
    for name, caption in (("a", "grass grass grass grass"), ("b", "grass grass grass grass grass grass")):
        (tmp_path / f"{name}.json").write_text(results(dict.fromkeys(pictures, caption)))
    lines = score("a.json", "many.json", "--versus", "b.json", "--metrics", "bleu").out.splitlines()
    line = next(line for line in lines if line.startswith("BLEU-4"))
    assert line.split()[:7] == ["BLEU-4", "0.00", "0.00", "+0.00", "0.00", "..", "0.00"]
    assert line.endswith("  equal")


def test_a_comparison_is_json_and_rows_of_both_files(score, tmp_path):
    arguments = ("--versus", "bad.json", "--json", "--per-picture", "p.jsonl", "--metrics", "rouge,diversity")
    told = json.loads(score("good.json", "r.json", *arguments).out)
    found = told["versus"]["paired"]["ROUGE-L"]
    assert found["difference"] == pytest.approx(told["scores"]["ROUGE-L"] - told["versus"]["scores"]["ROUGE-L"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert 0 < found["p"] <= 1
    table = rows(tmp_path / "p.jsonl")
    assert [row["file"] for row in table] == ["good.json"] * 4 + ["bad.json"] * 4
    assert [row["id"] for row in table] == ["1", "2", "3", "4"] * 2
    lines = score("good.json", "r.json", "--versus", "bad.json", "--metrics", "diversity").out.splitlines()
    assert next(line for line in lines if line.startswith("words used")).split() == ["words", "used", "15", "10"]


# Diversity and document frequencies


def test_diversity_and_novelty_are_figures_of_the_captions_alone(score, tmp_path):
    (tmp_path / "train.txt").write_text("Two men play a game\n")
    told = json.loads(score("good.json", "r.json", "--training", "train.txt", "--json").out)["scores"]
    # 6 + 5 + 5 + 3 words, "a" five times, else each once.
    assert told["words per caption"] == 19 / 4
    assert told["words used"] == 15
    assert told["distinct-1, %"] == pytest.approx(100 * told["words used"] / 19)
    assert told["novel captions, %"] == 75
    assert told["different captions, %"] == 100
    assert told["repeating captions, %"] == 0
    bad = json.loads(score("bad.json", "r.json", "--metrics", "diversity", "--json").out)["scores"]
    assert bad["repeating captions, %"] == 25
    assert "novel captions, %" not in bad


def test_document_frequencies_are_saved_and_used_for_single_pictures(score, tmp_path):
    whole = json.loads(
        score("good.json", "r.json", "--save-documents", "d.json", "--json", "--per-picture", "p.csv").out
    )
    assert read_documents(tmp_path / "d.json").pictures == 4
    (tmp_path / "one.json").write_text(results({2: GOOD[2]}))
    alone = json.loads(score("one.json", "r.json", "--partial", "--documents", "d.json", "--json").out)
    assert alone["scores"]["CIDEr"] == pytest.approx(float(rows(tmp_path / "p.csv")[1]["CIDEr"]), abs=1e-5)
    assert json.loads(score("one.json", "r.json", "--partial", "--json").out)["scores"]["CIDEr"] == 0
    assert whole["scores"]["CIDEr"] > 0
    _one_line(score("good.json", "r.json", "--documents", "gone.json"), "gone.json: cannot be read")
    _one_line(score("good.json", "r.json", "--documents", "d.json", "--metrics", "bleu"), "is for CIDEr", code=2)


# What cannot run or be written


def test_a_metric_that_cannot_run_costs_no_other(score, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    result = score("good.json", "r.json", "--metrics", "meteor,rouge")
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()[3:]] == ["ROUGE-L"]
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("showtell: METEOR is left out: ")
    told = json.loads(score("good.json", "r.json", "--metrics", "meteor,rouge", "--versus", "bad.json", "--json").out)
    assert set(told["missing"]) == {"METEOR"}
    assert set(told["versus"]["paired"]) == {"ROUGE-L"}


def test_a_java_program_that_fails_costs_no_other_score(score, monkeypatch):
    from showtell.metrics.score import METRICS

    def fail(captions):
        raise JavaError("METEOR: Java ended early: out of memory")

    monkeypatch.setitem(METRICS, "METEOR", fail)
    result = score("good.json", "r.json", "--metrics", "meteor,cider")
    assert (result.code, result.err) == (
        1,
        "showtell: METEOR is left out: METEOR: Java ended early: out of memory\n",
    )
    assert [line.split()[0] for line in result.out.splitlines()[3:]] == ["CIDEr"]
    alone = score("good.json", "r.json", "--metrics", "meteor")
    assert alone.code == 1
    assert alone.out.splitlines() == ["r.json: 4 of 4 pictures scored, 8 reference captions", ""]
    assert json.loads(score("good.json", "r.json", "--metrics", "meteor", "--json").out)["scores"] == {}


def test_a_file_that_cannot_be_written_costs_no_score(score, monkeypatch):
    def fail(*arguments):
        raise ShowtellError("p.csv: cannot be written (No space left on device); check folder and disk")

    monkeypatch.setattr("showtell.cli.scores.write_per_picture", fail)
    result = score("good.json", "r.json", "--per-picture", "p.csv", "--metrics", "cider")
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()[3:]] == ["CIDEr"]
    assert result.err == "showtell: p.csv: cannot be written (No space left on device); check folder and disk\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_file_name_that_is_no_text_is_printed_escaped(score, tmp_path):
    name = os.fsdecode(b"\xff\n.json")
    (tmp_path / name).write_text(results(GOOD))
    lines = score(name, "r.json", "--versus", name).out.splitlines()
    assert lines[1:3] == ["A  \\xff\\n.json", "B  \\xff\\n.json"]
    (tmp_path / name).write_text(results({1: "x"}))
    lines = score(name, "r.json", "--partial").out.splitlines()
    assert lines[0].endswith("; \\xff\\n.json: pictures without a candidate, left out: 3")


def test_a_metric_without_a_number_is_null_and_never_certain(score, monkeypatch, tmp_path):
    from showtell.metrics.score import METRICS

    monkeypatch.setitem(METRICS, "SPICE", lambda captions: mean_score("SPICE", [float("nan"), 1, 1, 1]))
    arguments = ("--metrics", "spice", "--versus", "bad.json", "--ci", "--json", "--per-picture", "p.jsonl")
    told = json.loads(score("good.json", "r.json", *arguments).out, parse_constant=pytest.fail)
    assert told["scores"] == {"SPICE": None}
    assert told["versus"]["paired"]["SPICE"] == {"difference": None, "low": None, "high": None, "p": 1}
    assert [row["SPICE"] for row in rows(tmp_path / "p.jsonl")[:4]] == [None, 100, 100, 100]
    assert "nan" in score("good.json", "r.json", "--metrics", "spice").out


def test_wrong_files_are_told_before_anything_is_scored(score, tmp_path):
    _one_line(score("gone.json", "r.json"), "gone.json: cannot be read (No such file")
    _one_line(score("good.json", "gone.json"), "gone.json: cannot be read (No such file")
    _one_line(score("good.json"), "Missing argument 'REFERENCES...'", code=2)
    _one_line(score("good.json", "r.json", "--per-picture", "p.txt"), "expected a file name that ends in .csv", code=2)
    _one_line(score("good.json", "r.json", "--per-picture", "no/p.csv"), "the folder no does not exist", code=2)
    _one_line(score("good.json", "r.json", "--save-documents", "no/d.json"), "the folder no does not exist", code=2)
    (tmp_path / "f.csv").mkdir()
    for option in ("--per-picture", "--save-documents"):
        _one_line(score("good.json", "r.json", option, "f.csv"), f"{option} f.csv: is a folder, expected", code=2)
    _one_line(score("good.json", "r.json", "--spice-models", "f.csv"), "is for SPICE; add spice to", code=2)
    _one_line(score("good.json", "r.json", "--split", "test"), "no picture in split 'test', it tells no splits")
    (tmp_path / "c.json").write_text('[{"image_id": 1, "caption": "x')
    _one_line(score("c.json", "r.json"), "c.json:1: column 29 is not JSON")


def test_what_is_left_out_as_the_coco_evaluation_does_is_said(score, tmp_path):
    content = json.loads(coco(REFERENCES))
    content["images"].pop()
    (tmp_path / "r.json").write_text(json.dumps(content))
    (tmp_path / "c.json").write_text(results({i: GOOD[i] for i in (1, 2, 3)}))
    result = score("c.json", "r.json")
    assert result.code == 0
    assert result.err == (
        "showtell: r.json: 2 captions of pictures that are not in its list 'images' are left out, as the COCO "
        "evaluation does\n"
    )


@pytest.mark.parametrize("option", ["--per-picture", "--save-documents"])
def test_files_that_are_read_are_never_written_over(score, tmp_path, option):
    before = '{"image_id": 1, "caption": "a dog"}\n'
    (tmp_path / "read.jsonl").write_text(before)
    result = score("read.jsonl", "r.json", "--partial", option, "read.jsonl")
    assert result.code == 2
    assert f"{option} read.jsonl is one of the files that are read; name another" in result.err
    assert (tmp_path / "read.jsonl").read_text() == before
