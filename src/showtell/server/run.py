"""One process from its start to its end: models, the application, SIGTERM. Several of them: see `workers.py`."""

import asyncio
import ctypes
import gc
import signal
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from showtell.captioner import Captioner
from showtell.server.app import create_app
from showtell.server.options import ServeOptions
from showtell.server.patience import PatientProtocol
from showtell.server.service import Service
from showtell.server.sockets import BACKLOG
from showtell.threads import default_threads

CONNECTIONS = 4096  # at once, in each worker
KEEP_ALIVE_S = 75  # seconds that an idle connection is kept, more than nginx keeps its own
LAST_S = 5  # seconds beyond the deadline for the last answers at the end
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # numbers in glibc's malloc.h
_HEAD_BYTES = 32 * 1024


class _Server(uvicorn.Server):
    """uvicorn's, but an end that was asked for is no failure, and what is not ready says so."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is loaded now stays. Left out of its rounds, Python's collector makes them often, and what requests leave
        # behind in circles, such as errors with the frames that hold their pictures, does not pile up.
        gc.collect()
        gc.freeze()
        gc.enable()
        self._started()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.ready = False
        super().handle_exit(sig, frame)


def load_models(models: Mapping[str, Path], options: ServeOptions) -> dict[str, Captioner]:
    """The captioners of bundles, by name. Raises as `Captioner.load`."""
    threads = options.threads or max(1, default_threads() // options.workers)
    return {name: Captioner.load(path, threads=threads) for name, path in models.items()}


def run(
    options: ServeOptions,
    models: Mapping[str, Path],
    sockets: Sequence[socket.socket],
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; the requests at hand are answered first.

    `started` is called once requests are taken. Raises as `Captioner.load`, and `ServeError`.
    """
    _allow_connections()
    _give_memory_back()
    app = create_app(options, load_models(models, options))
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(options.trusted_proxies),
        forwarded_allow_ips=list(options.trusted_proxies),
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(options.deadline_s + LAST_S) + 1,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    server = _Server(config, app.state.service, started)
    asyncio.run(server.serve(list(sockets)))


def _give_memory_back() -> None:
    """Tell glibc to give back what large pictures took: after 10,000 odd ones the process is half as large."""
    with suppress(OSError, AttributeError, TypeError):  # other systems and libraries have no such switch
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def _allow_connections() -> None:
    """Each connection is an open file, of which systems allow 1,024 unless asked."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * CONNECTIONS
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
