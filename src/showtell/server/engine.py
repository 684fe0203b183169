"""Pictures of many requests through one encoder: read, gathered, encoded together, decoded by options.

Every stage has threads of its own, so that none waits for another's: readers open and scale pictures (large ones apart,
one at a time, as each may take a second and hundreds of megabytes), one thread gathers and encodes, one decodes what
costs little and one what costs much. The event loop only waits.

Encoding costs the same for each picture, alone or among others, but decoding one costs half as much as decoding four:
its weights are read from memory for every word. So all that has been encoded while others were decoded is decoded
together, however it was encoded.

B pictures of a batch.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from showtell.caption import Caption
from showtell.captioner import Captioner, picture_key
from showtell.decoding.options import DecodeOptions
from showtell.errors import ShowtellError
from showtell.names import Named
from showtell.server.metrics import Metrics
from showtell.server.options import ServeOptions
from showtell.sources import open_picture
from showtell.threads import usable_cores

LARGE = 6_000_000  # pixels from which a picture is read apart
DEAR = 120  # hypotheses times words from which decoding is done apart
TOGETHER = 4  # dear pictures that are decoded in one go: the next one's turn comes sooner

_PICTURE = "the picture"  # what messages call it: no name of a file is known here


@dataclass(eq=False)
class _Job:
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


@dataclass(eq=False)
class _Encoded:
    """Pictures of one batch that ask for the same, ready to be decoded."""

    jobs: list[_Job]
    regions: Any  # what the encoder gave of them

    def goes_with(self, other: "_Encoded") -> bool:
        """Whether both can be decoded in one go."""
        mine, its = self.jobs[0], other.jobs[0]
        alike = (mine.model, mine.options, mine.attention) == (its.model, its.options, its.attention)
        # What other families of models give may be no array, and then it cannot be put together.
        return alike and isinstance(self.regions, np.ndarray)


class Engine:
    """The threads of one worker. They start when first needed and end with `close`."""

    def __init__(self, captioners: Mapping[str, Captioner], options: ServeOptions, metrics: Metrics) -> None:
        self._captioners, self._options, self._metrics = captioners, options, metrics
        self._readers = ThreadPoolExecutor(max(1, min(usable_cores(), 4) // options.workers), "showtell-read")
        self._large = ThreadPoolExecutor(1, "showtell-read-large")
        self._dear = ThreadPoolExecutor(1, "showtell-decode-dear")
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._encoded: deque[_Encoded] = deque()  # those that are cheap to decode
        self._reading = 0  # pictures that will be waiting soon
        self._closed = False
        self._threads: list[threading.Thread] = []

    async def caption(self, model: str, picture: bytes, options: DecodeOptions, *, attention: bool) -> list[Caption]:
        """The captions of one picture's file, best first. Cancelling leaves the queue.

        Raises `ImageError` where it is broken or too large, `ShowtellError` where the model fails.
        """
        pixels, key = await self._read(self._captioners[model], picture)
        loop = asyncio.get_running_loop()
        job = _Job(model, options, attention, pixels, key, loop.create_future())
        with self._changed:
            if not self._threads:
                for work, name in ((self._encode_all, "showtell-encode"), (self._decode_all, "showtell-decode")):
                    self._threads.append(threading.Thread(target=work, name=name, daemon=True))
                    self._threads[-1].start()
            self._waiting.append(job)
            self._changed.notify_all()
        try:
            return await job.answer
        finally:
            job.given_up = True

    def close(self) -> None:
        """End the threads. What still waits is never answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for pool in (self._readers, self._large, self._dear):
            pool.shutdown(cancel_futures=True)

    async def _read(self, captioner: Captioner, picture: bytes) -> tuple[NDArray[Any], int]:
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        self._reading += 1
        try:
            found = await loop.run_in_executor(self._readers, self._prepare, captioner, picture, False)
        finally:
            self._reading -= 1
        if found is None:
            found = await loop.run_in_executor(self._large, self._prepare, captioner, picture, True)
            assert found is not None
        if isinstance(found, ShowtellError):
            raise found
        self._metrics.stages["read"].observe(time.monotonic() - began)
        return found

    def _prepare(
        self, captioner: Captioner, content: bytes, large: bool
    ) -> tuple[NDArray[Any], int] | ShowtellError | None:
        """Pixels and their key; or what is wrong; or None for a large picture where such are not meant to be read."""
        limits = self._options
        try:
            named = Named(_PICTURE, content)
            opened = open_picture(named, max_pixels=limits.max_pixels, max_bytes=limits.max_body_bytes)
            if not large and opened.width * opened.height > LARGE:
                return None
            pixels = captioner.read(opened)
        except ShowtellError as error:
            # Anew: through its traceback the first would keep the picture in memory for as long as itself is kept.
            return type(error)(str(error))
        return pixels, picture_key(pixels)

    def _encode_all(self) -> None:
        """The encoding thread: one batch after the other."""
        while batch := self._gather():
            try:
                self._encode(batch)
            except Exception as error:  # of whatever kind: the batch fails, the server goes on
                _tell(batch, error)

    def _gather(self) -> list[_Job]:
        """The next pictures of one model, in order of arrival; empty when the engine is closed.

        None are taken as long as a whole batch waits to be decoded: those that come meanwhile may make a larger one.
        """
        with self._changed:
            while not self._closed:
                if any(job.given_up for job in self._waiting):
                    self._waiting = deque(job for job in self._waiting if not job.given_up)
                if not self._waiting or sum(len(part.jobs) for part in self._encoded) >= self._options.batch:
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                batch = [job for job in self._waiting if job.model == first.model][: self._options.batch]
                left = first.arrived + self._options.batch_ms / 1000 - time.monotonic()
                if len(batch) == self._options.batch or left <= 0 or not self._reading:
                    taken = set(map(id, batch))
                    self._waiting = deque(job for job in self._waiting if id(job) not in taken)
                    return batch
                self._changed.wait(left)
        return []

    def _encode(self, batch: list[_Job]) -> None:
        """Encode the pictures and hand them on to be decoded."""
        began = time.monotonic()
        # Those with equal options side by side: a group is then a slice of the batch.
        batch.sort(key=lambda job: (job.cost, repr(job.options), job.attention))
        captioner = self._captioners[batch[0].model]
        regions = captioner.encode(np.stack([job.pixels for job in batch]))
        seconds = time.monotonic() - began
        self._metrics.batch.observe(len(batch))
        for job in batch:
            self._metrics.stages["wait"].observe(began - job.arrived)
            self._metrics.stages["encode"].observe(seconds)
        cheap: list[_Encoded] = []
        start = 0
        for _, group in groupby(batch, key=lambda job: (job.options, job.attention)):
            jobs = list(group)
            if jobs[0].cost <= DEAR:
                cheap.append(_Encoded(jobs, regions[start : start + len(jobs)]))
            else:
                for i in range(0, len(jobs), TOGETHER):
                    some = jobs[i : i + TOGETHER]
                    self._dear.submit(self._decode, [_Encoded(some, regions[start + i : start + i + len(some)])])
            start += len(jobs)
        with self._changed:
            self._encoded.extend(cheap)
            self._changed.notify_all()

    def _decode_all(self) -> None:
        """The thread that decodes what is cheap."""
        while parts := self._ready():
            self._decode(parts)

    def _ready(self) -> list[_Encoded]:
        """What was encoded first, and all that can be decoded with it; empty when the engine is closed."""
        with self._changed:
            while not self._closed:
                if not self._encoded:
                    self._changed.wait()
                    continue
                parts = [self._encoded.popleft()]
                for other in list(self._encoded):
                    count = sum(len(part.jobs) for part in parts)
                    if parts[0].goes_with(other) and count + len(other.jobs) <= self._options.batch:
                        parts.append(other)
                        self._encoded.remove(other)
                self._changed.notify_all()
                return parts
        return []

    def _decode(self, parts: Sequence[_Encoded]) -> None:
        jobs = [job for part in parts for job in part.jobs]
        if all(job.given_up for job in jobs):
            return
        began = time.monotonic()
        try:
            regions = parts[0].regions if len(parts) == 1 else np.concatenate([part.regions for part in parts])
            captions = self._captioners[jobs[0].model].decode(
                regions, jobs[0].options, picture_keys=[job.key for job in jobs], attention=jobs[0].attention
            )
        except Exception as error:
            _tell(jobs, error)
            return
        seconds = time.monotonic() - began
        for _ in jobs:
            self._metrics.stages["decode"].observe(seconds)
        _tell(jobs, captions)


def _tell(jobs: Sequence[_Job], outcome: Sequence[list[Caption]] | Exception) -> None:
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
