"""`showtell plot`, run as a user runs it."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from command_line import showtell

pytest.importorskip("matplotlib")


def write_run(folder: Path, epochs: int, best: int = 1) -> Path:
    history = [
        {"epoch": i, "train loss": 5.0 / i, "val loss": 6.0 / i, "val CIDEr": 10.0 * i, "val BLEU-4": 2.0 * i}
        for i in range(1, epochs + 1)
    ]
    checkpoint = folder / "checkpoints" / f"{epochs:05d}-00007"
    checkpoint.mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    progress = {"epoch": epochs, "step": 7, "best": f"{best:05d}-00000" if epochs else "", "history": history}
    (checkpoint / "state.json").write_text(json.dumps({"progress": progress}))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_are_drawn_and_told(tmp_path):
    runs = [write_run(tmp_path / "a", 4, best=4), write_run(tmp_path / "b", 2, best=1)]
    result = showtell("plot", *runs)
    assert (result.code, result.err) == (0, "curves.png\n")
    assert result.out.splitlines() == [
        "a: 4 epochs, best 4: loss 1.500, CIDEr 40.0, BLEU-4 8.0",
        "b: 2 epochs, best 1: loss 6.000, CIDEr 10.0, BLEU-4 2.0",
    ]
    with Image.open("curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height


def test_the_same_run_named_twice_is_drawn_once(tmp_path):
    run = write_run(tmp_path / "a", 2)
    assert len(showtell("plot", run, run, "--out", "two.png").out.splitlines()) == 1
    showtell("plot", run, "--out", "one.png")
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def test_a_run_that_cannot_be_drawn_is_told_and_the_rest_is_done(tmp_path):
    result = showtell("plot", write_run(tmp_path / "young", 0), write_run(tmp_path / "a", 2), tmp_path / "gone")
    assert result.code == 1
    assert result.out.startswith("a: 2 epochs")
    young, gone, file = result.err.splitlines()
    assert young.startswith(f"showtell: {tmp_path / 'young'}: no finished epoch yet, 7 steps of the first are done")
    assert gone.startswith(f"showtell: {tmp_path / 'gone'}: no such folder, expected a run")
    assert file == "curves.png"


def test_without_any_epoch_nothing_is_written(tmp_path):
    result = showtell("plot", write_run(tmp_path / "young", 0))
    assert (result.code, result.out) == (1, "")
    assert not Path("curves.png").exists()


def test_wrong_usage(tmp_path):
    run = write_run(tmp_path / "a", 2)
    assert showtell("plot").code == 2
    assert "expected a file name that ends in .png" in showtell("plot", run, "--out", "curves.pdf").err


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = showtell("plot", write_run(tmp_path / "a", 2))
    assert result.code == 1
    assert result.err == "showtell: `showtell plot` needs matplotlib: pip install 'showtell[train]'\n"
