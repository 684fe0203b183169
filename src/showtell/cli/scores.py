"""How `showtell score` and `showtell evaluate` tell scores: as a table, as JSON, and picture by picture in a file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from showtell.cli.options import check_file
from showtell.errors import DataError

if TYPE_CHECKING:
    from showtell.metrics.measure import Measured
    from showtell.metrics.significance import Paired

POINTS = 100  # scores are told in points of 100, as papers print them
CHANCE = 0.05  # a p above is told as chance
_DECIMALS = 6  # of a picture's points


def names_of(
    metrics: str | None, documents: Path | None, spice_models: Path | None, per_picture: Path | None
) -> tuple[str, ...]:
    """The metrics that are asked for. Raises `UsageError` on wrong options, before anything is read."""
    from showtell.metrics.measure import metric_names

    try:
        names = metric_names(metrics)
    except DataError as error:
        raise click.UsageError(f"--metrics {metrics}: {error}") from error
    if documents and not any(name.startswith("CIDEr") for name in names):
        raise click.UsageError("--documents is for CIDEr; add cider to --metrics")
    if spice_models and "SPICE" not in names:
        raise click.UsageError("--spice-models is for SPICE; add spice to --metrics")
    if per_picture and per_picture.suffix.lower() not in (".csv", ".jsonl"):
        raise click.UsageError(f"--per-picture {per_picture}: expected a file name that ends in .csv or .jsonl")
    check_file("--per-picture", per_picture)
    return names


def tell_missing(sets: Sequence[Measured]) -> bool:
    """Name on standard error, once, what was asked for and is missing; whether that is so."""
    missing = dict(entry for measured in sets for entry in measured.missing.items())
    for name, reason in missing.items():
        click.echo(f"showtell: {name} is left out: {reason}", err=True)
    return bool(missing)


def as_json(measured: Measured, figures: dict[str, float], *, ci: bool) -> dict[str, Any]:
    """Scores in points of 100 and other figures; intervals and reasons only where there are any."""
    from showtell.metrics.significance import confidence

    scores = {name: _number(POINTS * score.value) for name, score in measured.scores.items()}
    told: dict[str, Any] = {"scores": scores | figures}
    if ci:
        both = {name: confidence(score) for name, score in measured.scores.items()}
        told["intervals"] = {name: [_number(POINTS * end) for end in pair] for name, pair in both.items()}
    if measured.missing:
        told["missing"] = measured.missing
    return told


def compare(ours: Measured, theirs: Measured) -> dict[str, Paired]:
    """The paired test of each metric that both have."""
    from showtell.metrics.significance import paired

    return {name: paired(score, theirs.scores[name]) for name, score in ours.scores.items() if name in theirs.scores}


def differences_as_json(compared: dict[str, Paired]) -> dict[str, dict[str, float | None]]:
    """Differences with their intervals in points of 100, and p."""
    told: dict[str, dict[str, float | None]] = {}
    for name, found in compared.items():
        points = {"difference": found.difference, "low": found.low, "high": found.high}
        told[name] = {key: _number(POINTS * value) for key, value in points.items()} | {"p": found.p}
    return told


def table(measured: Measured, figures: dict[str, float], *, ci: bool) -> Iterator[str]:
    """Lines of a table of one set of candidates."""
    from showtell.metrics.significance import LEVEL, confidence

    rows = [["", "score", *([f"{LEVEL:.0%} interval"] if ci else [])]]
    for name, score in measured.scores.items():
        rows.append([name, f"{POINTS * score.value:.2f}", *([ends(*confidence(score))] if ci else [])])
    rows += [[name, figure(value)] for name, value in figures.items()]
    return aligned(rows)


def versus_table(ours: Measured, theirs: Measured, compared: dict[str, Paired], *, ci: bool) -> Iterator[str]:
    """Lines of a table of two sets of candidates, A and B."""
    from showtell.metrics.significance import LEVEL, confidence

    interval = f"{LEVEL:.0%} interval"
    each = ["A", interval, "B", interval] if ci else ["A", "B"]
    rows = [["", *each, "A - B", interval, "p", ""]]
    for name, found in compared.items():
        cells = []
        for score in (ours.scores[name], theirs.scores[name]):
            cells += [f"{POINTS * score.value:.2f}", *([ends(*confidence(score))] if ci else [])]
        difference = f"{POINTS * found.difference:+z.2f}"
        said = verdict(found.difference, found.p, "A is better", "B is better")
        rows.append([name, *cells, difference, ends(found.low, found.high), f"{found.p:.4f}", said])
    for name, value in ours.figures.items():
        gap = [""] if ci else []
        rows.append([name, figure(value), *gap, figure(theirs.figures[name])])
    return aligned(rows, words=[len(rows[0]) - 1])


def verdict(difference: float, p: float, better: str, worse: str) -> str:
    """What a difference says that is printed with two places: one that these do not show is none."""
    if abs(POINTS * difference) < 0.005:
        return "equal"
    if p > CHANCE:
        return "may be chance"
    return better if difference > 0 else worse


def ends(low: float, high: float) -> str:
    """An interval, in points of 100."""
    return f"{POINTS * low:z.2f} .. {POINTS * high:z.2f}"


def figure(value: float) -> str:
    """A figure that is no score: a share, a mean or a count."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]], words: Collection[int] = ()) -> Iterator[str]:
    """Lines of a table whose first row is its header; none where there is nothing below it.

    Columns are to the right, save the first and those of `words`.
    """
    if len(rows) < 2:
        return
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = (
            cell.ljust(width) if i in (0, *words) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        yield "  ".join(cells).rstrip()


def write_per_picture(
    path: Path, pictures: Sequence[str], sets: Sequence[tuple[str, Sequence[Sequence[str]], Measured]]
) -> None:
    """Write a row for each candidate: picture, (of several sets the file,) caption, and its points of 100.

    `sets` are name, candidates of each picture, and what was measured of them. As CSV or JSON lines, by the ending;
    the file appears whole or not at all.
    """
    from showtell.writers.aside import write_aside

    with write_aside(path) as out:
        rows = _rows(pictures, sets)
        if path.suffix.lower() == ".csv":
            writer = csv.writer(out, lineterminator="\n")
            for i, row in enumerate(rows):
                if i == 0:
                    writer.writerow(row)
                writer.writerow(_utf8(value) if isinstance(value, str) else value for value in row.values())
        else:
            for row in rows:
                text = json.dumps(row, ensure_ascii=False)
                out.write((text if _utf8(text) == text else json.dumps(row)) + "\n")


def _rows(
    pictures: Sequence[str], sets: Sequence[tuple[str, Sequence[Sequence[str]], Measured]]
) -> Iterable[dict[str, str | float | None]]:
    for name, candidates, measured in sets:
        columns = {metric: score.per_picture.tolist() for metric, score in measured.of_candidates.items()}
        number = 0
        for picture, captions in zip(pictures, candidates, strict=True):
            for caption in captions:
                row: dict[str, str | float | None] = {"id": picture}
                if len(sets) > 1:
                    row["file"] = name
                row["caption"] = caption
                row |= {
                    metric: _number(round(POINTS * column[number], _DECIMALS)) for metric, column in columns.items()
                }
                yield row
                number += 1


def _number(value: float) -> float | None:
    """JSON has no NaN, which is what a metric gives where it could not score."""
    return None if math.isnan(value) else value


def _utf8(text: str) -> str:
    """Lone surrogates, which JSON can hold and UTF-8 cannot, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
