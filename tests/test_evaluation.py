import errno
import json
import math
import os
import sys

import pytest
from PIL import Image

from showtell.cli import main
from showtell.data.example import Example
from showtell.errors import DataError, RecipeError
from showtell.evaluation import evaluate
from showtell.metrics.documents import Documents

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
    assert result.scores["ROUGE-L"] == pytest.approx(100)
    assert list(result.measured.scores) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
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


def test_metrics_and_document_frequencies_are_chosen(captioner, picture):
    examples = [picture("red", "a red picture"), picture("blue", "a blue picture", split="train")]
    assert evaluate(captioner, examples, "test").scores["CIDEr"] == 0  # in one picture every word is in all pictures
    documents = Documents(10, {"a": 10, "a red": 2, "red": 2})
    found = evaluate(captioner, examples, "test", ["CIDEr", "diversity"], documents)
    assert list(found.measured.scores) == ["CIDEr"]
    assert found.scores["CIDEr"] == pytest.approx(750)
    assert found.scores["novel captions, %"] == 100
    assert found.scores["words per caption"] == 3


def test_captions_of_training_are_verbatim_whatever_their_case(captioner, picture):
    examples = [picture("red", "x"), picture("blue", "x"), picture("green", "A blue picture.", split="train")]
    assert evaluate(captioner, examples, "test").scores["verbatim from training, %"] == 50


# `showtell evaluate`


