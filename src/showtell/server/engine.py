"""Pictures of many requests through one encoder: read, gathered, encoded together, decoded with their like.

Every stage has threads of its own, so that none waits for another's: readers open and scale pictures (large ones apart,
one at a time, as each may take a second and hundreds of megabytes), one thread gathers and encodes, one decodes what
costs little and one what costs much (see `decoder.py`). The event loop only waits.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from showtell.caption import Caption
from showtell.captioner import Captioner, picture_key
from showtell.decoding.options import DecodeOptions
from showtell.errors import ShowtellError
from showtell.names import Named
from showtell.server.decoder import Decoder
from showtell.server.jobs import Encoded, Job, tell
from showtell.server.metrics import Metrics
from showtell.server.options import ServeOptions
from showtell.sources import open_picture
from showtell.threads import usable_cores

LARGE = 6_000_000  # pixels from which a picture is read apart
DEAR = 120  # hypotheses times words from which decoding is done apart
DEAR_TOGETHER = 4  # dear pictures that are decoded at the same time

_PICTURE = "the picture"  # what messages call it: no name of a file is known here


class Engine:
    """The threads of one worker. They start when first needed and end with `close`."""

    def __init__(self, captioners: Mapping[str, Captioner], options: ServeOptions, metrics: Metrics) -> None:
        self._captioners, self._options, self._metrics = captioners, options, metrics
        self._readers = ThreadPoolExecutor(max(1, min(usable_cores(), 4) // options.workers), "showtell-read")
        self._large = ThreadPoolExecutor(1, "showtell-read-large")
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._reading = 0  # pictures that will be waiting soon
        self._closed = False
        self._encoder = threading.Thread(target=self._encode_all, name="showtell-encode", daemon=True)
        self._cheap = Decoder("showtell-decode", captioners, metrics, self._changed, options.batch)
        self._dear = Decoder("showtell-decode-dear", captioners, metrics, self._changed, DEAR_TOGETHER)

    async def caption(self, model: str, picture: bytes, options: DecodeOptions, *, attention: bool) -> list[Caption]:
        """The captions of one picture's file, best first. Cancelling leaves the queue.

        Raises `ImageError` where it is broken or too large, `ShowtellError` where the model fails.
        """
        pixels, key = await self._read(self._captioners[model], picture)
        loop = asyncio.get_running_loop()
        job = Job(model, options, attention, pixels, key, loop.create_future())
        with self._changed:
            if not self._encoder.ident:
                self._encoder.start()
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
        if self._encoder.ident:
            self._encoder.join()
        self._cheap.close()
        self._dear.close()
        for pool in (self._readers, self._large):
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
                tell(batch, error)

    def _gather(self) -> list[Job]:
        """The next pictures of one model, in order of arrival; empty when the engine is closed.

        None are taken as long as a whole batch waits to be decoded: those that come meanwhile may make a larger one.
        """
        with self._changed:
            while not self._closed:
                if any(job.given_up for job in self._waiting):
                    self._waiting = deque(job for job in self._waiting if not job.given_up)
                if not self._waiting or self._cheap.waiting >= self._options.batch:
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

    def _encode(self, batch: list[Job]) -> None:
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
        start = 0
        for _, group in groupby(batch, key=lambda job: job.like):
            jobs = list(group)
            theirs = regions[start : start + len(jobs)]
            start += len(jobs)
            if jobs[0].cost <= DEAR:
                self._cheap.put(Encoded(jobs, theirs))
            else:  # one by one: few are decoded at the same time, and each joins when there is room for it
                for i, job in enumerate(jobs):
                    self._dear.put(Encoded([job], theirs[i : i + 1]))
