"""The card of a bundle: what it is, what it learnt from, how it was made, how good it is, who may use it."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from showtell import __version__
from showtell.errors import CheckpointError
from showtell.recipe import Recipe, read_recipe, recipe_names, toml_value
from showtell.training.run import Run, open_run

if TYPE_CHECKING:
    from showtell.bundle import Manifest
    from showtell.export.bundle import Check


def write_card(run: Run, manifest: Manifest, check: Check, epoch: dict[str, Any], notes: str = "") -> str:
    """Markdown. `epoch` is the log entry of the checkpoint, `notes` is further text that the maker supplies."""
    splits = ", ".join(f"{name} {len(ids):,}" for name, ids in sorted(run.splits.items()))
    commands, out = _commands(run)
    scores = "\n".join(f"| {name} | {value:g} |" for name, value in manifest.scores.items())
    compressed = (
        f"Against the float32 graphs: captions equal on {check.equal:.1%} of {check.pictures:,} {check.source}. "
        + ("" if check.cider_difference is None else f"CIDEr differs by {check.cider_difference:.2f} points.")
        if manifest.weights != "float32"
        else f"Captions equal to the checkpoint's on all of {check.pictures:,} {check.source}."
    )
    return f"""# {manifest.name}

{run.recipe.summary}. Made with showtell {__version__}.

## Data

Pictures: {splits}. Vocabulary: {len(run.vocabulary):,} words, each seen {run.recipe.vocabulary.min_count} times or more
in the training captions. Fingerprint of ids, splits and captions: `{run.fingerprint[:16]}`.{_takes(manifest)}

## Made by

```
{commands}
showtell export {out} --to bundle --weights {manifest.weights}
```

Checkpoint of epoch {epoch.get("epoch", "?")} of the last run. The recipe as it was trained:

```json
{json.dumps(run.recipe.to_dict(), indent=1)}
```

## Scores

| score | value |
|---|---|
{scores}

`val` scores are those of the validation split during training, over the tokenizer's words: CIDEr-D and BLEU in points
of 100, loss in nats a word.

## Weights

Stored as {manifest.weights}. Largest difference of a word's log-probability between checkpoint and float32 graphs:
{check.largest_difference:.1e}. {compressed}

## Licence

{manifest.licence}
{notes}"""


def _takes(manifest: Manifest) -> str:
    """A sentence on what the model takes, where that is not pictures."""
    regions = manifest.regions
    if manifest.images is not None:
        return ""
    return f"\nThe model takes no pictures but files of up to {regions.count} regions of {regions.size} numbers."


def _commands(run: Run) -> tuple[str, str]:
    """The commands that train such a model anew, from the recipes of the run and of those it began with; its name."""
    before = ""
    arguments = [f"showtell train --recipe {run.recipe.name}"]
    if run.start_from:
        try:
            before, name = _commands(open_run(Path(run.start_from)))
            before += "\n"
        except CheckpointError:  # the earlier run is gone; that there was one is still told
            name = "EARLIER-RUN"
        arguments.append(f"--from {name}")
    out = f"RUN{before.count('showtell train') + 1}"
    arguments.append(f"--data DIR {'--regions DIR ' * bool(run.source.regions)}--out {out}")
    arguments += [f"--set {quote(f'{key}={value}')}" for key, value in _changes(run.recipe)]
    return before + " \\\n    ".join(arguments), out


def _changes(recipe: Recipe) -> list[tuple[str, str]]:
    """Keys of a recipe that differ from those of the shipped recipe of its name; all, where none is shipped."""
    shipped = read_recipe(recipe.name).to_dict() if recipe.name in recipe_names() else {}
    return [
        (f"{table}.{key}", value if isinstance(value, str) else toml_value(value))
        for table, values in recipe.to_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if shipped.get(table, {}).get(key) != value
    ]
