"""HTTP/1.1 by uvicorn, with an end to connections that are kept busy without ever bringing a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # a request's head must be there after this time, or twice it at most


class PatientProtocol(H11Protocol):
    """uvicorn's, which ends idle connections behind an answer; this ends those too that send no head, or slowly."""

    _look_again: asyncio.TimerHandle

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._suspect = False
        self._look_again = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_again.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        waiting = self.cycle is None or self.cycle.response_complete
        suspect = waiting and self.timeout_keep_alive_task is None
        if suspect and self._suspect:
            self.transport.abort()
            return
        self._suspect = suspect
        self._look_again = self.loop.call_later(HEAD_SECONDS, self._look)
