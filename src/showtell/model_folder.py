"""What a user names as a model -> the folder of its bundle. Light: a server finds all of them before it loads any."""

import os
from importlib.util import find_spec
from pathlib import Path

from showtell.errors import BundleError, MissingExtraError

Model = str | os.PathLike[str]  # the folder of a bundle or of a training run, or the name below

EMBEDDED = Path(__file__).parent / "assets" / "pocket"
EMBEDDED_NAME = "embedded"  # names the embedded model, unless a folder here is called so
MANIFEST = "manifest.json"  # what a bundle holds
RECIPE = "recipe.json"  # what a run folder holds and a bundle does not


def is_embedded(path: Model) -> bool:
    """Whether this names the embedded model."""
    return os.fspath(path) == EMBEDDED_NAME and not Path(path).exists()


def find_bundle(path: Model | None) -> Path:
    """The folder of a model's bundle: a bundle's own, that of a run, which is exported first, or the embedded one's.

    Raises as `Captioner.load`.
    """
    if path is None or is_embedded(path):
        if not (EMBEDDED / MANIFEST).is_file():
            raise BundleError(
                f"{EMBEDDED}: no embedded model in this installation; name one with --model, or install again"
            )
        return EMBEDDED
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise BundleError(f"{path}: {found}, expected the folder of a bundle or of a training run")
    if not (path / MANIFEST).is_file() and (path / RECIPE).is_file():
        from showtell.training.exported import exported_bundle

        if (exported := exported_bundle(path)) is not None:
            return exported
        if find_spec("torch") is None:
            raise MissingExtraError(
                f"{path}: is a training run, which needs PyTorch: pip install 'showtell[train]', or give a bundle"
            )
        from showtell.export.bundle import bundle_of_run

        return Path(bundle_of_run(path))
    return path
