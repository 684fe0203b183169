"""The bundle that a run keeps of its best checkpoint, in RUN/bundle: whether it is there and still fits.

Told without PyTorch, which only making it needs.
"""

import hashlib
import json
from pathlib import Path

from showtell.errors import CheckpointError
from showtell.model_folder import MANIFEST
from showtell.recipe import Recipe
from showtell.recipe_reader import recipe_from_dict
from showtell.training.progress import best_checkpoint, no_run

FOLDER, MARK = "bundle", "bundle-of.txt"


def recipe_of_run(run: Path) -> Recipe:
    """The recipe that a run keeps. Raises `CheckpointError` where there is none, `RecipeError` where it is wrong."""
    path = run / "recipe.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run}: not a run of `showtell train` ({no_run(run, error)})") from error
    return recipe_from_dict(table, where=str(path))


def export_mark(run: Path) -> str:
    """What a bundle is made of: the run's best checkpoint and its recipe. Kept beside it, in RUN/bundle-of.txt."""
    recipe = hashlib.sha256(json.dumps(recipe_of_run(run).to_dict(), sort_keys=True).encode()).hexdigest()
    return f"{best_checkpoint(run).name} {recipe[:16]}"


def exported_bundle(run: Path) -> Path | None:
    """The folder of the run's bundle; None where there is none, or checkpoint or recipe have changed since."""
    folder, mark = run / FOLDER, run / MARK
    if not (mark.is_file() and (folder / MANIFEST).is_file()):
        return None
    return folder if mark.read_text(encoding="utf-8") == export_mark(run) else None
