"""Curves of runs beside the scores of their captions, each score with its interval, by matplotlib."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from showtell.comparison import Comparison, Contender, Scored
from showtell.figures.curves import Panel, draw_curves, look_of, short
from showtell.figures.style import INK, PAPER
from showtell.metrics.significance import LEVEL, confidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 100  # scores are told in points of 100, as papers print them
_NAME = 18  # characters of a run's name beside its score
_ROWS = 7  # runs up to which the letters keep their size
_ROWS_OF_ROOM = 4  # fewer stand on top of as much room, close together
_LEAST = 0.001  # a p below is not told in digits


def draw_comparison(contenders: Sequence[Contender], comparison: Comparison | None) -> "Figure":
    """Curves, and behind them a panel for each score of the captions; to be written within `style.plotting`."""
    panels: list[Panel] = []
    if comparison is not None:
        names = dict.fromkeys(name for one in comparison.scored for name in one.measured.scores)
        panels = [partial(_scores, comparison=comparison, metric=name) for name in names]
    return draw_curves([contender.curves for contender in contenders], panels)


def _scores(axes: "Axes", comparison: Comparison, metric: str) -> None:
    """A line for each run, the first on top; above it its name, the score, the difference from the first, and p."""
    count = len(comparison.scored)
    size = min(9.0, 9.0 * _ROWS / count)  # points
    for number, one in enumerate(comparison.scored):
        if metric not in one.measured.scores:
            continue
        colour, marker = look_of(number)
        score = one.measured.scores[metric]
        axes.plot(
            [_POINTS * end for end in confidence(score)], [number, number], color=colour, linewidth=2.6, alpha=0.55
        )
        axes.plot([_POINTS * score.value], [number], marker, color=colour, markersize=min(7.5, 0.85 * size))
        if number == 0:
            axes.axvline(_POINTS * score.value, color=colour, linewidth=1.2, linestyle=(0, (1, 2)), alpha=0.7, zorder=0)
        for place, side, text in ((0, "left", short(one.contender.name, _NAME)), (1, "right", _told(one, metric))):
            axes.text(
                *(place, number - 0.3, text),
                transform=axes.get_yaxis_transform(),
                ha=side,
                va="center",
                fontsize=size,
                color=INK,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
            )
    axes.set_title(f"{metric} on {comparison.split}, {LEVEL:.0%} intervals")
    axes.set_xlabel("points of 100; difference from the first, p" if comparison.tests else "points of 100")
    axes.set_yticks([])
    axes.set_ylim(max(count, _ROWS_OF_ROOM) - 0.55, -0.65)
    axes.grid(False, axis="y")
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    if high - low < 1:  # a point at least: of scores near 0 no axis of 1e-8
        axes.set_xlim(min((low + high) / 2 - 0.5, low), max((low + high) / 2 + 0.5, high))


def _told(one: Scored, metric: str) -> str:
    told = f"{_POINTS * one.measured.scores[metric].value:.1f}"
    if metric not in one.differences:
        return told
    p = one.corrected[metric]
    chance = f"p {p:.3f}" if p >= _LEAST else f"p < {_LEAST}"
    return f"{told}   {_POINTS * one.differences[metric].difference:+.1f}, {chance}"
