"""Several processes that train one run, as torchrun starts them: each computes a part of every step.

    torchrun --nproc-per-node 2 -m showtell train ...

Gradients are summed by torch's DistributedDataParallel. All that is decided (the loss, stopping, the best epoch) is
decided from sums that every process has, so all of them go the same way.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from showtell.errors import RecipeError, ShowtellError
from showtell.recipe import EncoderOptions

T = TypeVar("T")

_PATIENCE = timedelta(days=7)  # one fills the stores, which can take hours, while the others wait


class Group:
    """`size` processes, this one being number `rank`; a process that is alone is a group of one."""

    def __init__(self, device: torch.device) -> None:
        """Join the others, if torchrun has started this process."""
        self.device, self.rank, self.size = device, 0, 1
        if distributed.is_available() and distributed.is_torchelastic_launched():
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
                torch.cuda.set_device(self.device)
            if not distributed.is_initialized():
                distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def end(self, code: int) -> None:
        """End this process with an exit code if it is one of several, when all of them are done; else do nothing.

        Python is not taken down first: torch's threads for a group, which nothing but that ends, may let go of their
        last tensors when there is no Python any more, and then a process that has done all it should aborts
        (https://github.com/pytorch/pytorch/pull/179291).
        """
        if self.size > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def check(self, encoder: EncoderOptions) -> None:
        """Raise `RecipeError` where several processes cannot train an encoder as one would."""
        if self.size > 1 and encoder.train and not encoder.frozen_norms:
            raise RecipeError(
                f"encoder.frozen_norms is false, but each of {self.size} processes would estimate batch norms "
                "from its own pictures; leave it true, or train with one process"
            )

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum over the processes of each value, the same bits in all of them."""
        if self.size == 1:
            return list(values)
        with self.together():
            summed = torch.tensor(values, dtype=torch.float64, device=self.device)
            distributed.all_reduce(summed)
            return [float(value) for value in summed]

    def gather(self, value: T) -> list[T]:
        """What each process gives, in the order of their numbers."""
        if self.size == 1:
            return [value]
        with self.together():
            values: list[T | None] = [None] * self.size
            distributed.all_gather_object(values, value)
            return values  # type: ignore[return-value]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """What stands within is done by one process after the other, the leading one first."""
        for rank in range(self.size):
            if rank == self.rank:
                yield
            if self.size > 1:
                with self.together():
                    distributed.barrier()

    def learner(self, model: nn.Module) -> nn.Module:
        """The module to call for a loss whose gradients are to be the mean over the processes."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def gradients_later(self, learner: nn.Module, later: bool) -> AbstractContextManager[None]:
        """Within, gradients are kept for the next backward pass to sum over the processes, if there is one."""
        if later and isinstance(learner, DistributedDataParallel):
            held: AbstractContextManager[None] = learner.no_sync()
            return held
        return nullcontext()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Where processes wait for each other: raises `ShowtellError` where one of them has gone."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ShowtellError(
                f"process {self.rank} of {self.size}: another one has gone or failed ({reason[:200]}); the last "
                "checkpoint is whole: start them all again with --resume"
            ) from error