@pytest.fixture
def data(tmp_path):
    """A data set of four pictures, of which the tiny model knows the colours."""
    folder = tmp_path / "data"
    folder.mkdir()
    captions = {
        "red": ["A red picture.", "It's a red-ish picture, 1/2 dark"],
        "green": ["a green picture (bright)"],
        "blue": ["the sky's blue", "a picture of the sky"],
        "teal": ["a green wall", 'a "blue" wall'],
    }
    rows = ["image,caption,split"]
    for name, texts in captions.items():
        Image.new("RGB", (40, 40), COLOURS.get(name, (0, 120, 100))).save(folder / f"{name}.png")
        rows += [f'{name}.png,"{text.replace(chr(34), chr(34) * 2)}",test' for text in texts]
    (folder / "captions.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def showtell(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["showtell", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_evaluate_and_score_of_its_captions_print_the_same(showtell, tiny_bundle, data, tmp_path):
    evaluated = ["evaluate", tiny_bundle, "--data", data, "--threads", 1]
    scored = ["score", tmp_path / "c.jsonl", data, "--split", "test"]
    for options in (["--json"], ["--json", "--ci", "--metrics", "bleu,rouge,cider,cider-plain,diversity"]):
        code, out, err = showtell(
            *evaluated, "--out", tmp_path / "c.jsonl", "--per-picture", tmp_path / "1.csv", *options
        )
        assert (code, err) == (0, "")
        theirs = json.loads(showtell(*scored, "--per-picture", tmp_path / "2.csv", *options)[1])
        ours = json.loads(out)
        for name, value in theirs["scores"].items():
            assert ours["scores"][name] == pytest.approx(value, abs=1e-9)
        assert ours["pictures"] == theirs["pictures"] == 4
        assert set(ours.get("intervals", ())) == set(theirs.get("intervals", ()))
        assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()
    tables = [
        [line for line in showtell(*command)[1].splitlines() if line[:4] in ("BLEU", "ROUG", "CIDE")]
        for command in (evaluated, scored)
    ]
    assert len(tables[0]) == 6
    assert [line.split() for line in tables[0]] == [line.split() for line in tables[1]]


def test_evaluate_names_a_metric_that_cannot_run_and_prints_the_others(
    showtell, tiny_bundle, data, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    code, out, err = showtell("evaluate", tiny_bundle, "--data", data, "--metrics", "meteor,cider", "--threads", 1)
    assert code == 1
    assert err.startswith("showtell: METEOR is left out: ")
    assert len(err.splitlines()) == 1
    assert [line.split()[0] for line in out.splitlines()[3:4]] == ["CIDEr"]


def test_evaluate_refuses_wrong_options_before_it_reads_anything(showtell, tmp_path):
    for options, expected in (
        (["--metrics", "cidre"], "'cidre' is not known, expected some of bleu"),
        (["--per-picture", "x.txt"], "expected a file name that ends in .csv or .jsonl"),
        (["--out", tmp_path / "no" / "x"], "does not exist; make it first"),
    ):
        code, out, err = showtell("evaluate", "--data", tmp_path / "gone", *options)
        assert (code, out) == (2, "")
        assert expected in err


def test_several_models_are_one_ensemble_and_that_is_told(showtell, tiny_bundle, data, tmp_path):
    options = ["--data", data, "--threads", 1]
    code, alone, _ = showtell("evaluate", tiny_bundle, *options)
    assert "ensemble" not in alone
    code, out, _ = showtell("evaluate", tiny_bundle, tiny_bundle, *options, "--page", tmp_path / "page")
    assert code == 0
    assert out == f"one ensemble of 2 models: tiny + tiny\n{alone}"
    index = (tmp_path / "page" / "index.html").read_text()
    assert "showtell evaluate tiny tiny --data data" in index
    assert "<bdi>tiny + tiny</bdi>" in index
    assert "<li>an ensemble of 2</li>" in index
    as_json = [json.loads(showtell("evaluate", *[tiny_bundle] * n, *options, "--json")[1]) for n in (1, 2)]
    assert as_json[1].pop("ensemble") == ["tiny", "tiny"]
    assert as_json[0] == as_json[1]


def test_consensus_is_scored_and_told(showtell, tiny_bundle, data, tmp_path):
    evaluated = ["evaluate", tiny_bundle, "--data", data, "--threads", 1, "--json"]
    plain = json.loads(showtell(*evaluated)[1])
    assert json.loads(showtell(*evaluated, "--consensus", 1)[1]) == plain
    code, out, _ = showtell(*evaluated, "--consensus", 5, "--page", tmp_path / "page", "--out", tmp_path / "c.jsonl")
    assert code == 0
    index = (tmp_path / "page" / "index.html").read_text()
    assert "<li>beam 5</li>" in index
    assert "<li>consensus of 5</li>" in index
    captions = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    from showtell import load

    for caption in captions:
        found = load(tiny_bundle, threads=1).caption(caption["path"], beam_width=5, rerank="consensus")
        assert caption["caption"] == found.text
    code, out, err = showtell(*evaluated, "--consensus", 5, "--beam", 4)
    assert (code, out) == (2, "")
    assert "candidates is 5, more than beam_width 4; widen the beam" in err


def test_a_data_set_taken_for_a_second_model_is_refused(showtell, tiny_bundle, data):
    code, out, err = showtell("evaluate", tiny_bundle, data)
    assert (code, out) == (2, "")
    assert "Missing option '--data'" in err
    code, out, err = showtell("evaluate", tiny_bundle, data, "--data", data)
    assert (code, out) == (1, "")
    assert f"{data}: no bundle: it holds no manifest.json" in err


# `showtell evaluate --page`


def data_of(page):
    script = (page / "data.js").read_text(encoding="ascii")
    return json.loads(script.removeprefix("window.showtellPage = ").removesuffix(";\n"))


def captions_of(found):
    return {picture["id"]: "".join(picture["words"]) for picture in found["pictures"]}


def test_a_page_holds_what_the_command_found(showtell, tiny_bundle, data, tmp_path):
    (data / "green.png").write_text("no picture")
    code, out, err = showtell(
        *("evaluate", tiny_bundle, "--data", data, "--page", tmp_path / "page", "--beam", 2, "--json", "--threads", 1)
    )
    assert code == 1  # one picture could not be read
    assert err.startswith(f"showtell: {data / 'green.png'}: no picture: found text")
    assert err.splitlines()[-1] == f"showtell: {tmp_path / 'page' / 'index.html'}: open it in a browser"
    found = data_of(tmp_path / "page")
    assert captions_of(found) == {name: f"a {name[:-4]} picture" for name in ("blue.png", "red.png")} | {
        "teal.png": "a green picture"
    }
    assert all(len(picture["logs"]) == len(picture["words"]) + 1 for picture in found["pictures"])
    index = (tmp_path / "page" / "index.html").read_text()
    assert f"<dt>CIDEr</dt><dd>{json.loads(out)['scores']['CIDEr']:.1f}" in index
    assert "1 picture could not be read" in index
    assert "<bdi>green.png</bdi>: no picture: found text" in index
    assert "showtell evaluate tiny --data data --beam 2 --page page --json --threads 1</code>" in index
    assert "<bdi>tiny</bdi>" in index
    assert "<li>beam 2</li>" in index
    # The map of the two by two regions that the tiny model looks at.
    script = (tmp_path / "page" / "attention" / "0000.js").read_text()
    assert [maps[:2] for maps in json.loads(script[len("showtellAttention(0, ") : -3])] == [[2, 2]] * 3


def test_a_page_tells_no_path_of_the_machine(showtell, tiny_bundle, data, tmp_path):
    (data / "green.png").unlink()
    (data / "green.png").symlink_to(tmp_path / "some where" / "green.png")
    showtell("evaluate", tiny_bundle, "--data", data, "--page", tmp_path / "page", "--threads", 1)
    written = [path for path in (tmp_path / "page").rglob("*") if path.is_file()]
    assert len(written) == 3 + 1 + 9  # pictures, one part of attention, and the rest
    assert not [path.name for path in written if str(tmp_path.parent.name).encode() in path.read_bytes()]


def test_a_folder_that_is_no_page_is_refused_before_anything_is_read(showtell, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    code, out, err = showtell("evaluate", "--data", tmp_path / "gone", "--page", tmp_path / "photos")
    assert (code, out) == (1, "")
    assert (
        err == f"showtell: {tmp_path / 'photos'}: exists and is no page of `showtell evaluate`; name another folder\n"
    )
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_a_page_that_cannot_be_written_is_told_before_the_work(showtell, tiny_bundle, data, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = showtell("evaluate", tiny_bundle, "--data", data, "--page", tmp_path / "file" / "page")
    assert (code, out) == (1, "")
    assert f"{tmp_path / 'file'} is a file, expected a folder" in err
    assert len(err.splitlines()) == 1


def test_scores_are_told_even_where_the_disk_refuses_the_page_at_the_end(
    showtell, tiny_bundle, data, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("showtell.pages.place.replace_folder", full)
    code, out, err = showtell("evaluate", tiny_bundle, "--data", data, "--page", tmp_path / "page")
    assert code == 1
    assert "CIDEr" in out
    assert "cannot be written (No space left on device)" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "page").exists()


def test_a_model_that_takes_regions_from_files_has_a_page_with_the_pictures(showtell, data, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    import numpy as np

    from showtell.bundle import RegionGeometry, write_bundle
    from tiny_bundle import start_model, step_model, tiny_files, tiny_manifest

    files = {name: content for name, content in tiny_files().items() if name != "encoder.onnx"}
    manifest = tiny_manifest(images=None, regions=RegionGeometry(count=1, size=3))
    files |= {"start.onnx": one_region(start_model()), "step.onnx": one_region(step_model())}
    write_bundle(tmp_path / "bundle", files=files, manifest=manifest)
    (tmp_path / "regions").mkdir()
    for name, colour in {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "teal": (0, 0.5, 0.4)}.items():
        np.savez(tmp_path / "regions" / f"{name}.npz", x=np.array([colour], np.float32))
    (data / "teal.png").unlink()
    code, _, err = showtell(
        *("evaluate", tmp_path / "bundle", "--data", data, "--regions", tmp_path / "regions"),
        *("--page", tmp_path / "page", "--threads", 1),
    )
    assert code == 0, err
    found = data_of(tmp_path / "page")
    assert captions_of(found)["red.png"] == "a red picture"
    assert {picture["id"]: "width" in picture for picture in found["pictures"]} == {
        "red.png": True,
        "green.png": True,
        "blue.png": True,
        "teal.png": False,
    }
    assert found["attention"] == 0
    twice = ("evaluate", tmp_path / "bundle", tmp_path / "bundle", "--data", data, "--threads", 1)
    assert showtell(*twice, "--regions", tmp_path / "regions")[0] == 0
    code, _, err = showtell(*twice)
    assert code == 2
    assert "takes regions from files; name their folder with --regions DIR" in err
    monkeypatch.setattr("showtell.cli.evaluate._region_files_of", lambda model, _: tmp_path / model.name)
    code, _, err = showtell("evaluate", "one", "two", "--data", data)
    assert code == 2
    assert f"region files of {tmp_path}/one and {tmp_path}/two; name one with --regions DIR" in err


def one_region(model):
    """A graph of the tiny bundle that takes one region of a picture instead of four."""
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_value == 4:
                size.dim_value = 1
    return model.SerializeToString()


# What a page needs of captions and evaluations


def test_attention_and_the_log_probability_of_each_word_come_on_request(captioner, picture):
    examples = [picture("red", "a red picture")]
    (_, plain), (_, looking) = (
        evaluate(captioner, examples, "test", attention=wanted).captions[0] for wanted in (False, True)
    )
    assert plain.attention is None
    assert looking.attention.shape == (3, 2, 2)
    assert len(looking.word_log_probabilities) == 3 + 1  # the end's too
    assert sum(looking.word_log_probabilities) == pytest.approx(looking.log_probability)


def test_what_failed_and_what_repeats_is_told_picture_by_picture(captioner, picture, tmp_path):
    missing = Example(id="missing", image=tmp_path / "missing.png", captions=("x",), split="test")
    examples = [picture("red", "x"), missing, picture("blue", "x"), picture("green", "A blue picture.", split="train")]
    result = evaluate(captioner, examples, "test")
    assert [example.id for example in result.failed] == ["missing"]
    assert result.repeating == (False, False)
    assert result.verbatim == (False, True)
    assert evaluate(captioner, examples[:1], "test").verbatim == ()
