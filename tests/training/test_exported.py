"""Whether the bundle beside a run is still the run's: told without PyTorch."""

import json

import pytest

from showtell.errors import CheckpointError
from showtell.training.exported import export_mark, exported_bundle
from tiny_run import write_run


@pytest.fixture
def run(tmp_path):
    """A run with a bundle beside it, as an export leaves it."""
    folder = write_run(tmp_path / "run", best=1)
    (folder / "bundle").mkdir()
    (folder / "bundle" / "manifest.json").touch()
    (folder / "bundle-of.txt").write_text(export_mark(folder))
    return folder


def test_the_bundle_of_the_best_checkpoint_is_found(run):
    assert exported_bundle(run) == run / "bundle"


def test_without_a_whole_export_there_is_none(run, tmp_path):
    assert exported_bundle(write_run(tmp_path / "new")) is None
    (run / "bundle" / "manifest.json").unlink()
    assert exported_bundle(run) is None


def test_a_better_checkpoint_makes_it_an_old_one(run):
    state = next((run / "checkpoints").iterdir()) / "state.json"
    state.write_text(state.read_text().replace("00001-00000", "00002-00000"))
    assert exported_bundle(run) is None


def test_a_recipe_that_says_something_else_makes_it_an_old_one(run):
    path = run / "recipe.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table, indent=8))
    assert exported_bundle(run) is not None  # the same in other words
    table["decoding"]["beam_width"] += 1
    path.write_text(json.dumps(table))
    assert exported_bundle(run) is None


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="not a run of `showtell train`"):
        export_mark(tmp_path)
