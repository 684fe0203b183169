"""Plots of a data set: splits, captions, words and pictures' sizes, by matplotlib."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from showtell.figures.counts import Counts
from showtell.figures.fonts import for_matplotlib
from showtell.figures.style import FAINT, INK, QUIET, SERIES, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE = SERIES[:2]
_BARS = 40  # at most in a histogram of whole numbers; the last gathers the rest
_SEEN = 5  # times: rarer words are unknown to a vocabulary of this min_count, the default of recipes
_LONG_WORD = 18  # characters of a word that are shown
_RATIOS = {"1:3": 1 / 3, "1:2": 1 / 2, "2:3": 2 / 3, "1:1": 1, "3:2": 3 / 2, "2:1": 2, "3:1": 3}  # width : height
_MOSAIC: list[Any] = [["splits", "captions", "lengths"], ["top", "ranks", "ranks"], ["top", "sizes", "ratios"]]


def draw_plots(counts: Counts) -> "Figure":
    """All plots in one figure; to be called and written within `style.plotting`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 11), layout="constrained")
    room = {"w_pad": 0.18, "h_pad": 0.18, "wspace": 0.04, "hspace": 0.04, "rect": (0, 0, 1, 0.935)}
    figure.get_layout_engine().set(**room)  # type: ignore[union-attr]
    axes = figure.subplot_mosaic(_MOSAIC, height_ratios=(3, 4, 4), width_ratios=(3, 3.4, 3.4))
    figure.text(0.018, 0.976, _short(counts.name, 70), fontsize=17, va="top")
    figure.text(0.018, 0.948, counts.headline, color=SOFT, fontsize=10.5, va="top")
    _splits(axes["splits"], counts)
    _whole_numbers(axes["captions"], counts.captions, "Captions of a picture", "captions", "pictures")
    _whole_numbers(axes["lengths"], counts.lengths, "Words of a caption", "words", "captions")
    _top_words(axes["top"], counts)
    _ranks(axes["ranks"], counts)
    measured = len(counts.sizes)
    every = measured == counts.captions.total()
    _sizes(axes["sizes"], counts, "Sizes of pictures" if every else f"Sizes of {measured:,} pictures")
    _ratios(axes["ratios"], counts)
    return figure


def _splits(axes: "Axes", counts: Counts) -> None:
    names = {"none": "no split"}
    rows = list(counts.pictures.items())[::-1]
    colours = [_BLUE if counts.split in (None, name) else QUIET for name, _ in rows]
    bars = axes.barh([names.get(name, name) for name, _ in rows], [number for _, number in rows], 0.62, color=colours)
    axes.bar_label(bars, [f"{number:,}" for _, number in rows], padding=5, color=SOFT, fontsize=9)
    axes.set(title="Pictures in each split", xticks=[])
    axes.set_xlim(0, 1.22 * max(counts.pictures.values()))
    axes.set_ylim(-0.75, max(len(rows), 3) - 0.25)
    axes.grid(False)


def _whole_numbers(axes: "Axes", counts: Counter[int], title: str, unit: str, of: str) -> None:
    """A bar for each number, or for each few; below them the median and the ends."""
    values = np.repeat(list(counts), list(counts.values())) if counts else np.zeros(1, int)
    low, median, high = int(values.min()), float(np.median(values)), int(values.max())
    last = max(low + 1, int(np.quantile(values, 0.999))) if high - low > _BARS else high
    last = last if high > 1.5 * last else high  # a few that are far off would press all others together
    step = -(-(last - low + 1) // _BARS)  # numbers in a bar
    edges = np.arange(low, last + step + 1, step)
    heights, _ = np.histogram(np.minimum(values, edges[-1] - 0.5), edges)
    axes.bar(edges[:-1] + (step - 1) / 2, heights, 0.82 * step, color=_BLUE)
    axes.set(title=title, xlabel=f"{unit}, {low} to {high}, median {median:g}" if high > low else unit)
    axes.set_ylabel(of)
    if high > edges[-1] - 1:
        axes.annotate(
            f"the last bar holds\nall up to {high:,}",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="top",
            color=FAINT,
            fontsize=8.5,
        )
    axes.grid(False, axis="x")
    margin = 0.8 * step if high > low else 3
    axes.set_xlim(edges[0] - margin, edges[-1] - 1 + margin)
    axes.set_ylim(0, 1.06 * max(heights.max(), 1))
    _thousands(axes, "x")
    _thousands(axes, "y")
    if low == high:
        axes.set_xticks([low])


def _top_words(axes: "Axes", counts: Counts) -> None:
    rows = counts.top[::-1]
    total = max(counts.words.total(), 1)
    axes.set_title("Most frequent words")
    if not rows:
        _nothing(axes, "no word")
        return
    places = range(len(rows))
    bars = axes.barh(places, [number for _, number in rows], 0.68, color=_BLUE)
    axes.set_yticks(places, [_short(word, _LONG_WORD) for word, _ in rows])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=10)
    axes.bar_label(bars, [f"{100 * number / total:.1f} %" for _, number in rows], padding=4, color=SOFT, fontsize=8.5)
    axes.set_xlim(0, 1.2 * rows[-1][1])
    axes.set_ylim(-0.7, max(len(rows), 8) - 0.3)
    axes.set_xlabel("times, and share of all words")
    axes.grid(False, axis="y")
    _thousands(axes, "x", ticks=4)


