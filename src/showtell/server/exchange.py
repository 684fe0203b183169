"""One request and its answer, watched: the body's size and time, the deadline, a client that goes away."""

import asyncio
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from showtell.server.options import ServeOptions
from showtell.server.problems import Problem


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class Exchange:
    """Runs the application on one request, and ends it when it takes too long or nobody waits."""

    def __init__(self, app: ASGIApp, options: ServeOptions, scope: Scope, receive: Receive, send: Send) -> None:
        self._app, self._options, self._scope, self._receive, self._send = app, options, scope, receive, send
        self.received = 0  # bytes of the body
        self._whole = asyncio.Event()  # the body is there
        self._answered = False  # to the last byte
        self._ended: Problem | ClientGoneError | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self, *, has_body: bool) -> None:
        """Raises `Problem` (408, 413, 504), `ClientGoneError`, or what the application raises."""
        if not has_body:
            self._whole.set()
        self._task = asyncio.ensure_future(_finish(self._app(self._scope, self._read(has_body), self._answer)))
        watcher = asyncio.create_task(self._watch())
        try:
            done, _ = await asyncio.wait({self._task}, timeout=self._options.deadline_s)
            if not done:
                limit = self._options.deadline_s
                self._end(Problem(504, f"no answer within {limit:g} seconds; ask for less", reason="deadline"))
                await asyncio.wait({self._task})
            if self._ended is not None:
                raise self._ended
            self._task.result()
        finally:
            watcher.cancel()
            self._task.cancel()

    async def _answer(self, message: Message) -> None:
        # Before it is sent: servers call a client gone that has its answer.
        self._answered = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    def _read(self, has_body: bool) -> Receive:
        """What the application gets as `receive`."""
        first = not has_body

        async def read() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._whole.is_set():
                await asyncio.Future()  # until the watcher sees the client go, which cancels this
            message = await self._receive()
            if message["type"] != "http.request":
                self._end(ClientGoneError())
                await asyncio.Future()
            self.received += len(message.get("body", b""))
            if self.received > self._options.max_body_bytes:
                self._end(too_large(self._options))
                await asyncio.Future()
            if not message.get("more_body", False):
                self._whole.set()
            return message

        return read

    async def _watch(self) -> None:
        try:
            async with asyncio.timeout(self._options.receive_s):
                await self._whole.wait()
        except TimeoutError:
            limit = self._options.receive_s
            self._end(Problem(408, f"the request's body did not come within {limit:g} seconds", reason="slow_body"))
            return
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(ClientGoneError())

    def _end(self, why: "Problem | ClientGoneError") -> None:
        if self._ended is None and self._task is not None and not self._task.done() and not self._answered:
            self._ended = why
            self._task.cancel()


async def _finish(work: Awaitable[None]) -> None:
    await work


def too_large(options: ServeOptions) -> Problem:
    """The answer to a body that has too many bytes."""
    return Problem(413, f"the body has more than the {options.max_body_bytes} bytes allowed; make the picture smaller")
