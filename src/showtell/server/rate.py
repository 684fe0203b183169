"""How often one client may ask: a token bucket for each."""

import time
from collections import OrderedDict
from collections.abc import Callable

CLIENTS = 10_000  # buckets that are kept, at most: a flood from many addresses must not fill the memory


class RateLimit:
    """`per_minute` requests a minute for each client, and as many at once after a minute's rest."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._size = max(per_minute, 1.0)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tokens, and when counted

    def wait(self, client: str) -> float:
        """Take one token. Returns 0, or where none is left the seconds until there is one."""
        now = self._clock()
        tokens, then = self._buckets.pop(client, (self._size, now))
        tokens = min(self._size, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)  # the one that asked longest ago
        return 0.0 if allowed else (1 - tokens) / self._per_second
