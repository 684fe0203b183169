"""The picture of a comparison: curves, and each score with its interval in the colour of its run."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from drawn_texts import unreadable
from showtell.comparison import Comparison, Contender, Scored
from showtell.figures.comparison import draw_comparison
from showtell.figures.curves import Curves
from showtell.figures.style import SERIES, plotting
from showtell.metrics.measure import Measured
from showtell.metrics.score import mean_score
from showtell.metrics.significance import confidence, paired

THREE = tuple({"epoch": i, "train loss": 5.0 / i, "val loss": 6.0 / i, "val CIDEr": 9.0 * i} for i in (1, 2, 3))


def contender(name, history=THREE):
    return Contender(
        name=name,
        path=Path(name),
        recipe={},
        curves=Curves(name, history, 3 if history else None),
        validation={},
        takes_regions=False,
    )


def compared(contenders, metrics=("BLEU-4", "CIDEr")):
    """Comparison of contenders, of which each is a little better than the one before."""
    scored = []
    for number, one in enumerate(contenders):
        random = np.random.default_rng(0)
        scores = {name: mean_score(name, random.random(40) + number / 20) for name in metrics}
        against = scored[0].measured.scores if scored else {}
        found = {name: paired(score, against[name]) for name, score in scores.items() if name in against}
        chances = {name: difference.p for name, difference in found.items()}
        scored.append(Scored(one, 3, Measured(scores, scores, {}), {}, found, chances))
    return Comparison("val", 40, (), tuple(scored))


def draw(contenders, comparison):
    with plotting("showtell compare --out", " ".join(one.name for one in contenders)):
        return draw_comparison(contenders, comparison)


def test_scores_stand_behind_the_curves_in_the_same_colours():
    runs = [contender("a"), contender("b")]
    comparison = compared(runs)
    figure = draw(runs, comparison)
    loss, validation, bleu, cider = figure.axes
    assert bleu.get_title(loc="left") == "BLEU-4 on val, 95% intervals"
    assert validation.get_title(loc="left").startswith("CIDEr on the validation split")
    assert [line.get_color() for line in loss.lines if len(line.get_xdata()) == 3][::2] == list(SERIES[:2])
    for number, one in enumerate(comparison.scored):
        score = one.measured.scores["CIDEr"]
        interval, dot = (line for line in cider.lines if set(line.get_ydata()) == {number})
        assert (interval.get_color(), dot.get_color()) == (SERIES[number],) * 2
        assert list(interval.get_xdata()) == pytest.approx([100 * end for end in confidence(score)])
        assert list(dot.get_xdata()) == [pytest.approx(100 * score.value)]
    first, second = (100 * one.measured.scores["CIDEr"].value for one in comparison.scored)
    assert [text.get_text() for text in cider.texts] == ["a", f"{first:.1f}", "b", f"{second:.1f}   +5.0, p < 0.001"]
    low, high = cider.get_ylim()
    assert low > high  # the first on top


def test_without_captions_there_are_the_curves_alone():
    runs = [contender("a"), contender("b")]
    assert len(draw(runs, None).axes) == 2


def test_bundles_have_no_curves():
    mixed = [contender("bundle", ()), contender("run")]
    assert len(draw(mixed, compared(mixed)).axes) == 4
    bundles = [contender("a", ()), contender("b", ())]
    assert len(draw(bundles, compared(bundles)).axes) == 2


def test_a_score_that_one_run_lacks_leaves_its_line_empty():
    runs = [contender("a"), contender("b")]
    comparison = compared(runs)
    del comparison.scored[1].measured.scores["CIDEr"]
    assert len(draw(runs, comparison).axes[-1].lines) == 3  # interval and dot of the first, and its score's line


CASES = {
    "two": (["a", "b"], ("CIDEr",)),
    "four": (["transformer", "topic", "show-attend-tell", "merge"], ("BLEU-4", "CIDEr")),
    "all scores": (["a", "b", "c"], ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")),
    "long names": ([f"{'a very long name ' * 6}{i}" for i in range(3)], ("BLEU-4", "CIDEr")),
    "many": ([f"run {i}" for i in range(17)], ("BLEU-4", "CIDEr")),
}


@pytest.mark.parametrize("history", [THREE, ()], ids=["curves", "no curves"])
@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_or_covered(case, history):
    names, metrics = CASES[case]
    runs = [contender(name, history) for name in names]
    comparison = compared(runs, metrics)
    with plotting("showtell compare --out", " ".join(names)):
        assert unreadable(draw_comparison(runs, comparison)) == []


def test_scores_near_nothing_have_an_axis_of_points():
    runs = [contender("a"), contender("b")]
    scores = [mean_score("BLEU-4", np.full(40, value)) for value in (1e-9, 2e-9)]
    scored = [
        Scored(run, 3, Measured({"BLEU-4": s}, {"BLEU-4": s}, {}), {}, {}, {})
        for run, s in zip(runs, scores, strict=True)
    ]
    *_, panel = draw(runs, Comparison("val", 40, (), tuple(scored))).axes
    low, high = panel.get_xlim()
    assert high - low >= 1