def _ranks(axes: "Axes", counts: Counts) -> None:
    axes.set_title("How often the words occur")
    times = np.sort(np.array(list(counts.words.values()), int))[::-1]
    if not len(times):
        _nothing(axes, "no word")
        return
    ranks = np.arange(1, len(times) + 1)
    axes.loglog(ranks, times, color=_BLUE, marker="o" if len(times) < 30 else None, markersize=4)
    frequent = int((times >= _SEEN).sum())
    if 0 < frequent < len(times):
        axes.axvline(frequent, color=_ORANGE, linewidth=1.2)
        rare = frequent < len(times) ** 0.7  # then there is room to the right
        axes.annotate(
            f"{frequent:,} words occur\n{_SEEN} times or more",
            (frequent, 1),
            (7 if rare else -7, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left" if rare else "right",
            va="top",
            color=SOFT,
            fontsize=9,
        )
    axes.set(xlabel="rank of the word", ylabel="times")
    axes.set_xlim(0.8, max(10, 1.6 * len(times)))
    axes.set_ylim(0.8, max(10, 12 * times[0]))  # room for the text above the curve
    for axis in ("x", "y"):
        _thousands(axes, axis)


def _sizes(axes: "Axes", counts: Counts, title: str) -> None:
    axes.set_title(title)
    if not counts.sizes:
        _nothing(axes, "no picture could be read")
        return
    sizes = Counter(counts.sizes)
    width, height = np.array(list(sizes), float).T
    number = np.array(list(sizes.values()), float)
    area = 10 + 150 * number / max(number.max(), 20)  # square points
    axes.scatter(width, height, area, color=_BLUE, alpha=0.4, linewidths=0)
    for limits, values in ((axes.set_xlim, width), (axes.set_ylim, height)):
        limits(0, 1.12 * values.max())
    if max(width.max(), height.max()) > 30 * min(width.min(), height.min()):
        axes.set(xscale="log", yscale="log")
        axes.set_xlim(0.8 * width.min(), 1.3 * width.max())
        axes.set_ylim(0.8 * height.min(), 1.3 * height.max())
    (wide, high), most = sizes.most_common(1)[0]
    share = 100 * most / len(counts.sizes)
    axes.set(xlabel=f"width, pixels; most often {wide} × {high}, {share:.0f} % of pictures", ylabel="height, pixels")
    for axis in ("x", "y"):
        _thousands(axes, axis)


def _ratios(axes: "Axes", counts: Counts) -> None:
    axes.set_title("Proportions of pictures")
    if not counts.sizes:
        _nothing(axes, "no picture could be read")
        return
    ratios = np.array([width / height for width, height in counts.sizes])
    end = float(np.log2(3.4))
    edges = np.linspace(-end, end, 42)  # 1:1 in the middle of a bin
    heights, _ = np.histogram(np.clip(np.log2(ratios), -end, end), edges)
    axes.bar((edges[:-1] + edges[1:]) / 2, heights, 0.9 * (edges[1] - edges[0]), color=_BLUE)
    axes.set_xticks(np.log2(list(_RATIOS.values())), list(_RATIOS))
    axes.set_xlim(-end, end)
    axes.set_ylim(0, 1.06 * heights.max())
    axes.set(xlabel="width : height", ylabel="pictures")
    axes.grid(False, axis="x")
    _thousands(axes, "y")


def _nothing(axes: "Axes", why: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=10)


def _thousands(axes: "Axes", axis: str, ticks: int = 6) -> None:
    """Whole numbers as people write them: 1,000 and no power of ten."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    chosen = axes.xaxis if axis == "x" else axes.yaxis
    if axes.get_xscale() == "linear":
        chosen.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    chosen.set_minor_formatter(NullFormatter())


def _short(text: str, most: int) -> str:
    text = for_matplotlib(text)
    return text if len(text) <= most else text[: most - 1] + "…"
