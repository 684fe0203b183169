"""How `showtell compare` tells what it has found: as tables, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from showtell.cli import scores
from showtell.names import printable

if TYPE_CHECKING:
    from showtell.comparison import Comparison, Contender, Scored

_NONE = "-"
_WIDE = 28  # characters of a recipe's value


def lines(contenders: Sequence[Contender], comparison: Comparison | None) -> Iterator[str]:
    """All tables: the runs, the keys in which their recipes differ, and the scores of their captions."""
    yield from _runs(contenders)
    yield ""
    yield from _keys(contenders)
    if comparison is not None:
        yield ""
        yield from _scores(comparison)


def _runs(contenders: Sequence[Contender]) -> Iterator[str]:
    """What each is, what it took, and the scores of its best epoch by its own validation."""
    told = list(dict.fromkeys(name for contender in contenders for name in contender.validation))
    rows = [["run", "recipe", "epochs", "best", "parameters", "minutes", *(f"val {name}" for name in told)]]
    for contender in contenders:
        last = contender.recipe["training"]["epochs"] if contender.epochs else 0
        rows.append(
            [
                printable(contender.name),
                printable(str(contender.recipe.get("name", _NONE))),
                f"{contender.epochs} of {last}" if contender.epochs else _NONE,
                str(contender.curves.best or _NONE),
                f"{contender.parameters:,}" if contender.parameters else _NONE,
                _NONE if contender.minutes is None else f"{contender.minutes:.1f}",
                *(
                    f"{contender.validation[name]:.{3 if name == 'loss' else 2}f}"
                    if name in contender.validation
                    else _NONE
                    for name in told
                ),
            ]
        )
    yield from scores.aligned(rows, words=[1])
    yield ""
    yield "parameters: those that learn; minutes: of training, without features and validation; val: the run's own"


def _keys(contenders: Sequence[Contender]) -> Iterator[str]:
    """Those in which the recipes differ."""
    from showtell.comparison import differing_keys

    keys = differing_keys(contenders)
    if not keys:
        yield "The recipes are the same in every key."
        return
    rows = [["differs", *(printable(contender.name) for contender in contenders)]]
    rows += [[key, *map(_value, values)] for key, values in keys.items()]
    yield from scores.aligned(rows, words=range(1, len(rows[0])))


def _value(value: Any) -> str:
    """As a recipe writes it, text without quotes."""
    from showtell.recipe_reader import toml_value

    if value is None:
        return _NONE
    text = printable(value) if isinstance(value, str) and value else toml_value(value)
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"


def _scores(comparison: Comparison) -> Iterator[str]:
    """A table for each score, one for the other figures, and how to read p."""
    first, *others = comparison.scored
    beams = [str(one.beam) for one in comparison.scored]
    beam = beams[0] if len(set(beams)) == 1 else ", ".join(beams)
    many = "s" * (comparison.pictures != 1)
    yield (
        f"Captions of {comparison.pictures:,} picture{many} of {comparison.split}, beam {beam}; "
        f"differences are from {printable(first.contender.name)}"
    )
    for name in dict.fromkeys(name for one in comparison.scored for name in one.measured.scores):
        yield ""
        yield from _score(comparison.scored, name)
    figures = list(dict.fromkeys(name for one in comparison.scored for name in one.figures))
    if figures:
        rows = [["", *figures]]
        for one in comparison.scored:
            told = (scores.figure(one.figures[name]) if name in one.figures else _NONE for name in figures)
            rows.append([printable(one.contender.name), *told])
        yield ""
        yield from scores.aligned(rows)
    if comparison.tests:
        yield ""
        yield "p: how often the two differ as much when captions change sides at random; above 0.05 it may be chance"
        yield _tests(comparison.tests, len(others))


def _score(scored: Sequence[Scored], name: str) -> Iterator[str]:
    from showtell.metrics.significance import LEVEL, confidence

    interval = f"{LEVEL:.0%} interval"
    rows = [[name, "score", interval, "difference", interval, "p", ""]]
    for one in scored:
        score, found = one.measured.scores.get(name), one.differences.get(name)
        cells = [_NONE] if score is None else [f"{100 * score.value:.2f}", scores.ends(*confidence(score))]
        if found is not None:
            p = one.corrected[name]
            cells += [f"{100 * found.difference:+z.2f}", scores.ends(found.low, found.high), f"{p:.4f}"]
            cells.append(scores.verdict(found.difference, p, "better", "worse"))
        rows.append([printable(one.contender.name), *cells])
    yield from scores.aligned(rows, words=[6])


def _tests(tests: int, others: int) -> str:
    """How many chances to find something there were, and for which of them p is corrected."""
    told = f"{tests} difference{'s were' if tests > 1 else ' was'} tested"
    if others > 1:
        return f"{told}, {others} in each score: p is corrected for these (Holm), the intervals are not"
    return told + (", one in each score: p is not corrected for that" if tests > 1 else "")


def as_json(contenders: Sequence[Contender], comparison: Comparison | None, notes: Sequence[str]) -> dict[str, Any]:
    """The same for programs; what a bundle or a run does not tell is null."""
    from showtell.comparison import differing_keys

    told: dict[str, Any] = {"notes": list(notes)}
    if comparison is not None:
        told |= {
            "split": comparison.split,
            "pictures": comparison.pictures,
            "against": comparison.scored[0].contender.name,
            "tests": comparison.tests,
        }
    told["differing"] = differing_keys(contenders)
    told["runs"] = [_as_json(contender) for contender in contenders]
    for row, one in zip(told["runs"], comparison.scored if comparison else (), strict=False):
        paired = scores.differences_as_json(dict(one.differences))
        row |= {"beam": one.beam, **scores.as_json(one.measured, dict(one.figures), ci=True)}
        row["paired"] = {name: found | {"corrected p": one.corrected[name]} for name, found in paired.items()}
    return told


def _as_json(contender: Contender) -> dict[str, Any]:
    return {
        "name": contender.name,
        "path": str(contender.path),
        "recipe": contender.recipe.get("name"),
        "epochs": contender.epochs,
        "best": contender.curves.best,
        "parameters": contender.parameters,
        "minutes": contender.minutes,
        "validation": dict(contender.validation),
    }
