"""Curves of runs: what is read of a run, how it is called, what is drawn."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from showtell.errors import CheckpointError
from showtell.figures.curves import Curves, draw_curves, names_of, read_curves
from showtell.figures.style import SERIES, figure_bytes, plotting


def epoch(number: int, cider: float | None = None, loss: float = 3.0, **scores: float) -> dict:
    entry = {"epoch": number, "train loss": loss, "learning rate": 1e-3, "words/s": 900, "seconds": 1.5, "best": False}
    if cider is not None:
        entry |= {"val loss": loss + 0.5, "val CIDEr": cider, "val BLEU-4": cider / 3}
    return entry | {f"val {name}": value for name, value in scores.items()}


def write_run(folder: Path, history: list[dict], best: str = "", step: int = 0) -> Path:
    checkpoint = folder / "checkpoints" / f"{len(history):05d}-{step:05d}"
    checkpoint.mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    progress = {"epoch": len(history), "step": step, "best": best, "history": history}
    (checkpoint / "state.json").write_text(json.dumps({"progress": progress, "torch": "2"}))
    return folder


THREE = [epoch(1, 10.0, 5.0), epoch(2, 30.0, 4.0), epoch(3, 20.0, 3.0)]


def test_a_run_tells_its_epochs_and_the_best_of_them(tmp_path):
    run = read_curves(write_run(tmp_path / "run", THREE, best="00002-00000"), "mine")
    assert run.best == 2
    assert run.series("train loss") == ([1, 2, 3], [5.0, 4.0, 3.0])
    assert run.series("val CIDEr") == ([1, 2, 3], [10.0, 30.0, 20.0])
    assert run.scores == ["CIDEr", "BLEU-4"]
    assert run.summary == "3 epochs, best 2: loss 4.500, CIDEr 30.0, BLEU-4 10.0"


def test_without_validation_no_epoch_is_the_best(tmp_path):
    run = read_curves(write_run(tmp_path / "run", [epoch(1)], best="00001-00000"), "mine")
    assert run.best is None
    assert run.scores == []
    assert run.summary == "1 epoch, train loss 3.000"


def test_epochs_that_were_not_validated_are_left_out_of_that_curve(tmp_path):
    history = [epoch(1), epoch(2, 10.0), epoch(3), epoch(4, math.nan)]
    run = read_curves(write_run(tmp_path / "run", history, best="00002-00000"), "mine")
    assert run.series("val CIDEr") == ([2], [10.0])
    assert run.series("train loss")[0] == [1, 2, 3, 4]


def test_a_score_that_the_best_epoch_lacks_is_not_told():
    assert mine([epoch(1, METEOR=1.0), epoch(2, 9.0)]).summary == "2 epochs, best 2: loss 3.500, CIDEr 9.0, BLEU-4 3.0"


def test_a_run_without_a_finished_epoch_says_so(tmp_path):
    run = write_run(tmp_path / "run", [], step=112)
    with pytest.raises(CheckpointError, match=r"run: no finished epoch yet, 112 steps of the first are done; wait for"):
        read_curves(run, "mine")


def test_runs_are_called_by_what_tells_them_apart():
    assert names_of([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert names_of([Path("one/run"), Path("two/run"), Path("two/x")]) == ["one/run", "two/run", "two/x"]
    assert names_of([Path("runs/a"), Path("runs/../runs/a")]) == ["a", "a"]


def mine(history=THREE, name="mine", best: int | None = 2) -> Curves:
    return Curves(name, tuple(history), best)


def draw(*runs: Curves):
    with plotting("showtell plot", " ".join(run.name for run in runs)):
        return draw_curves(runs)


def test_each_score_has_a_panel_and_the_best_epoch_a_dot():
    figure = draw(mine())
    loss, cider, bleu = figure.axes
    assert [axes.get_title(loc="left").split(" ")[0] for axes in figure.axes] == ["Loss", "CIDEr", "BLEU-4"]
    training, validation, dot = loss.lines
    assert list(training.get_ydata()) == [5.0, 4.0, 3.0]
    assert list(validation.get_ydata()) == [5.5, 4.5, 3.5]
    assert training.get_linestyle() != validation.get_linestyle()
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([2], [4.5])
    assert (list(cider.lines[1].get_xdata()), list(cider.lines[1].get_ydata())) == ([2], [30.0])
    assert bleu.get_ylim()[0] == 0


def test_runs_are_told_apart_by_colour_and_by_shape_where_colours_end():
    runs = [mine(name=f"run {i}") for i in range(len(SERIES) + 1)]
    lines = [line for line in draw(*runs).axes[1].lines if len(line.get_xdata()) == 3]
    looks = [(line.get_color(), line.get_marker()) for line in lines]
    assert len(set(looks)) == len(runs)
    assert [colour for colour, _ in looks] == [*SERIES, SERIES[0]]


def test_a_score_that_only_one_run_has_gets_a_panel_too():
    figure = draw(mine(), mine([epoch(1, 10.0, METEOR=20.0), epoch(2, 11.0, METEOR=22.0)]))
    assert [axes.get_title(loc="left").split(" ")[0] for axes in figure.axes] == ["Loss", "CIDEr", "BLEU-4", "METEOR"]
    assert len(figure.axes[3].lines) == 2  # the curve and its dot


CASES = {
    "one": [mine()],
    "one epoch": [mine([epoch(1, 10.0)], best=1)],
    "no validation": [mine([epoch(1), epoch(2)], best=None)],
    "a long name and no validation": [mine([epoch(1), epoch(2)], name="a very long name " * 9, best=None)],
    "wide characters": [mine([epoch(1)], name="名前" * 60, best=None)],
    "many": [mine(name=f"{'name ' * 12}{i}") for i in range(17)],
    "long": [mine([epoch(i, 10.0 + i / 100) for i in range(1, 1200)], best=1199)],
    "rising loss": [mine([epoch(i, 30.0 - i, loss=1.0 + i) for i in range(1, 20)], best=1)],
    "signs": [mine(name="$a_b^c$ \u2066x\x1b[31m 🐶")],
}


@pytest.mark.parametrize("name", CASES)
def test_no_text_is_cut_or_covered(name):
    from drawn_texts import unreadable

    runs = CASES[name]
    with plotting("showtell plot", " ".join(run.name for run in runs)):
        assert unreadable(draw_curves(runs)) == []


def test_curves_are_the_same_to_the_byte():
    with plotting("showtell plot"):
        assert figure_bytes(draw_curves([mine()])) == figure_bytes(draw_curves([mine()]))


def test_scores_near_nothing_have_an_axis_of_points():
    figure = draw(mine([epoch(1, 1e-9, **{"BLEU-4": 8e-8}), epoch(2, 0.0, **{"BLEU-4": 7e-8})]))
    assert [axes.get_ylim() for axes in figure.axes[1:]] == [(0, 1), (0, 1)]
