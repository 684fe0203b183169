"""How far a run has come, read while it trains, without PyTorch."""

import json
import shutil
import subprocess
import sys

import pytest

from showtell.errors import CheckpointError
from showtell.training import progress as module
from showtell.training.progress import read_progress


def write(run, name: str, epoch: int) -> None:
    (run / "checkpoints" / name).mkdir(parents=True)
    (run / "recipe.json").write_text("{}")
    (run / "checkpoints" / name / "state.json").write_text(json.dumps({"progress": {"epoch": epoch, "step": 3}}))


def test_the_latest_checkpoint_counts(tmp_path):
    write(tmp_path, "00002-00003", 2)
    write(tmp_path, "00010-00003", 10)
    write(tmp_path, ".00011-00003", 11)  # being written
    assert read_progress(tmp_path).epoch == 10


def test_a_checkpoint_that_goes_while_it_is_read_gives_way_to_the_newer_one(tmp_path, monkeypatch):
    write(tmp_path, "00001-00003", 1)
    read = module.read_state

    def replaced_meanwhile(checkpoint):
        if checkpoint.name == "00001-00003":
            shutil.rmtree(checkpoint)
            write(tmp_path, "00002-00003", 2)
        return read(checkpoint)

    monkeypatch.setattr(module, "read_state", replaced_meanwhile)
    assert read_progress(tmp_path).epoch == 2


def test_what_is_no_run_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "young").mkdir()
    for name, reason in {
        "gone": "no such folder, expected a run",
        "file": "is a file, expected a run",
        "young": "holds no recipe.json, expected a run; name the folder that --out named in training",
    }.items():
        with pytest.raises(CheckpointError, match=reason):
            read_progress(tmp_path / name)
    (tmp_path / "young" / "recipe.json").write_text("{}")
    with pytest.raises(CheckpointError, match="young: no checkpoint yet; wait for the end of the first epoch"):
        read_progress(tmp_path / "young")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"progress": {"epoch": 1, "unknown": 2}}'])
def test_a_damaged_state_is_told(tmp_path, content):
    write(tmp_path, "00001-00003", 1)
    (tmp_path / "checkpoints" / "00001-00003" / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"00001-00003: state\.json is damaged or missing"):
        read_progress(tmp_path)


def test_reading_progress_never_imports_torch():
    code = "import sys, showtell.training.progress, showtell.figures.curves\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
