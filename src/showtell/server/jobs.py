"""Pictures on their way through the engine, and how those who wait for them are woken."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from showtell.caption import Caption
from showtell.decoding.options import DecodeOptions


@dataclass(eq=False)
class Job:
    """One picture on its way."""

    model: str
    options: DecodeOptions
    attention: bool
    pixels: NDArray[Any]
    key: int  # of its noise
    answer: "asyncio.Future[list[Caption]]"
    arrived: float = field(default_factory=time.monotonic)  # seconds
    given_up: bool = False  # nobody waits for it any more

    @property
    def cost(self) -> int:
        """Hypotheses times words: what decoding costs, about."""
        asked = self.options
        return max(asked.num_captions if asked.sample else asked.beam_width, asked.candidates) * asked.max_words

    @property
    def like(self) -> tuple[object, ...]:
        """Those for whom this is equal can be decoded together."""
        return self.model, self.options, self.attention


@dataclass(eq=False)
class Encoded:
    """Pictures that ask for the same, ready to be decoded."""

    jobs: list[Job]
    regions: Any  # what the encoder gave of them


def tell(jobs: Sequence[Job], outcome: Sequence[list[Caption]] | Exception) -> None:
    """Wake those who wait: one call into the event loop for all."""

    def wake() -> None:
        for i, job in enumerate(jobs):
            if job.answer.done():
                continue
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome[i])

    loop = jobs[0].answer.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(wake)
