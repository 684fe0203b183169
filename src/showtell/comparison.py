"""Runs side by side: what each is, in which keys their recipes differ, and which captions better by more than chance.

All but the captions is read from what the runs hold, without PyTorch, which only a run that was never exported needs.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from showtell.bundle import read_manifest
from showtell.caption import Failure
from showtell.captioner import Captioner
from showtell.data.example import Example
from showtell.errors import CheckpointError, DataError, RecipeError
from showtell.evaluation import Evaluation, evaluate
from showtell.figures.curves import Curves, read_curves
from showtell.metrics.measure import Measured, measure, tokenize_references
from showtell.metrics.significance import Paired, holm, paired
from showtell.model_folder import MANIFEST
from showtell.recipe import FILES
from showtell.recipe_reader import recipe_from_dict
from showtell.training.exported import recipe_of_run
from showtell.training.progress import latest_checkpoint, read_progress

START_FROM = "--from"  # beside the keys of recipes: the run whose weights one began with

_TABLES = (START_FROM, "encoder", "decoder", "vocabulary", "training", "decoding")
_LEARNT = (".exp_avg", ".square_avg")  # what optimizers keep of each parameter that learns


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A run, an average or a bundle. A bundle and an average have no curves; a bundle tells nothing of its data."""

    name: str
    path: Path
    recipe: Mapping[str, Any]  # as `Recipe.to_dict`
    curves: Curves
    validation: Mapping[str, float]  # of the best epoch by the run itself: "loss" in nats a word, others of 100
    takes_regions: bool  # from files, in place of pictures
    parameters: int | None = None  # that learn; None where nothing tells
    fingerprint: str | None = None  # of the data set with its splits
    learnt_from: frozenset[str] = frozenset()  # ids of the pictures of its train split, and of runs that it came from
    start_from: str | None = None  # folder of the run whose weights it began with

    @property
    def epochs(self) -> int | None:
        """That a run has done; None of a bundle."""
        return len(self.curves.history) or None

    @property
    def minutes(self) -> float | None:
        """Of training, validation not counted, as the run's epochs tell it; None of a bundle."""
        seconds = [entry.get("seconds", 0.0) for entry in self.curves.history]
        return sum(seconds) / 60 if seconds else None


@dataclass(frozen=True)
class Scored:
    """The captions of one contender, measured."""

    contender: Contender
    beam: int  # width of the beam search
    measured: Measured
    figures: Mapping[str, float]  # those of `Evaluation`, over all of its captions
    differences: Mapping[str, Paired]  # by metric: this one's score minus that of the first; the first has none
    corrected: Mapping[str, float]  # their p, of each metric by Holm for all that are compared with the first


@dataclass(frozen=True)
class Comparison:
    """The captions of all contenders for the same pictures; differences are from the first."""

    split: str
    pictures: int  # that every contender could read
    failures: tuple[tuple[Contender, Failure], ...]
    scored: tuple[Scored, ...]

    @property
    def tests(self) -> int:
        """How many differences were tested, of all runs and metrics."""
        return sum(len(one.differences) for one in self.scored)


def read_contender(path: Path, name: str) -> Contender:
    """A run or a bundle, as the folder at `path` is. Raises `CheckpointError`, `BundleError` or `RecipeError`.

    A run may be training, but must have finished an epoch. An average of runs has no curves either.
    """
    if (path / MANIFEST).is_file():
        return _read_bundle(path, name)
    curves = Curves(name, (), None) if read_progress(path).is_average else read_curves(path, name)
    recipe = recipe_of_run(path)
    try:
        data = json.loads((path / "data.json").read_text(encoding="utf-8"))
        fingerprint = str(data["fingerprint"])
        learnt_from = frozenset([*data["splits"].get("train", ()), *data.get("learnt_before", ())])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path / 'data.json'}: damaged or missing ({error!r}); start a new run in another --out"
        ) from error
    best: dict[str, Any] = next((entry for entry in curves.history if entry["epoch"] == curves.best), {})
    return Contender(
        name=name,
        path=path,
        recipe=recipe.to_dict(),
        curves=curves,
        validation=_validation(best),
        takes_regions=recipe.encoder.name == FILES,
        parameters=_learning(path),
        fingerprint=fingerprint,
        learnt_from=learnt_from,
        start_from=data.get("start_from"),
    )


def _read_bundle(path: Path, name: str) -> Contender:
    manifest, _ = read_manifest(path)
    recipe: Mapping[str, Any] = manifest.recipe
    with suppress(RecipeError):  # of another version: what it tells is still told
        recipe = recipe_from_dict(recipe).to_dict()
    return Contender(
        name=name,
        path=path,
        recipe=recipe,
        curves=Curves(name, (), None),
        validation=_validation(manifest.scores),
        takes_regions=manifest.images is None,
    )


def _validation(scores: Mapping[str, Any]) -> dict[str, float]:
    return {key.removeprefix("val "): value for key, value in scores.items() if key.startswith("val ")}


def _learning(run: Path) -> int | None:
    """How many parameters learn: those of which the optimizer keeps a mean. Shared ones count once."""
    latest = latest_checkpoint(run)
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # such as a file removed to save room
        with ((latest or run) / "optimizer.safetensors").open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > os.fstat(file.fileno()).st_size:  # damaged: not to be held in memory
                return None
            header = json.loads(file.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name.endswith(_LEARNT)) or None
    return None


