"""The commands that make such a run anew."""

import json
import shutil
from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.export.bundle import export_bundle  # noqa: E402
from showtell.export.commands import Commands  # noqa: E402
from showtell.training.run import open_run  # noqa: E402
from showtell.training.soup import average_runs  # noqa: E402
from tiny_training import LEARNING, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def runs(few_shapes, tmp_path_factory):
    """first; next1 and next2, from it, the second with a teacher; between, of those two; last, from that."""
    folder = tmp_path_factory.mktemp("commands")

    def train(name, *settings, start=None, **more):
        trainer, _ = tiny_trainer(
            few_shapes, folder / name, *LEARNING, "training.epochs=1", *settings, start_from=start, **more
        )
        assert trainer.train()

    train("first")
    train("next1", start=folder / "first")
    train("next2", "training.seed=2", start=folder / "first")
    source = json.loads((folder / "next2" / "data.json").read_text())
    source["source"] |= {"teachers": [str(folder / "first")], "captions": ["told.jsonl"], "text": "lines.txt"}
    (folder / "next2" / "data.json").write_text(json.dumps(source))
    average_runs([folder / "next1", folder / "next2"], folder / "between", [0.4, 0.6])
    train("last", start=folder / "between")
    return folder


def test_each_run_is_told_once_and_before_those_that_came_from_it(runs):
    commands = Commands()
    assert commands.add(open_run(runs / "last")) == "RUN5"
    words = [" ".join(line.replace("\\\n", "").split()) for line in commands.lines]
    assert words[0].startswith("showtell train --recipe tiny --data DIR --out RUN1 --set ")
    assert words[1].startswith("showtell train --recipe tiny --from RUN1 --data DIR --out RUN2 --set ")
    assert words[2].startswith(
        "showtell train --recipe tiny --from RUN1 --teacher RUN1 --captions FILE --text FILE --data DIR --out RUN3 "
    )
    assert "--set training.seed=2" in words[2]
    assert words[3] == "showtell average RUN2 RUN3 --shares 0.4,0.6 --out RUN4"
    assert words[4].startswith("showtell train --recipe tiny --from RUN4 ")
    assert len(words) == 5
    assert str(runs) not in "".join(words)


def test_epochs_of_one_run_have_no_shares(runs, few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "kept", *LEARNING, "training.epochs=2", "training.keep=2")
    assert trainer.train()
    average_runs([tmp_path / "kept"], tmp_path / "mean")
    commands = Commands()
    commands.add(open_run(tmp_path / "mean"))
    assert commands.lines[1].split() == ["showtell", "average", "RUN1", "--out", "RUN2"]
    export_bundle(tmp_path / "mean", tmp_path / "bundle")
    card = (tmp_path / "bundle" / "card.md").read_text()
    assert "The epochs that the run kept were averaged. The recipe of the run:\n" in card


def test_a_run_that_is_gone_is_told_as_one(runs, tmp_path):
    average_runs([runs / "next1", runs / "next2"], tmp_path / "mean")
    state = tmp_path / "mean" / "checkpoints" / "00001-00000" / "state.json"
    state.write_text(state.read_text().replace(str(runs / "next1"), str(runs / "gone")))
    commands = Commands()
    commands.add(open_run(tmp_path / "mean"))
    assert commands.lines[-1].startswith("showtell average EARLIER-RUN RUN2 ")


def test_a_run_of_which_a_part_is_gone_is_told_as_one(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    for name in ("next1", "next2"):
        data = tmp_path / "runs" / name / "data.json"
        data.write_text(data.read_text().replace(str(runs), str(tmp_path / "runs")))
    (tmp_path / "runs" / "first" / "encoder.safetensors").unlink()
    commands = Commands()
    commands.add(open_run(tmp_path / "runs" / "next1"))
    assert len(commands.lines) == 1
    assert "--from EARLIER-RUN " in commands.lines[0]


def test_the_card_of_an_average_tells_how_it_was_made(runs, tmp_path):
    export_bundle(runs / "between", tmp_path / "bundle")
    card = (tmp_path / "bundle" / "card.md").read_text()
    assert "--shares 0.4,0.6 --out RUN4\nshowtell export RUN4 --to bundle --weights float32\n" in card
    assert "Of each run the best epoch counts. The recipe of the first of those averaged:\n" in card


def test_the_card_of_a_run_without_a_validation_says_so(few_shapes, tmp_path, monkeypatch):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", *LEARNING)
    monkeypatch.setattr("showtell.training.loop.stop_signals", lambda: nullcontext(lambda: True))
    assert not trainer.train()
    export_bundle(tmp_path / "run", tmp_path / "bundle")
    card = (tmp_path / "bundle" / "card.md").read_text()
    assert "Checkpoint before the first validation of the last run. The recipe as it was trained:\n" in card
    assert "`val` scores" not in card
