"""What was measured of the recipes that ship: `recipes/results.json`, typed. `benchmarks/recipe_results.py` writes it.

{"recipes": {name: {"words": int, "parameters": int, "runs": [{the fields of `TrainedRun`}]}}}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

FILE = Path(__file__).parent / "recipes" / "results.json"
FLICKR8K = "Flickr8k test"  # the split that the list of recipes tells


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One training of a recipe, scored once on a test split."""

    data: str  # data set and split that was scored
    encoder: str  # network, layer and what it gives: "inception_v3 to Mixed_7a, 64 x 1280"
    command: str  # that trains it again; several, one a line, where a run began with another's weights
    epochs: int  # trained
    train_minutes: float  # of the decoder, without features and validation
    trained_on: str  # device, threads, number format
    words: int  # of its vocabulary, marks included
    parameters: int  # that learnt
    beam_width: int
    scores: Mapping[str, float]  # of the COCO caption evaluation, points of 100
    captions_per_second: float  # from picture files, by the exported bundle on two processor cores
    decoder_captions_per_second: float  # the same from regions that are ready


@dataclass(frozen=True, kw_only=True)
class RecipeResults:
    """`parameters` are the decoder's with the recipe's own encoder and a vocabulary of `words`, marks included."""

    words: int
    parameters: int
    runs: tuple[TrainedRun, ...] = ()

    def best(self, data: str = FLICKR8K) -> TrainedRun | None:
        """The run with the highest CIDEr on `data`; None where there is none."""
        scored = [run for run in self.runs if run.data == data]
        return max(scored, key=lambda run: run.scores["CIDEr"], default=None)


def read_results(path: Path = FILE) -> dict[str, RecipeResults]:
    """Results by recipe. Raises `TypeError` naming the key that is missing, unknown or of another type."""
    table = json.loads(path.read_text(encoding="utf-8"))["recipes"]
    return {
        name: _build(RecipeResults, {**entry, "runs": tuple(_build(TrainedRun, run) for run in entry["runs"])})
        for name, entry in table.items()
    }


def to_json(results: Mapping[str, RecipeResults]) -> str:
    """The text of `recipes/results.json`."""
    table = {name: asdict(entry) for name, entry in sorted(results.items())}
    return json.dumps({"recipes": table}, indent=1) + "\n"


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    made = kind(**values)
    for name, hint in get_type_hints(kind).items():
        _check(name, getattr(made, name), hint)
    for name, score in values.get("scores", {}).items():
        _check(f"score {name}", score, float)
    return made


def _check(name: str, value: Any, hint: Any) -> None:
    accepted = {str: (str,), int: (int,), float: (int, float)}.get(hint)  # others are tuples and tables, built above
    if accepted and (not isinstance(value, accepted) or isinstance(value, bool)):
        raise TypeError(f"results.json: {name} is {value!r}, expected {hint.__name__}")