def differing_keys(contenders: Sequence[Contender]) -> dict[str, list[Any]]:
    """Keys in which the recipes differ, as "training.batch", and each one's value; None where it has no such key.

    A key that some architectures lack is named only where those that have it differ. What decodes is the last table.
    """
    tables = [_keys(contender) for contender in contenders]
    differing = {}
    known = dict.fromkeys(key for table in tables for key in table)
    for key in sorted(known, key=lambda key: _TABLES.index(key.split(".")[0])):  # those of a table together
        present = [table[key] for table in tables if key in table]
        if any(value != present[0] for value in present):
            differing[key] = [table.get(key) for table in tables]
    return differing


def _keys(contender: Contender) -> dict[str, Any]:
    keys = {START_FROM: contender.start_from or ""} if contender.fingerprint else {}
    for name in _TABLES:
        table = contender.recipe.get(name)
        if isinstance(table, Mapping):
            keys |= {f"{name}.{key}": value for key, value in table.items()}
    return keys


def unlike(contenders: Sequence[Contender]) -> list[str]:
    """Why the curves and validation scores of these are not of one kind, a line for each reason."""
    told = []
    groups: dict[str, list[str]] = {}
    for contender in contenders:
        if contender.fingerprint:
            groups.setdefault(contender.fingerprint, []).append(contender.name)
    if len(groups) > 1:
        names = " | ".join(", ".join(group) for group in groups.values())
        told.append(f"trained on different data or splits: {names}; their own scores are of other pictures or captions")
    differing = differing_keys(contenders)
    words = [key for key in differing if key.startswith("vocabulary.")]
    if words:
        what = "losses and scores" if "vocabulary.tokenizer" in words else "losses"
        told.append(f"{', '.join(words)} differ: the runs' own {what} count other words and cannot be compared")
    return told


def learnt_from(contenders: Sequence[Contender], pictures: Collection[str], split: str) -> list[str]:
    """Which of the contenders have learnt from the pictures with these ids, of `split`, a line for each."""
    told = []
    for contender in contenders:
        known = len(contender.learnt_from.intersection(pictures))
        if known:
            told.append(
                f"{contender.name} has learnt from {known:,} of the {len(pictures):,} pictures of {split}: "
                "its scores there tell what it remembers"
            )
    return told


def compare_captions(
    contenders: Sequence[Contender],
    read: Callable[[Contender], Sequence[Example]],
    split: str,
    metrics: Sequence[str],
    *,
    beam: int | None = None,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Caption the pictures of `split` with each contender, score the captions, and test each against the first.

    `read` gives the examples for a contender: files of pictures or of regions, with the same ids. `metrics` are those
    of `showtell.metrics.measure.metric_names`. `beam` None takes each one's own width. Only pictures that all can read
    count. Raises `DataError` where there are none, `RecipeError` where one cannot decode so, and what `evaluate` and
    `Captioner.load` raise.
    """
    options: dict[str, Any] = {} if beam is None else {"beam_width": beam}
    captioners = [Captioner.load(contender.path, threads=threads) for contender in contenders]
    for contender, captioner in zip(contenders, captioners, strict=True):  # before minutes of captions
        try:
            captioner.decoding.changed(num_captions=1, **options)
        except RecipeError as error:
            raise RecipeError(f"{contender.name}: {error}") from error
    found: list[tuple[Evaluation, int]] = []
    for contender, captioner in zip(contenders, captioners, strict=True):
        say(f"{contender.name}: captions of {split}")
        result = evaluate(captioner, read(contender), split, metrics, **options)
        found.append((result, beam or captioner.decoding.beam_width))
    pictures, measured = _on_common_pictures([result for result, _ in found], metrics)
    scored = [
        Scored(contender, width, of_contender, result.figures, {}, {})
        for contender, (result, width), of_contender in zip(contenders, found, measured, strict=True)
    ]
    failures = (
        (contender, failure)
        for contender, (result, _) in zip(contenders, found, strict=True)
        for failure in result.failures
    )
    return Comparison(split, pictures, tuple(failures), tuple(_tested(scored)))


def _on_common_pictures(results: Sequence[Evaluation], metrics: Sequence[str]) -> tuple[int, list[Measured]]:
    """How many pictures all could read, and what was measured of each on these."""
    captions = [{example.id: (example, caption.text) for example, caption in result.captions} for result in results]
    if all(list(one) == list(captions[0]) for one in captions):
        return len(captions[0]), [result.measured for result in results]
    common = [picture for picture in captions[0] if all(picture in one for one in captions)]
    if not common:
        raise DataError("there is no picture that all of them can read; compare them on another data set")
    references = tokenize_references([captions[0][picture][0].captions for picture in common])
    return len(common), [measure([[one[picture][1]] for picture in common], references, metrics) for one in captions]


def _tested(scored: Sequence[Scored]) -> Iterable[Scored]:
    """The same with the differences from the first, and p corrected for the number of those."""
    first, *others = scored
    yield first
    differences = [
        {
            name: paired(score, first.measured.scores[name])
            for name, score in other.measured.scores.items()
            if name in first.measured.scores
        }
        for other in others
    ]
    corrected: list[dict[str, float]] = [{} for _ in others]
    for name in first.measured.scores:
        those = [i for i, found in enumerate(differences) if name in found]
        for i, chance in zip(those, holm([differences[i][name].p for i in those]), strict=True):
            corrected[i][name] = chance
    for other, found, chances in zip(others, differences, corrected, strict=True):
        yield replace(other, differences=found, corrected=chances)
