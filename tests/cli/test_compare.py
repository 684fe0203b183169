"""`showtell compare`, run as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from command_line import showtell
from tiny_bundle import build_tiny_bundle
from tiny_run import write_run

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(tmp_path):
    return write_run(tmp_path / "a"), write_run(tmp_path / "b", "training.batch=8", seconds=(6, 6, 18), best=3)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = ["image,caption,split"]
    for i, (colour, value) in enumerate([*COLOURS.items()] * 2):
        Image.new("RGB", (40, 40), value).save(folder / f"{i}.png")
        rows.append(f"{i}.png,a {'dark ' * (i > 2)}{colour} picture,{'train' if i == 5 else 'val'}")
    (folder / "captions.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def bundles(tmp_path):
    from showtell.decoding.options import DecodeOptions

    return build_tiny_bundle(tmp_path / "full"), build_tiny_bundle(
        tmp_path / "short", decoding=DecodeOptions(beam_width=3, max_words=2), recipe={"decoding": {"max_words": 2}}
    )


# What the runs hold


def test_runs_and_the_keys_that_differ_are_told_in_tables(runs):
    result = showtell("compare", *runs)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "run  recipe  epochs  best  parameters  minutes  val loss  val CIDEr  val BLEU-4",
        "a    tiny    2 of 2     1           -      0.2     6.000      10.00        2.00",
        "b    tiny    3 of 2     3           -      0.5     2.000      30.00        6.00",
        "",
        "parameters: those that learn; minutes: of training, without features and validation; val: the run's own",
        "",
        "differs         a   b",
        "training.batch  16  8",
    ]


def test_equal_recipes_are_told_as_such(tmp_path, runs):
    again = write_run(tmp_path / "again")
    assert showtell("compare", runs[0], again).out.splitlines()[-1] == "The recipes are the same in every key."


def test_json_holds_the_same(runs):
    told = json.loads(showtell("compare", *runs, "--json").out)
    assert told["differing"] == {"training.batch": [16, 8]}
    assert told["notes"] == []
    assert told["runs"][1] == {
        "name": "b",
        "path": str(runs[1]),
        "recipe": "tiny",
        "epochs": 3,
        "best": 3,
        "parameters": None,
        "minutes": 0.5,
        "validation": {"loss": 2.0, "CIDEr": 30.0, "BLEU-4": 6.0},
    }


def test_other_data_is_told_on_standard_error(tmp_path, runs):
    other = write_run(tmp_path / "other", fingerprint="g")
    result = showtell("compare", runs[0], other)
    assert result.code == 0
    (line,) = result.err.splitlines()
    assert line.startswith("showtell: trained on different data or splits: a | other;")


def test_without_captions_nothing_heavy_is_loaded(runs):
    code = (
        "import sys\nfrom showtell.cli import main\ntry:\n    main()\nexcept SystemExit as ended:\n"
        "    assert not ended.code\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "compare", *runs], capture_output=True, text=True, check=True)
    assert {"torch", "timm", "safetensors", "onnx", "matplotlib"}.isdisjoint(done.stderr.split())
    assert done.stdout.startswith("run ")


def test_curves_are_drawn(runs):
    pytest.importorskip("matplotlib")
    result = showtell("compare", *runs, "--out", "both.png")
    assert (result.code, result.err) == (0, "both.png\n")
    with Image.open("both.png") as picture:
        assert picture.format == "PNG"


# Captions


def test_captions_are_scored_and_tested_against_the_first(bundles, data):
    result = showtell("compare", *bundles, "--data", data, "--metrics", "bleu-1", "--threads", 1)
    assert (result.code, result.err) == (0, "full: captions of val\nshort: captions of val\n")
    lines = result.out.splitlines()
    assert "Captions of 5 pictures of val, beam 3; differences are from full" in lines
    at = next(i for i, line in enumerate(lines) if line.startswith("BLEU-1"))
    header, full, short = (re.split(r"  +", line) for line in lines[at : at + 3])
    assert header == ["BLEU-1", "score", "95% interval", "difference", "95% interval", "p"]
    # 17 words in the references, 15 in the captions, all of them right: brevity costs exp(1 - 17 / 15).
    assert full[:2] == ["full", "87.52"]
    # 10 words, all right: exp(1 - 17 / 10).
    assert (short[1], short[3]) == ("49.66", "-37.86")
    assert len(full) == 3
    assert short[6] in ("worse", "may be chance")
    assert lines[-1] == "1 difference was tested"


def test_three_runs_are_corrected_for_two_differences(bundles, data, tmp_path):
    again = build_tiny_bundle(tmp_path / "again")
    result = showtell("compare", *bundles, again, "--data", data, "--json", "--threads", 1)
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["split"], told["pictures"], told["against"], told["tests"]) == ("val", 5, "full", 4)
    full, short, same = told["runs"]
    assert full["paired"] == {}
    assert set(short["scores"]) >= {"BLEU-4", "CIDEr"}
    assert len(short["intervals"]["CIDEr"]) == 2
    worse, equal = short["paired"]["CIDEr"], same["paired"]["CIDEr"]
    assert worse["corrected p"] == pytest.approx(min(1, 2 * worse["p"]))
    assert (equal["difference"], equal["p"], equal["corrected p"]) == (0, 1, 1)
    text = showtell("compare", *bundles, again, "--data", data, "--threads", 1).out
    assert text.splitlines()[-1] == (
        "4 differences were tested, 2 in each score: p is corrected for these (Holm), the intervals are not"
    )
    assert re.search(r"^again +\S+ .*  equal$", text, re.MULTILINE)


def test_split_and_beam_are_chosen(bundles, data):
    result = showtell("compare", *bundles, "--data", data, "--split", "train", "--beam", 2, "--threads", 1)
    assert "Captions of 1 picture of train, beam 2;" in result.out


def test_a_picture_that_cannot_be_read_is_told_and_costs_the_exit_code(bundles, data):
    (data / "0.png").write_bytes(b"no picture")
    result = showtell("compare", *bundles, "--data", data, "--threads", 1)
    assert result.code == 1
    assert "Captions of 4 pictures" in result.out
    told = [line for line in result.err.splitlines() if "0.png" in line]
    assert [line.split(": ")[1] for line in told] == ["full", "short"]


def test_a_run_that_has_learnt_from_the_split_is_told(tmp_path, bundles, data):
    run = exported(write_run(tmp_path / "run", train=("0.png", "1.png", "5.png")), bundles[0])
    result = showtell("compare", bundles[0], run, "--data", data, "--threads", 1)
    assert result.err.splitlines()[0] == (
        "showtell: run has learnt from 2 of the 5 pictures of val: its scores there tell what it remembers"
    )


def test_a_run_that_was_exported_needs_no_pytorch(tmp_path, bundles, data, monkeypatch):
    run = exported(write_run(tmp_path / "run"), bundles[0])
    monkeypatch.setattr("showtell.model_folder.find_spec", lambda name: None)
    assert showtell("compare", run, bundles[1], "--data", data, "--threads", 1).code == 0
    (run / "bundle-of.txt").write_text("an older checkpoint")
    result = showtell("compare", run, bundles[1], "--data", data, "--threads", 1)
    assert result.code == 1
    assert "run: is a training run, which needs PyTorch: pip install 'showtell[train]'" in result.err


def exported(run: Path, bundle: Path) -> Path:
    """The run with a bundle beside it, as an export leaves it."""
    from showtell.training.exported import export_mark

    (run / "checkpoints" / "00001-00000").mkdir()
    (run / "bundle").symlink_to(bundle)
    (run / "bundle-of.txt").write_text(export_mark(run))
    return run


def test_curves_and_scores_are_drawn(bundles, data):
    pytest.importorskip("matplotlib")
    result = showtell("compare", *bundles, "--data", data, "--out", "scores.png", "--threads", 1)
    assert result.code == 0
    with Image.open("scores.png") as picture:
        assert picture.width > 600


def test_where_there_is_nothing_to_draw_that_is_told(bundles, data):
    result = showtell("compare", *bundles, "--data", data, "--metrics", "diversity", "--out", "x.png")
    assert result.code == 1
    assert "x.png: there are no curves and no scores to draw; leave it out, or add --metrics" in result.err
    assert "words per caption" in result.out
    assert not Path("x.png").exists()


# Wrong usage


def test_wrong_usage_is_one_clear_line(runs, bundles, data, tmp_path):
    def said(*arguments, code=2):
        result = showtell("compare", *arguments)
        assert (result.code, result.out) == (code, "")
        return result.err.splitlines()[-1]

    assert "Missing argument 'RUN...'" in said()
    assert "one run, expected two or more" in said(runs[0])
    assert f"{runs[0]}/../a: the same run as {runs[0]}; name each once" in said(*runs, f"{runs[0]}/../a")
    assert "--beam goes with --data DIR" in said(*runs, "--beam", 3)
    assert "--metrics: 'blue' is not known" in said(*runs, "--data", data, "--metrics", "blue").replace(" blue:", ":")
    assert "--metrics: spice is not compared; `showtell evaluate --spice-models DIR` scores it" in said(
        *bundles, "--data", data, "--metrics", "cider,spice"
    )
    assert "expected a file name that ends in .png" in said(*runs, "--out", "x.pdf")
    assert "--regions: all of these take pictures; leave it out" in said(
        *bundles, "--data", data, "--regions", tmp_path
    )
    assert "is a bundle, which has no curves; name its run, or add --data DIR" in said(*bundles, code=1)
    assert "no picture with captions in split 'test'" in said(*bundles, "--data", data, "--split", "test", code=1)


def test_every_run_that_cannot_be_compared_is_told(runs, tmp_path):
    young = write_run(tmp_path / "young", seconds=())
    result = showtell("compare", young, runs[0], tmp_path / "gone")
    assert (result.code, result.out) == (1, "")
    first, second = result.err.splitlines()
    assert "young: no finished epoch yet" in first
    assert "gone: no such folder, expected a run" in second


def test_a_model_of_region_files_asks_for_their_folder(bundles, data, tmp_path):
    files = write_run(tmp_path / "files", "encoder.name=files", "encoder.train=false", "encoder.layer=")
    result = showtell("compare", bundles[0], files, "--data", data)
    assert result.code == 1
    assert "files: takes regions from files; name their folder with --regions DIR" in result.err


def test_the_missing_extra_is_named_before_anything_is_done(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = showtell("compare", *runs, "--out", "x.png")
    assert (result.code, result.out) == (1, "")
    assert result.err == "showtell: `showtell compare --out` needs matplotlib: pip install 'showtell[train]'\n"
