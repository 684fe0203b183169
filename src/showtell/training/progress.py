"""How far a run has come, as its checkpoints tell, read without PyTorch."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from showtell.errors import CheckpointError

_NAME = re.compile(r"(\d{5,})-(\d{5,})")  # of a whole checkpoint: epoch and step


@dataclass
class Progress:
    """Where training stands. Everything random derives from (seed, epoch, step), so this is all there is."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the epoch that runs
    loss_sum: float = 0.0  # of the epoch that runs, nats over its words
    words: int = 0
    reward_sum: float = 0.0  # of the epoch that runs, over its steps, where captions are rewarded
    best: str = ""  # name of the checkpoint with the best validation score
    best_score: float = float("-inf")
    without_gain: int = 0  # validations since the best
    kept: list[tuple[str, float]] = field(default_factory=list)  # checkpoints that are kept, the best first
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry an epoch

    @property
    def name(self) -> str:
        return f"{self.epoch:05d}-{self.step:05d}"

    @property
    def is_average(self) -> bool:
        """Whether these are the weights that `showtell average` wrote: without an epoch of their own."""
        return self.epoch > 0 and not self.history

    def rank(self, score: float, keep: int) -> None:
        """Put the checkpoint of now among those that are kept, if its score is one of the `keep` best."""
        found = [*self.kept, (self.name, score)]
        self.kept = sorted(found, key=lambda one: -one[1])[:keep]  # stable: of equals the earlier stays


def latest_checkpoint(run: Path) -> Path | None:
    """The newest whole checkpoint, if any."""
    folder = run / "checkpoints"
    found = [_NAME.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    names = [name for name in found if name]
    # By number: an epoch may have more than 99,999 steps.
    return folder / max(names, key=lambda name: (int(name[1]), int(name[2])))[0] if names else None


def best_checkpoint(run: Path) -> Path:
    """The checkpoint with the best validation score, or the latest before the first validation.

    Raises `CheckpointError` where the run has none.
    """
    latest = latest_checkpoint(run)
    if latest is None:
        raise CheckpointError(f"{run}: no checkpoint; train first with `showtell train --out {run}`")
    progress = read_state(latest)[0]
    return latest.parent / progress.best if progress.best else latest


def read_state(checkpoint: Path) -> tuple[Progress, dict[str, Any]]:
    """Progress and the other facts of a checkpoint. Raises `CheckpointError` where it is damaged."""
    try:
        facts = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        return Progress(**facts.pop("progress")), facts
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{checkpoint}: state.json is damaged or missing ({error})") from error


def no_run(folder: Path, error: Exception | None = None) -> str:
    """Why a folder is no run, or why it cannot be read as one."""
    if not folder.is_dir():
        return "is a file" if folder.exists() else "no such folder"
    for name in ("recipe.json", "data.json"):
        if not (folder / name).is_file():
            return f"holds no {name}"
    return str(error)


def read_progress(run: Path) -> Progress:
    """How far a run has come, also while it trains. Raises `CheckpointError` if it is no run or has no checkpoint."""
    if not (run / "recipe.json").is_file():
        raise CheckpointError(f"{run}: {no_run(run)}, expected a run; name the folder that --out named in training")
    while True:
        latest = latest_checkpoint(run)
        if latest is None:
            raise CheckpointError(f"{run}: no checkpoint yet; wait for the end of the first epoch")
        try:
            return read_state(latest)[0]
        except CheckpointError:
            if latest.is_dir():
                raise  # damaged; else training has put a newer one in its place
