"""The training loop: one for features and for pixels, resumable bit for bit.

Nothing random is carried along: batches and dropout derive from (seed, epoch, step). So a checkpoint is the weights,
the optimizer's state and a position.
"""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from showtell import __version__
from showtell.errors import ShowtellError
from showtell.files import lock
from showtell.models.captioner import CaptionModel
from showtell.recipe import Recipe, TrainingOptions
from showtell.training.checkpoint import (
    Progress,
    file_to_use,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    save_checkpoint,
)
from showtell.training.dataset import Batch, Picture
from showtell.training.device import choose_autocast
from showtell.training.group import Group
from showtell.training.learning import (
    average_share,
    choose_learning,
    dropouts_of,
    make_optimizer,
    set_dropout,
    set_rates,
    update_average,
)
from showtell.training.objective import Objective, Whole
from showtell.training.run import Run
from showtell.training.sampling import epoch_batches, steps_per_epoch
from showtell.training.self_critical import Critic
from showtell.training.stopping import stop_signals
from showtell.training.store import Rows
from showtell.training.teacher import Teacher
from showtell.training.validation import Validation, validate


@dataclass(frozen=True)
class Splits:
    """What is trained on and what is validated on."""

    train: Sequence[Picture]
    val: Sequence[Picture]


@dataclass
class Trainer:
    """One training of a run. `say` takes lines for the user, `on_epoch` each epoch's scores and captions."""

    run: Run
    store: Rows
    splits: Splits
    group: Group
    say: Callable[[str], None]
    teachers: Sequence[Teacher] = ()
    on_epoch: Callable[[Progress, CaptionModel, Validation | None], None] = lambda *_: None

    def __post_init__(self) -> None:
        self.recipe: Recipe = self.run.recipe
        self.device = self.group.device
        self.options: TrainingOptions = self.recipe.training
        self.progress = Progress()
        torch.manual_seed(_seed(self.options.seed))
        self.model = self.run.model().to(self.device)
        choose_learning(self.model.decoder, self.options.only)
        self.learner = self.group.learner(self.model)  # the one to call where gradients are wanted
        self.dropouts = dropouts_of(self.model)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.average: CaptionModel | None = None  # made at the first step, from what the run begins with
        self.steps = steps_per_epoch(self.splits.train, self.options)
        self.autocast = choose_autocast(self.options.amp, self.device)
        self.critic = Critic(self.splits.train, self.run.vocabulary, self.options) if self.options.reward else None
        self.objective = Objective(self.options, self.store, self.critic, self.teachers, self.device, self.autocast)
        self._saved_at = time.monotonic()

    def resume(self) -> bool:
        """Go on from the latest checkpoint; false where there is none yet."""
        checkpoint = latest_checkpoint(self.run.folder)
        if checkpoint is None:
            return False
        self.progress, facts = read_state(checkpoint)
        load_model(checkpoint, self.model)
        if self.options.average:
            self.average = copy.deepcopy(self.model)
            load_model(checkpoint, self.average, file_to_use(checkpoint))
        load_optimizer(checkpoint, self.optimizer)
        differing = [
            f"{key} was {facts[key]}, is {value}"
            for key, value in self._facts().items()
            if facts.get(key, value) != value
        ]
        if differing:
            self.say(f"note: {'; '.join(differing)}: weights may differ in the last bits from an uninterrupted run")
        return True

    def train(self) -> bool:
        """Train to the last epoch or until patience ends; false where the user stopped it (all is saved).

        Raises `CheckpointError` where another process trains this run or a checkpoint cannot be written, and
        `ShowtellError` where the loss is not finite.
        """
        progress, options = self.progress, self.options
        message = f"{self.run.folder}: another process is training this run"
        held = lock(self.run.folder / "lock", message) if self.group.leads else nullcontext()
        with held, stop_signals() as stopped:
            if self.group.leads:
                self.run.save_recipe()
            while progress.epoch < options.epochs and not self._patience_ended():
                began, words_before = time.monotonic(), progress.words
                for batch in epoch_batches(self.splits.train, options, progress.epoch, progress.step):
                    self._step(batch)
                    stop = self.group.sum([stopped()])[0] > 0  # one that is asked to stop stops all
                    if stop or time.monotonic() - self._saved_at > options.checkpoint_seconds:
                        self._save()
                    if stop:
                        self.say(
                            f"stopped in epoch {progress.epoch + 1} after {progress.step} of {self.steps} steps; "
                            "all is saved, go on with --resume"
                        )
                        return False
                seconds = max(time.monotonic() - began, 1e-9)
                self._end_epoch((progress.words - words_before) / seconds, seconds)
        return True

    def _step(self, batch: Batch) -> None:
        progress, options, group = self.progress, self.options, self.group
        taken = progress.epoch * self.steps + progress.step
        done = taken / (options.epochs * self.steps)
        set_rates(self.optimizer, self.recipe, taken, self.steps)
        set_dropout(self.dropouts, options.dropout_schedule, done)
        seed = (options.seed, progress.epoch, progress.step)
        torch.manual_seed(_seed(*seed) if group.leads else _seed(*seed, "process", group.rank))
        parts = self.objective.parts(self.model, batch, _seed(*seed, "samples"), group.rank, group.size)
        told_words = sum(part.told_words for part in parts if part.counts)
        whole = Whole(len(batch.rows), int(batch.lengths.sum()), group.sum([told_words])[0] if self.critic else 0)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in parts:
            with group.together(), group.gradients_later(self.learner, part is not parts[-1]):
                loss = self.objective.loss(self.model, self.learner, part, whole, done * options.scheduled_sampling)
                (loss.value * group.size).backward()  # type: ignore[no-untyped-call]
            losses.append((loss.value.item(), loss.plain, loss.words, loss.reward))
        value, plain, words, reward = group.sum([sum(values) for values in zip(*losses, strict=True)])
        if not math.isfinite(value):
            raise ShowtellError(
                f"{self.run.folder}: the loss is {value} in epoch {progress.epoch + 1} at step {progress.step}, "
                "expected a finite number; train with a lower training.learning_rate or with training.clip_norm=1"
            )
        if options.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        if options.average and self.average is None:
            self.average = copy.deepcopy(self.model)
        self.optimizer.step()
        if self.average is not None:
            update_average(self.average, self.model, average_share(options.average, taken))
        progress.step += 1
        progress.words += int(words)
        progress.loss_sum += plain
        progress.reward_sum += reward / len(batch.rows)

    def _end_epoch(self, words_per_second: float, seconds: float) -> None:
        progress, options = self.progress, self.options
        entry: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "learning rate": self.optimizer.param_groups[0]["lr"],
            "words/s": round(words_per_second),
            "seconds": round(seconds, 1),
        }
        if self.critic:
            entry["train reward"] = progress.reward_sum / self.steps
        if not self.critic or self.options.reward_share < 1:
            entry["train loss"] = progress.loss_sum / max(progress.words, 1)
        validation = None
        last = progress.epoch + 1 == options.epochs
        if self.splits.val and ((progress.epoch + 1) % options.validate_every == 0 or last):
            self._save()  # a kill during validation must not cost the epoch's last steps
            validation = validate(
                self.used, self.store, self.splits.val, self.run.vocabulary, self.recipe.decoding, self.group
            )
            entry |= {f"val {name}": score for name, score in validation.scores.items()}
        progress.epoch += 1
        progress.step, progress.words, progress.loss_sum, progress.reward_sum = 0, 0, 0.0, 0.0
        if validation:
            score = validation.score(options.choose_by)
            progress.without_gain += 1
            if score > progress.best_score:
                progress.best, progress.best_score, progress.without_gain = progress.name, score, 0
            progress.rank(score, options.keep)
        elif not self.splits.val:
            progress.best = progress.name
        entry["best"] = progress.best == progress.name
        progress.history.append(entry)
        self._save()
        self.on_epoch(progress, self.used, validation)

    @property
    def used(self) -> CaptionModel:
        """The model to caption with: the moving average where there is one."""
        return self.model if self.average is None else self.average

    def _patience_ended(self) -> bool:
        return 0 < self.options.patience <= self.progress.without_gain

    def _save(self) -> None:
        if self.group.leads:
            save_checkpoint(self.run.folder, self.progress, self.model, self.optimizer, self._facts(), self.average)
        self._saved_at = time.monotonic()

    def _facts(self) -> dict[str, Any]:
        return {
            "showtell": __version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": self.device.type,
            "bf16": self.autocast,
            "processes": self.group.size,
        }


def _seed(*parts: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
