"""Curves of runs: the loss of training and validation and the validation scores, epoch by epoch, by matplotlib."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from showtell.errors import CheckpointError
from showtell.figures.fonts import for_matplotlib
from showtell.figures.style import PAPER, SERIES, SOFT
from showtell.training.progress import read_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P")  # change where the colours begin again
_TRAINING: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 1.4}
_COLUMNS = 3  # panels beside each other
_MANY = 6  # runs from which their names stand in two columns


Panel: TypeAlias = Callable[["Axes"], None]  # draws what a panel holds


@dataclass(frozen=True)
class Curves:
    """What a run has told so far. `history` has one entry an epoch, as `training.progress.Progress.history`."""

    name: str
    history: tuple[dict[str, Any], ...]
    best: int | None  # the epoch with the best validation score; None where nothing was validated

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs that have a finite value of `key`, such as "train loss" or "val CIDEr", and the values."""
        points = [(entry["epoch"], entry[key]) for entry in self.history if math.isfinite(entry.get(key, math.nan))]
        return [epoch for epoch, _ in points], [value for _, value in points]

    @property
    def scores(self) -> list[str]:
        """Names of the validation scores, as "CIDEr"."""
        names = (key.removeprefix("val ") for entry in self.history for key in entry if key.startswith("val "))
        return [name for name in dict.fromkeys(names) if name != "loss"]

    @property
    def summary(self) -> str:
        """One line: epochs, the best of them and its scores."""
        if not self.history:
            return "no curves"
        count = len(self.history)
        line = f"{count} epoch{'s' * (count != 1)}"
        entry = next((entry for entry in self.history if entry["epoch"] == self.best), None)
        if entry is None:
            last = self.history[-1]
            ends = [f"{name} {last[name]:.3f}" for name in ("train loss", "train reward") if name in last]
            return ", ".join((line, *ends))
        values = {name: entry.get(f"val {name}") for name in ("loss", *self.scores)}
        told = [f"{name} {value:.{_decimals(name)}f}" for name, value in values.items() if value is not None]
        return f"{line}, best {self.best}: {', '.join(told)}"


def read_curves(run: Path, name: str) -> Curves:
    """A run's curves so far. Raises `CheckpointError` where it is no run or has not finished an epoch."""
    progress = read_progress(run)
    if progress.is_average:
        raise CheckpointError(f"{run}: is an average, which has no curves; name the runs that it was made from")
    if not progress.history:
        raise CheckpointError(
            f"{run}: no finished epoch yet, {progress.step:,} steps of the first are done; wait for its end"
        )
    validated = any(key.startswith("val ") for entry in progress.history for key in entry)
    best = int(progress.best.split("-")[0]) if validated and progress.best else None
    return Curves(name, tuple(progress.history), best)


def names_of(runs: Sequence[Path]) -> list[str]:
    """The runs' folder names, with as many folders before them as tell them apart."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def look_of(number: int) -> tuple[str, str]:
    """Colour and marker of a run by its number from 0."""
    return SERIES[number % len(SERIES)], _MARKERS[number // len(SERIES) % len(_MARKERS)]


def draw_curves(runs: Sequence[Curves], more: Sequence[Panel] = ()) -> "Figure":
    """A panel for the loss and one for each score; to be called and written within `style.plotting`.

    `more` draw what else there is of the runs, each in a panel behind those; runs then need no curves.
    """
    from matplotlib.figure import Figure

    scores = list(dict.fromkeys(name for run in runs for name in run.scores))
    told = 1 + len(scores) if any(run.history for run in runs) else 0  # panels of curves
    columns = min(_COLUMNS, told + len(more))
    rows = math.ceil((told + len(more)) / columns)
    named = math.ceil(len(runs) / (2 if len(runs) >= _MANY and columns > 1 else 1))  # lines of names
    labels = [f"{short(run.name)}: {run.summary}" for run in runs]
    across = math.ceil(len(runs) / named) * max(map(_inches, labels))
    size = max(6.4, 4.4 * columns, across), 3.8 * rows + 0.6 + 0.24 * named
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.16, h_pad=0.14, wspace=0.03, hspace=0.03)  # type: ignore[union-attr,call-arg]
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    if told:
        _loss(panels[0], runs)
    for axes, name in zip(panels[1:told], scores, strict=True):
        axes.set_title(f"{name} on the validation split")
        axes.set_ylabel("points of 100")
        for i, run in enumerate(runs):
            _line(axes, run, f"val {name}", i)
        highest = max((value for run in runs for value in run.series(f"val {name}")[1]), default=0.0)
        axes.set_ylim(0, max(1.06 * highest, 1.0))  # room for the best epoch's dot; near 0 no axis of 1e-8
    for axes in panels[:told]:
        _epochs(axes, runs)
    for axes, draw in zip(panels[told:], more, strict=False):
        draw(axes)
    for axes in panels[told + len(more) :]:
        axes.remove()
    _names(figure, labels, named, trained=told > 0, validated=any(run.best is not None for run in runs))
    return figure


def _loss(axes: "Axes", runs: Sequence[Curves]) -> None:
    axes.set_title("Loss")
    axes.set_ylabel("nats a word")
    for i, run in enumerate(runs):
        _line(axes, run, "train loss", i, **_TRAINING)
        _line(axes, run, "val loss", i)


def _line(axes: "Axes", run: Curves, key: str, number: int, **style: Any) -> None:
    """One curve, with a dot at the best epoch if it is one of validation."""
    colour, marker = look_of(number)
    epochs, values = run.series(key)
    if not epochs:
        return
    marked = len(epochs) == 1 or (number >= len(SERIES) and not style)
    every = max(1, len(epochs) // 8)
    axes.plot(epochs, values, color=colour, marker=marker if marked else None, markersize=5, markevery=every, **style)
    if key.startswith("val ") and run.best in epochs:
        value = values[epochs.index(run.best)]
        axes.plot([run.best], [value], marker, color=colour, markersize=9, markeredgecolor=PAPER, markeredgewidth=1.5)


def _epochs(axes: "Axes", runs: Sequence[Curves]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [entry["epoch"] for run in runs for entry in run.history]
    first, last = min(epochs), max(epochs)
    room = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.grid(False, axis="x")


def _names(figure: "Figure", labels: Sequence[str], lines: int, trained: bool, validated: bool) -> None:
    """The runs above the panels, each with its summary; below the panels what kinds of line there are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5) for colour, marker in map(look_of, range(len(labels)))
    ]
    columns = math.ceil(len(labels) / lines)
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, fontsize=10.5, labelspacing=0.4)
    kinds = [Line2D([], [], color=SOFT, label="training", **_TRAINING)] if trained else []
    if validated:
        dot: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 8, "markeredgecolor": PAPER}
        kinds += [Line2D([], [], color=SOFT, label="validation"), Line2D([], [], color=SOFT, label="best epoch", **dot)]
    if kinds:
        figure.legend(handles=kinds, loc="outside lower left", ncols=len(kinds), labelcolor=SOFT)


def _inches(label: str) -> float:
    """About how wide a run's line in the legend is."""
    return 0.9 + 0.088 * sum(2 if character > "\u2100" else 1 for character in label)  # signs and ideographs are wide


def short(name: str, most: int = 40) -> str:
    """A name that matplotlib can draw, its middle left out where it is longer than `most` characters."""
    name = for_matplotlib(name)
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"


def _decimals(name: str) -> int:
    return 3 if name == "loss" else 1
