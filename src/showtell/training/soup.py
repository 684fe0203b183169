"""Several sets of weights of one model averaged into one: the epochs that a run has kept, or runs that began alike.

Polyak and Juditsky 1992; for runs that were fine-tuned from one start Wortsman et al.: "Model soups", ICML 2022,
arXiv:2203.05482; for a run and the one that it began from the same: "Robust fine-tuning of zero-shot models", CVPR
2022, arXiv:2109.01903. The mean costs no more in use than one model, unlike an ensemble.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from showtell.errors import CheckpointError
from showtell.files import check_writable, replace_folder, write_bytes
from showtell.training.checkpoint import MODEL, read_weights
from showtell.training.progress import Progress, best_checkpoint, latest_checkpoint, read_progress, read_state
from showtell.training.run import Run, learnt_by, open_run


def average_runs(runs: Sequence[Path], out: Path, shares: Sequence[float] | None = None) -> list[Path]:
    """Write a run to `out` whose weights are the mean of those of `runs`; returns the checkpoints that went in.

    Of one run these are the epochs that it has kept (`training.keep`), of several the best epoch of each, weighed by
    `shares` if given, positive numbers of any sum. Where there are moving averages, they are what is averaged. The new
    run has the first one's recipe, and no optimizer: train on with `--from`. Raises `CheckpointError` where there is
    nothing to average, runs do not come from one training, or there are not as many shares as runs.
    """
    if shares is not None and (len(shares) != len(runs) or len(runs) < 2 or not all(0 < s < inf for s in shares)):
        raise CheckpointError(
            f"shares {', '.join(map(str, shares))} for {len(runs)} run{'s' * (len(runs) > 1)}, expected a number above "
            "0 for each of two or more"
        )
    if out.exists():
        raise CheckpointError(f"{out}: exists already; name another folder with --out")
    check_writable(out.absolute().parent)
    checkpoints = _kept(runs[0]) if len(runs) == 1 else [_best(run) for run in runs]
    opened = [open_run(run) for run in runs]
    inherited = {"lineage": _check_kin(opened), "learnt_before": learnt_by(opened, but=opened[0].splits)}
    mean = _mean(checkpoints, shares or [1.0] * len(checkpoints))
    progress = Progress(epoch=1)
    progress.best = progress.name
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(out) as aside:
            for file in runs[0].iterdir():
                if file.suffix in (".json", ".safetensors"):
                    shutil.copy(file, aside / file.name)
            data = json.loads((aside / "data.json").read_text(encoding="utf-8"))
            write_bytes(aside / "data.json", json.dumps(data | inherited).encode())
            folder = aside / "checkpoints" / progress.name
            folder.mkdir(parents=True)
            write_bytes(folder / MODEL, save(mean))
            averaged = [str(checkpoint.absolute()) for checkpoint in checkpoints]
            state = {"progress": asdict(progress), "averaged": averaged, "shares": list(shares or ())}
            write_bytes(folder / "state.json", json.dumps(state, indent=1).encode())
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written ({error.strerror or error}); make room") from error
    return checkpoints


def ingredients(run: Path) -> tuple[list[Path], list[float]]:
    """The runs of which `run` is the average and their shares, none where all count the same; nothing of another run.

    Raises `CheckpointError` where it has no checkpoint.
    """
    facts = read_state(best_checkpoint(run))[1]
    averaged = dict.fromkeys(Path(checkpoint).parent.parent for checkpoint in facts.get("averaged", ()))
    return list(averaged), list(facts.get("shares", ()))


def _check_kin(runs: Sequence[Run]) -> list[str]:
    """The marks of all runs and of those that they came from.

    Raises `CheckpointError` unless each shares one with another: only of weights that come from one training is the
    mean of use.
    """
    family = dict.fromkeys(runs[0].lineage)
    strangers = {run.folder: run.lineage for run in runs[1:]}
    while joined := [folder for folder, lineage in strangers.items() if not family.keys().isdisjoint(lineage)]:
        for folder in joined:
            family |= dict.fromkeys(strangers.pop(folder))
    if strangers:
        raise CheckpointError(
            f"{next(iter(strangers))}: does not come from one training with {runs[0].folder}; only runs that began "
            "from the same one (--from RUN), or one from the other, can be averaged"
        )
    # Where no encoder learnt, the average keeps the first one's; where all did, their weights are averaged too.
    encoders = {"learnt" if run.recipe.encoder.train else json.dumps(run.encoder.identity()) for run in runs}
    if len(encoders) > 1:
        raise CheckpointError(
            f"{', '.join(str(run.folder) for run in runs)}: have encoders that differ, or of which only some learnt; "
            "decoders of one encoder can be averaged, and runs whose encoders all learnt"
        )
    return list(family)


def _best(run: Path) -> Path:
    read_progress(run)  # tells what is no run
    return best_checkpoint(run)


def _kept(run: Path) -> list[Path]:
    progress = read_progress(run)
    latest = latest_checkpoint(run)
    assert latest is not None
    found = [latest.parent / name for name, _ in progress.kept if (latest.parent / name).is_dir()]
    if len(found) < 2:
        raise CheckpointError(
            f"{run}: has kept {len(found)} of its best epochs, expected 2 or more; train with --set training.keep=3, "
            "or name several runs"
        )
    return found


def _mean(checkpoints: Sequence[Path], shares: Sequence[float]) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        for name, tensor in read_weights(checkpoint).items():
            kinds[name] = tensor.dtype
            sums[name] = sums.get(name, 0) + share * tensor.double()
    return {name: (total / sum(shares)).to(kinds[name]) for name, total in sums.items()}
