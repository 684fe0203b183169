"""What of a model learns, how fast, and what is kept of it: optimizer, schedules, moving average."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from showtell.errors import RecipeError
from showtell.models.captioner import CaptionModel
from showtell.recipe import Recipe


def choose_learning(decoder: nn.Module, only: Sequence[str]) -> None:
    """Let all of a decoder learn, or only the parts of these names. Raises `RecipeError` where it has no such part."""
    if not only:
        return
    names = [name for name, _ in decoder.named_parameters()]
    for part in only:
        if not any(_within(name, part) for name in names):
            parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise RecipeError(f"training.only names {part!r}, the decoder's parts are {parts}")
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_(any(_within(name, part) for part in only))


def _within(name: str, part: str) -> bool:
    return f"{name}.".startswith(f"{part}.")


def make_optimizer(model: CaptionModel, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer: the decoder's weights in group 0, the encoder's, where it learns, in group 1."""
    groups: list[dict[str, Any]] = [{"params": [p for p in model.decoder.parameters() if p.requires_grad]}]
    if model.encoder is not None:
        groups.append({"params": [p for p in model.encoder.parameters() if p.requires_grad]})
    options = recipe.training
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, weight_decay=decay)
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps_per_epoch: int) -> None:
    """Learning rates at a step counted from the run's start: linear warm-up, then cosine to 1 % or constant."""
    options = recipe.training
    warmup, total = options.warmup_epochs * steps_per_epoch, options.epochs * steps_per_epoch
    rate = options.learning_rate
    if step < warmup:
        rate *= min((step + 1) / warmup, 1)
    elif options.schedule == "cosine":
        done = (step - warmup) / max(total - warmup, 1)
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    encoder = rate * recipe.encoder.learning_rate
    if step < (rising := recipe.encoder.warmup_epochs * steps_per_epoch):
        encoder *= min((step + 1) / rising, 1)
    for group, of_group in zip(optimizer.param_groups, (rate, encoder), strict=False):
        group["lr"] = of_group


def average_share(highest: float, step: int) -> float:
    """What a moving average keeps of itself after `step` earlier steps: little at first, then `highest`.

    Otherwise the random weights that a run begins with would weigh for as long as 1 / (1 - `highest`) steps last.
    """
    return min(highest, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, share: float) -> None:
    """Move each weight of `average` towards the model's, keeping `share` of it; statistics are taken over as they are.

    Polyak and Juditsky 1992 averaged evenly; the exponential form is the usual one today.
    """
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        if weight.requires_grad:
            mean.lerp_(weight, 1 - share)
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def dropouts_of(model: nn.Module) -> list[tuple[nn.Dropout, float]]:
    """A model's dropouts with the shares that the recipe gives them."""
    return [(module, module.p) for module in model.modules() if isinstance(module, nn.Dropout)]


def set_dropout(dropouts: Sequence[tuple[nn.Dropout, float]], schedule: str, done: float) -> None:
    """Set dropouts for a point of a run, `done` of 0..1 being behind it.

    "rising" goes from nothing to the full share (Morerio et al. 2017, arXiv:1703.06229, "curriculum dropout", as a
    line), "falling" from there to nothing (Liu et al. 2023, arXiv:2303.01500, "early dropout", as a line).
    """
    factor = {"constant": 1.0, "rising": done, "falling": 1 - done}[schedule]
    for module, share in dropouts:
        module.p = share * factor
