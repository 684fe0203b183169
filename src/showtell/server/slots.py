"""How much is in work at once: pictures and the bytes of bodies, both bounded. Used on the event loop alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from showtell.server.problems import Problem

RETRY_AFTER = "1"  # seconds


@dataclass(eq=False)
class Ticket:
    """One request's place: the first picture that it brings takes no other."""

    size: int  # bytes of its body, and of what was fetched for it
    spare: bool = True


_ticket: ContextVar[Ticket | None] = ContextVar("showtell-ticket", default=None)


class Slots:
    """Places for pictures that are being received, wait or are in work."""

    def __init__(self, pictures: int, total_bytes: int, tell: Callable[[int], None] = lambda used: None) -> None:
        """`tell` is called with the number of places taken whenever it changes."""
        self.limit, self.bytes_limit = pictures, total_bytes
        self.used, self.bytes_used = 0, 0
        self._tell = tell

    def _take(self, places: int) -> None:
        self.used += places
        self._tell(self.used)

    @contextmanager
    def request(self, size: int) -> Iterator[None]:
        """A place for a request whose body has at most `size` bytes. Raises `Problem` (503) where it is full."""
        if self.used >= self.limit or self.bytes_used + size > self.bytes_limit:
            raise _full()
        self._take(1)
        self.bytes_used += size
        ticket = Ticket(size)
        token = _ticket.set(ticket)
        try:
            yield
        finally:
            _ticket.reset(token)
            self._take(-1)
            self.bytes_used -= ticket.size

    def hold(self, size: int) -> None:
        """Count bytes that were fetched for this request, until it ends. Raises `Problem` (503) where it is full."""
        ticket = _ticket.get()
        if ticket is None:
            return
        if self.bytes_used + size > self.bytes_limit:
            raise _full()
        self.bytes_used += size
        ticket.size += size

    @contextmanager
    def picture(self) -> Iterator[None]:
        """A place for one picture: that of its request, or one more. Raises `Problem` (503) where it is full."""
        ticket = _ticket.get()
        if ticket is not None and ticket.spare:
            ticket.spare = False
            try:
                yield
            finally:
                ticket.spare = True
            return
        if self.used >= self.limit:
            raise _full()
        self._take(1)
        try:
            yield
        finally:
            self._take(-1)


def _full() -> Problem:
    return Problem(
        503,
        f"more is in work than this server takes; try again in {RETRY_AFTER} second",
        title="Too busy",
        headers={"Retry-After": RETRY_AFTER},
        reason="queue_full",
    )
