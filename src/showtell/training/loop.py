"""The training loop: one for features and for pixels, resumable bit for bit.

Nothing random is carried along: batches and dropout derive from (seed, epoch, step). So a checkpoint is the weights,
the optimizer's state and a position.
"""

import copy
import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from showtell import __version__
from showtell.errors import RecipeError, ShowtellError
from showtell.files import lock
from showtell.models.captioner import CaptionModel
from showtell.models.decoder import Told
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
from showtell.training.run import Run
from showtell.training.sampling import epoch_batches, steps_per_epoch
from showtell.training.self_critical import Critic, self_critical_loss
from showtell.training.store import RowStore
from showtell.training.validation import TorchDecoder, Validation, load_rows, valid_targets, validate


@dataclass(frozen=True)
class Splits:
    """What is trained on and what is validated on."""

    train: Sequence[Picture]
    val: Sequence[Picture]


@dataclass
class Trainer:
    """One training of a run. `say` takes lines for the user, `on_epoch` each epoch's scores and captions."""

    run: Run
    store: RowStore
    splits: Splits
    device: torch.device
    say: Callable[[str], None]
    on_epoch: Callable[[Progress, CaptionModel, Validation | None], None] = lambda *_: None

    def __post_init__(self) -> None:
        self.recipe: Recipe = self.run.recipe
        self.options: TrainingOptions = self.recipe.training
        self.progress = Progress()
        torch.manual_seed(_seed(self.options.seed))
        self.model = self.run.model().to(self.device)
        choose_learning(self.model.decoder, self.options.only)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.average: CaptionModel | None = None  # made at the first step, from what the run begins with
        self.steps = steps_per_epoch(self.splits.train, self.options)
        self.autocast = choose_autocast(self.options.amp, self.device)
        self.critic = Critic(self.splits.train, self.run.vocabulary, self.options) if self.options.reward else None
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
        held = lock(self.run.folder / "lock", f"{self.run.folder}: another process is training this run")
        with held, _stop_signals() as stopped:
            self.run.save_recipe()
            while progress.epoch < options.epochs and not self._patience_ended():
                began, words_before = time.monotonic(), progress.words
                for batch in epoch_batches(self.splits.train, options, progress.epoch, progress.step):
                    self._step(batch)
                    if stopped() or time.monotonic() - self._saved_at > options.checkpoint_seconds:
                        self._save()
                    if stopped():
                        self.say(
                            f"stopped in epoch {progress.epoch + 1} after {progress.step} of {self.steps} steps; "
                            "all is saved, go on with --resume"
                        )
                        return False
                seconds = max(time.monotonic() - began, 1e-9)
                self._end_epoch((progress.words - words_before) / seconds, seconds)
        return True

    def _step(self, batch: Batch) -> None:
        progress, options = self.progress, self.options
        set_rates(self.optimizer, self.recipe, progress.epoch * self.steps + progress.step, self.steps)
        torch.manual_seed(_seed(options.seed, progress.epoch, progress.step))
        inputs, mask = load_rows(self.store, batch.rows, self.device)
        share = options.reward_share if self.critic else 0.0
        loss, plain_loss, words = torch.zeros((), device=self.device), 0.0, 0
        if self.critic:
            loss, words = self._rewarded(self.critic, batch, inputs, mask)
            loss = share * loss
        if share < 1:
            true, plain_loss, words = self._true(batch, inputs, mask)
            loss = loss + (1 - share) * true
        if not math.isfinite(value := loss.item()):
            raise ShowtellError(
                f"{self.run.folder}: the loss is {value} in epoch {progress.epoch + 1} at step {progress.step}, "
                "expected a finite number; train with a lower training.learning_rate or with training.clip_norm=1"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if options.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        if options.average and self.average is None:
            self.average = copy.deepcopy(self.model)
        self.optimizer.step()
        if self.average is not None:
            taken = progress.epoch * self.steps + progress.step
            update_average(self.average, self.model, average_share(options.average, taken))
        progress.step += 1
        progress.words += words
        progress.loss_sum += plain_loss * words

    def _true(self, batch: Batch, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, float, int]:
        """The loss of the true captions, to learn from and to report, and how many words that are."""
        told, targets, _ = self._tell(batch, inputs, mask)
        loss, plain = word_loss(told.logits.float(), targets, self.options.label_smoothing)
        return loss if told.extra is None else loss + told.extra, float(plain), len(targets)

    def _rewarded(self, critic: Critic, batch: Batch, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, int]:
        """The loss of captions that the model tells itself now, and how many words that are."""
        progress = self.progress
        self.model.eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            told = critic.told(
                TorchDecoder(self.model.decoder, mask, self.device),
                self.model.regions(inputs),
                batch,
                _seed(self.options.seed, progress.epoch, progress.step, "samples"),
            )
        output, targets, lengths = self._tell(told.batch, inputs, mask)
        log_probs = output.logits.float().log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1)  # (N,)
        advantages = torch.from_numpy(told.advantages).float().to(self.device)
        loss = self_critical_loss(log_probs, advantages, lengths)
        progress.reward_sum += told.reward
        return loss if output.extra is None else loss + output.extra, len(targets)

    def _tell(self, batch: Batch, inputs: Tensor, mask: Tensor | None) -> tuple[Told, Tensor, Tensor]:
        """Teacher forcing on a batch: what the model tells, the N words it should tell, lengths (B, K)."""
        self.model.train()
        lengths = torch.from_numpy(batch.lengths).to(self.device)
        tokens = torch.from_numpy(batch.tokens).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            told = self.model(inputs, tokens, lengths, mask)
        return told, valid_targets(torch.from_numpy(batch.targets).to(self.device), lengths), lengths

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
                self.used, self.store, self.splits.val, self.run.vocabulary, self.recipe.decoding, self.device
            )
            entry |= {f"val {name}": score for name, score in validation.scores.items()}
        progress.epoch += 1
        progress.step, progress.words, progress.loss_sum, progress.reward_sum = 0, 0, 0.0, 0.0
        if validation:
            score = validation.scores.get("CIDEr", -validation.scores["loss"])
            progress.without_gain += 1
            if score > progress.best_score:
                progress.best, progress.best_score, progress.without_gain = progress.name, score, 0
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
        save_checkpoint(self.run.folder, self.progress, self.model, self.optimizer, self._facts(), self.average)
        self._saved_at = time.monotonic()

    def _facts(self) -> dict[str, Any]:
        return {
            "showtell": __version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": self.device.type,
            "bf16": self.autocast,
        }


def word_loss(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Logits (N, V), targets (N,) -> the loss to train on, and the plain cross-entropy to report; nats a word."""
    log_probs = logits.log_softmax(1)
    plain = F.nll_loss(log_probs, targets)
    if smoothing == 0:
        return plain, plain.detach()
    return (1 - smoothing) * plain - smoothing * log_probs.mean(), plain.detach()


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
    for group, share in zip(optimizer.param_groups, (1.0, recipe.encoder.learning_rate), strict=False):
        group["lr"] = rate * share


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises `ShowtellError` where CUDA is asked for and missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ShowtellError("--device cuda: torch finds no CUDA device; use --device cpu, or a torch built for CUDA")
    return torch.device(name)


def choose_autocast(amp: str, device: torch.device) -> bool:
    """bf16 where asked, or where it is `auto` and the device multiplies bf16 faster than float32."""
    if amp != "auto":
        return amp == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without these instructions the processor emulates bf16, slower than float32.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _seed(*parts: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for an end after the step that runs; a second Ctrl-C ends at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield lambda: False
        return

    def ask(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
