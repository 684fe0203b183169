"""The card of a bundle: what it is, what it learnt from, how it was made, how good it is, who may use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from showtell import __version__

if TYPE_CHECKING:
    from showtell.bundle import Manifest
    from showtell.export.bundle import Check
    from showtell.training.run import Run


def write_card(run: Run, manifest: Manifest, check: Check, epoch: dict[str, Any], notes: str = "") -> str:
    """Markdown. `epoch` is the log entry of the checkpoint, `notes` is further text that the maker supplies."""
    splits = ", ".join(f"{name} {len(ids):,}" for name, ids in sorted(run.splits.items()))
    scores = "\n".join(f"| {name} | {value:g} |" for name, value in manifest.scores.items())
    compressed = (
        f"Against the float32 graphs: captions equal on {check.equal:.1%} of {check.pictures:,} {check.source}, "
        f"CIDEr differs by {check.cider_difference:.2f} points."
        if manifest.weights != "float32"
        else f"Captions equal to the checkpoint's on all of {check.pictures:,} {check.source}."
    )
    return f"""# {manifest.name}

{run.recipe.summary}. Made with showtell {__version__}.

## Data

Pictures: {splits}. Vocabulary: {len(run.vocabulary):,} words, each seen {run.recipe.vocabulary.min_count} times or more
in the training captions. Fingerprint of ids, splits and captions: `{run.fingerprint[:16]}`.

## Made by

```
showtell train --recipe {run.recipe.name} --data DIR --out RUN
showtell export RUN --to bundle --weights {manifest.weights}
```

Checkpoint of epoch {epoch.get("epoch", "?")}. The recipe as it was trained:

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
