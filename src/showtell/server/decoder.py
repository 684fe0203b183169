"""A thread that decodes pictures as they come: they join the search of their like, and leave it when they are done.

While there is room, a picture waits neither for the end of those before it nor for longer captions of its neighbours,
and still shares each word's work with all of its like: the model's weights are read from memory once for all of them.
Pictures that were encoded together join together, so under full load they wait until there is room for all of them.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from itertools import count

from showtell.backend import CaptionSearch
from showtell.captioner import Captioner
from showtell.server.jobs import Encoded, Job, tell
from showtell.server.metrics import Metrics


class _Search:
    """The pictures of one model that are decoded by the same options."""

    def __init__(self, search: CaptionSearch) -> None:
        self.search = search
        self.jobs: dict[int, tuple[Job, float]] = {}  # by their names in the search, and since when (seconds)


class Decoder:
    """One thread. It starts when first needed and ends with `close`."""

    def __init__(
        self, name: str, captioners: Mapping[str, Captioner], metrics: Metrics, changed: threading.Condition, most: int
    ) -> None:
        """At most `most` pictures are decoded together; `changed` is told when some have left the queue."""
        self._captioners, self._metrics, self._changed, self._most = captioners, metrics, changed, most
        self._queue: deque[Encoded] = deque()
        self._searches: dict[tuple[object, ...], _Search] = {}  # by what their jobs have in common
        self._names = count()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def waiting(self) -> int:
        """Pictures that are not decoded yet."""
        return sum(len(part.jobs) for part in self._queue)

    def put(self, part: Encoded) -> None:
        """Pictures that shall be decoded: `most` of them or fewer."""
        with self._changed:
            if not self._thread.ident:
                self._thread.start()
            self._queue.append(part)
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread. What still waits is never answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join()

    def _work(self) -> None:
        while self._wait():
            for part in self._next():
                self._join(part)
            for like in list(self._searches):
                self._step(like)

    def _wait(self) -> bool:
        """Until there is something to do; false when the thread shall end."""
        with self._changed:
            while not (self._closed or self._queue or self._searches):
                self._changed.wait()
            return not self._closed

    def _next(self) -> list[Encoded]:
        """Those for whom there is room, in their order."""
        room = self._most - sum(len(search.jobs) for search in self._searches.values())
        parts: list[Encoded] = []
        with self._changed:
            while self._queue and len(self._queue[0].jobs) <= room:
                parts.append(self._queue.popleft())
                room -= len(parts[-1].jobs)
            if parts:
                self._changed.notify_all()
        return parts

    def _join(self, part: Encoded) -> None:
        jobs, first = part.jobs, part.jobs[0]
        if all(job.given_up for job in jobs):
            return
        names = [next(self._names) for _ in jobs]
        began = time.monotonic()
        try:
            search = self._searches.get(first.like)
            if search is None:
                search = _Search(self._captioners[first.model].search(first.options, attention=first.attention))
            search.search.add(part.regions, names, [job.key for job in jobs])
        except Exception as error:  # of whatever kind: these fail, the server goes on
            tell(jobs, error)
            return
        search.jobs |= {name: (job, began) for name, job in zip(names, jobs, strict=True)}
        self._searches[first.like] = search

    def _step(self, like: tuple[object, ...]) -> None:
        """Decode one search a word further."""
        jobs = self._searches[like].jobs
        if all(job.given_up for job, _ in jobs.values()):
            del self._searches[like]
            return
        try:
            done = self._searches[like].search.step()
        except Exception as error:  # of whatever kind: those of this search fail
            tell([job for job, _ in jobs.values()], error)
            del self._searches[like]
            return
        if not done:
            return
        ready = [jobs.pop(name) for name, _ in done]
        if not jobs:
            del self._searches[like]
        now = time.monotonic()
        for _, began in ready:
            self._metrics.stages["decode"].observe(now - began)
        tell([job for job, _ in ready], [captions for _, captions in done])
