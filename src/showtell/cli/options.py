"""Options that several commands share."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from showtell.errors import MissingExtraError, ShowtellError

if TYPE_CHECKING:
    from showtell.training.request import Request

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


regions_option = click.option(
    "--regions",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of region files (.npz, .safetensors), one named after each picture, in place of an encoder.",
)


def data_options(command: Command) -> Command:
    """The options that `request_of` turns into a `Request`."""
    for option in reversed(
        (
            click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of the data set."),
            click.option("--format", default="auto", help="Format of the data set, if it is not recognised."),
            click.option("--images", type=click.Path(path_type=Path), help="Folder of the pictures, if elsewhere."),
            click.option("--splits", type=_FILE, help="Split file of `showtell data split`."),
            regions_option,
            click.option("--encoder-weights", type=_FILE, help="Encoder weights (.safetensors) instead of timm's."),
            click.option("--encoder-config", type=_FILE, help="Their preparation (.json), if their metadata lack it."),
            click.option("--features", type=click.Path(path_type=Path), help="Folder of the feature store."),
            click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        )
    ):
        command = option(command)
    return command


def recipe_options(command: Command) -> Command:
    """The options that change a recipe; `settings_of` makes one list of them."""
    for option in reversed(
        (
            click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."),
            click.option(
                "--limit-captions",
                type=click.IntRange(1),
                metavar="N",
                help="Train on a random part of the training captions: training.limit_captions.",
            ),
            click.option("--seed", type=click.IntRange(0), metavar="N", help="The same as training.seed."),
        )
    ):
        command = option(command)
    return command


def settings_of(settings: Sequence[str], limit_captions: int | None, seed: int | None) -> list[str]:
    """Settings of a recipe, `key=value`, with those that have an option of their own."""
    named = {"training.limit_captions": limit_captions, "training.seed": seed}
    return [*settings, *(f"{key}={value}" for key, value in named.items() if value is not None)]


def check_file(option: str, file: Path | None) -> None:
    """Tell before the work, not after it, that the file which `option` names cannot be written.

    Raises `UsageError` where it is a folder or its folder is not there, `ShowtellError` where the disk refuses.
    """
    if file is None:
        return
    from showtell.files import check_writable

    try:
        if file.is_dir():
            raise click.UsageError(f"{option} {file}: is a folder, expected a file to write; name a file in it")
        if not file.parent.is_dir():
            raise click.UsageError(f"{option} {file}: the folder {file.parent} does not exist; make it first")
        device = file.exists() and not file.is_file()
        folder = file.resolve().parent  # of a link, where it leads
    except (OSError, RuntimeError) as error:
        raise ShowtellError(f"{option} {file}: cannot be looked at ({error}); name another file") from error
    if device or file.parts[:2] in (("/", "dev"), ("/", "proc")):  # written as it comes
        if not os.access(file, os.W_OK):
            raise ShowtellError(f"{option} {file}: cannot be written (Permission denied); name another file")
        return
    try:
        check_writable(folder)
    except ShowtellError as error:
        raise ShowtellError(f"{option} {file}: {error}") from error


def png_option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option that names a PNG file to write; what cannot be one is wrong usage."""

    def check(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path and path.suffix.lower() != ".png":
            raise click.UsageError(f"{name} {path}: expected a file name that ends in .png")
        check_file(name, path)
        return path

    return click.option(name, type=click.Path(path_type=Path), metavar="FILE.png", callback=check, **attributes)


def metric_options(command: Command) -> Command:
    """What is measured of captions and how it is told; `showtell.cli.scores` takes them."""
    for option in reversed(
        (
            click.option(
                "--metrics",
                metavar="LIST",
                help="Of bleu, rouge, cider, cider-plain, meteor, spice (both with Java) and diversity, parted by "
                "commas.  [default: bleu,rouge,cider]",
            ),
            click.option("--ci", is_flag=True, help="Add each score's 95 % confidence interval (bootstrap)."),
            click.option(
                "--per-picture",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Also write the scores of each picture, as .csv or .jsonl.",
            ),
            click.option(
                "--documents", type=_FILE, metavar="FILE", help="CIDEr's document frequencies, of --save-documents."
            ),
            click.option(
                "--spice-models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of SPICE's models."
            ),
            click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON."),
        )
    ):
        command = option(command)
    return command


def request_of(data: dict[str, Any]) -> "Request":
    from showtell.training.request import Request

    return Request(**data)


def need_training(name: str) -> None:
    """Raise `MissingExtraError` where the training extra is not installed."""
    needed = ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript", "tensorboard")
    if any(find_spec(module) is None for module in needed):
        raise MissingExtraError(f"`showtell {name}` needs PyTorch and timm: pip install 'showtell[train]'")
