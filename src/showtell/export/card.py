"""The card of a bundle: what it is, what it learnt from, how it was made, how good it is, who may use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from showtell import __version__
from showtell.export.commands import Commands
from showtell.training.run import Run
from showtell.training.soup import ingredients

if TYPE_CHECKING:
    from showtell.bundle import Manifest
    from showtell.export.bundle import Check


_SCORED = """
`val` scores are those of the validation split during training, over the tokenizer's words: CIDEr-D and BLEU in points
of 100, loss in nats a word.
"""


def write_card(run: Run, manifest: Manifest, check: Check, epoch: dict[str, Any], notes: str = "") -> str:
    """Markdown. `epoch` is the log entry of the checkpoint, `notes` is further text that the maker supplies."""
    splits = ", ".join(f"{name} {len(ids):,}" for name, ids in sorted(run.splits.items()))
    commands = Commands()
    out = commands.add(run)
    made = "\n".join(commands.lines)
    averaged = len(ingredients(run.folder)[0])  # runs
    if averaged > 1:
        chosen = "Of each run the best epoch counts. The recipe of the first of those averaged:"
    elif averaged:
        chosen = "The epochs that the run kept were averaged. The recipe of the run:"
    else:
        when = f"of epoch {epoch['epoch']}" if epoch else "before the first validation"
        chosen = f"Checkpoint {when} of the last run. The recipe as it was trained:"
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
{made}
showtell export {out} --to bundle --weights {manifest.weights}
```

{chosen}

```json
{json.dumps(run.recipe.to_dict(), indent=1)}
```

## Scores

| score | value |
|---|---|
{scores}
{_SCORED if epoch else ""}
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
