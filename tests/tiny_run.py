"""What a run folder tells of its training, without the weights: for all that reads runs without PyTorch."""

import json
from pathlib import Path

from showtell.recipe_reader import read_recipe

TINY = str(Path(__file__).with_name("tiny.toml"))


def write_run(
    folder, *settings, seconds=(6.0, 6.0), best=1, start_from=None, fingerprint="f", train=("a.png", "b.png")
):
    """A run of the recipe `tiny.toml` that took `seconds` for each epoch; epoch i has CIDEr 10 i."""
    history = [
        {
            "epoch": i,
            "seconds": s,
            "train loss": 5.0 / i,
            "val loss": 6.0 / i,
            "val CIDEr": 10.0 * i,
            "val BLEU-4": 2.0 * i,
        }
        for i, s in enumerate(seconds, start=1)
    ]
    checkpoint = folder / "checkpoints" / f"{len(history):05d}-00007"
    checkpoint.mkdir(parents=True)
    progress = {"epoch": len(history), "step": 7, "best": f"{best:05d}-00000" if history else "", "history": history}
    (checkpoint / "state.json").write_text(json.dumps({"progress": progress}))
    (folder / "recipe.json").write_text(json.dumps(read_recipe(TINY, settings).to_dict()))
    data = {"fingerprint": fingerprint, "splits": {"train": list(train)}, "start_from": start_from, "source": {}}
    (folder / "data.json").write_text(json.dumps(data))
    return folder
