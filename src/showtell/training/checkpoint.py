"""A run's state on disk: safetensors and JSON, published by one rename.

    RUN/checkpoints/00003-00094/     epoch 3, 94 steps done in it
      model.safetensors              the decoder, and the encoder where it learns
      average.safetensors            their moving average, to be used in place of them, where the recipe asks for it
      optimizer.safetensors
      state.json                     progress, scores of each epoch, versions, thread count

A folder without a leading point is whole: it was written aside and fsynced first. Kept are the latest and the
best, or as many of the best as the recipe says.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from showtell.errors import CheckpointError
from showtell.files import sync_folder, write_bytes
from showtell.training.progress import Progress, best_checkpoint, latest_checkpoint, read_progress, read_state

__all__ = [
    "AVERAGE",
    "MODEL",
    "Progress",
    "best_checkpoint",
    "file_to_use",
    "latest_checkpoint",
    "load_model",
    "load_optimizer",
    "load_part",
    "read_state",
    "read_weights",
    "save_checkpoint",
    "weights_of",
]

MODEL, AVERAGE = "model.safetensors", "average.safetensors"


def save_checkpoint(
    run: Path,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    average: nn.Module | None = None,
) -> Path:
    """Write a checkpoint and drop those that are neither the latest nor among the best that are kept.

    One of the same epoch and step that is there already stays: a step determines all that a checkpoint holds, and to
    replace it would take it away for a moment in which a kill could come.
    Raises `CheckpointError` where the disk refuses; the last good checkpoint is then untouched.
    """
    folder = run / "checkpoints"
    target, aside = folder / progress.name, folder / f".{progress.name}"
    try:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            write_bytes(aside / MODEL, save(_tensors(model)))
            if average is not None:
                write_bytes(aside / AVERAGE, save(_tensors(average)))
            write_bytes(aside / "optimizer.safetensors", save(_flatten(optimizer)))
            state = {"progress": asdict(progress), **facts}
            write_bytes(aside / "state.json", json.dumps(state, indent=1).encode())
            aside.rename(target)
            sync_folder(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        last = latest_checkpoint(run)
        raise CheckpointError(
            f"{target}: cannot be written ({error.strerror or error}); "
            f"the last good checkpoint is {last.name if last else 'none'}; make room and go on with --resume"
        ) from error
    for other in folder.iterdir():
        if other.name not in (progress.name, progress.best, *(name for name, _ in progress.kept)):
            shutil.rmtree(other, ignore_errors=True)
    return target


def load_model(checkpoint: Path, model: nn.Module, file: str = MODEL) -> None:
    """Put a checkpoint's weights into `model`, to train on. Raises `CheckpointError` where they do not fit."""
    _fit(checkpoint, _load(checkpoint / file), model)


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The weights to caption with. Raises `CheckpointError` where they are damaged."""
    return _load(checkpoint / file_to_use(checkpoint))


def file_to_use(checkpoint: Path) -> str:
    """The weights to caption with: the moving average where there is one."""
    return AVERAGE if (checkpoint / AVERAGE).exists() else MODEL


def weights_of(run: Path) -> Path:
    """The file of the weights that a run captions with. Raises `CheckpointError` where it has none yet, or is none."""
    read_progress(run)
    checkpoint = best_checkpoint(run)
    return checkpoint / file_to_use(checkpoint)


def load_part(checkpoint: Path, part: str, module: nn.Module) -> None:
    """Put the weights of a checkpoint's `part` ("decoder" or "encoder") into `module`: those to caption with.

    Raises as `load_model`.
    """
    tensors = read_weights(checkpoint)
    prefix = f"{part}."
    _fit(checkpoint, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}, module)


def _fit(checkpoint: Path, tensors: dict[str, Tensor], model: nn.Module) -> None:
    own = model.state_dict()
    for name in sorted({*tensors, *own}):
        if name not in tensors or name not in own or tensors[name].shape != own[name].shape:
            found = tuple(tensors[name].shape) if name in tensors else "absent"
            expected = tuple(own[name].shape) if name in own else "absent"
            raise CheckpointError(
                f"{checkpoint}: {name} is {found}, the recipe's model expects {expected}; is it another recipe's run?"
            )
    model.load_state_dict(tensors)


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's optimizer state into `optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _load(checkpoint / "optimizer.safetensors").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    # Clones: safetensors refuses two names of one memory (tied embeddings).
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{number}.{key}": torch.as_tensor(value).detach().cpu().clone()
        for number, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }


def _load(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: damaged or missing ({error}); delete this checkpoint to use the one before"
        ) from error
