"""Several processes at one port: started, watched, started again, ended together.

The first process opens the sockets and answers nothing. Each worker is a fresh Python that gets the sockets, and its
set-up as one line of JSON through its standard input. That stays open as long as the first process lives: when it is
killed, the workers see the end of it and end too, so that the port is free again.
"""

import dataclasses
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from showtell.errors import ServeError, ShowtellError
from showtell.server.logs import LOGGER
from showtell.server.options import ServeOptions

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # see metrics.py, which must not be imported before it is set
_READY, _CANNOT = "ready", "cannot "  # lines of a worker's standard output; behind the second stands why
_STEADY_S = 5.0  # a worker that lived so long may be started again at once
_TRIES = 3  # short lives in a row after which the server gives up


class Workers:
    """The processes of one server."""

    def __init__(
        self,
        options: ServeOptions,
        models: Mapping[str, Path],
        sockets: Sequence[socket.socket],
        started: Callable[[], None] = lambda: None,
    ) -> None:
        """`started` is called once all of them take requests."""
        if sys.platform == "win32":
            raise ServeError("several workers are not possible on Windows; leave out --workers")
        self._options, self._models, self._sockets, self._started = options, models, list(sockets), started
        self._running: list[_Worker] = []
        # A worker that is ready, or gone; None is the signal to end. Handlers of signals may fill a queue of this kind.
        self._news: SimpleQueue[tuple[_Worker, bool] | None] = SimpleQueue()

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code: 0 if every worker ended as it was told.

        Raises `ServeError` where a worker cannot start, they end again and again, or no temporary file can be written.
        """
        before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with _shared_folder() as shared:
                return self._watch(Path(shared))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, shared: Path) -> int:
        failures, told = 0, False
        self._running = [self._start(shared) for _ in range(self._options.workers)]
        while (news := self._news.get()) is not None:
            worker, gone = news
            if not gone:
                if not told and all(one.ready for one in self._running):
                    told = True
                    self._started()
                continue
            code = worker.process.wait()
            _forget(shared, worker.process.pid)
            failures = 0 if time.monotonic() - worker.began > _STEADY_S else failures + 1
            if failures >= _TRIES or (worker.reason and not told):
                self._end_all()
                raise ServeError(worker.reason or f"workers end as soon as they start (exit code {code})")
            LOGGER.error({"event": "worker_ended", "exit_code": code, "message": worker.reason or "is started again"})
            self._running[self._running.index(worker)] = self._start(shared)
        return self._end_all()

    def _start(self, shared: Path) -> "_Worker":
        handles = [one.fileno() for one in self._sockets]
        process = subprocess.Popen(
            [sys.executable, "-m", "showtell.server.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=handles,
            env=os.environ | {SHARED: str(shared)},
            text=True,
            process_group=0,  # Ctrl-C reaches the first process alone, which tells the others
        )
        models = {name: str(path) for name, path in self._models.items()}
        told = {"options": dataclasses.asdict(self._options), "models": models, "sockets": handles}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, which `_watch` sees
        worker = _Worker(process)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: "_Worker") -> None:
        """What one worker tells, until it is gone."""
        out = worker.process.stdout
        assert out is not None
        with out:
            for line in out:
                if line.startswith(_CANNOT):
                    worker.reason = line.removeprefix(_CANNOT).strip()
                elif line.strip() == _READY:
                    worker.ready = True
                    self._news.put((worker, False))
        self._news.put((worker, True))

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._news.put(None)

    def _end_all(self) -> int:
        for one in self._sockets:
            one.close()
        for worker in self._running:
            worker.process.send_signal(signal.SIGTERM)
        codes = [worker.process.wait() for worker in self._running]
        for worker in self._running:
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        # One that was told to end before it had begun to listen for that ends by the signal itself.
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1


@dataclasses.dataclass(eq=False)
class _Worker:
    process: "subprocess.Popen[str]"
    began: float = dataclasses.field(default_factory=time.monotonic)  # seconds
    ready: bool = False  # takes requests
    reason: str = ""  # why it cannot


def _shared_folder() -> "tempfile.TemporaryDirectory[str]":
    """Where the workers' counts meet. Raises `ServeError`."""
    try:
        return tempfile.TemporaryDirectory(prefix="showtell-metrics-")
    except OSError as error:
        raise ServeError(f"no folder for temporary files ({error}); name one that can be written in TMPDIR") from error


def _forget(shared: Path, pid: int) -> None:
    """What a worker that is gone had in work no longer is; its counts stay."""
    for file in shared.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)


def main() -> int:
    """One worker."""
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_follow, daemon=True).start()
    gc.disable()  # nothing of what is loaded now is garbage; the server enables it again
    from showtell.server.logs import set_up
    from showtell.server.run import run
    from showtell.server.sockets import inherited

    set_up()
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told["options"].items()
    }
    sockets = [inherited(handle) for handle in told["sockets"]]
    models = {name: Path(path) for name, path in told["models"].items()}
    try:
        run(ServeOptions(**values), models, sockets, lambda: print(_READY, flush=True))
    except ShowtellError as error:
        print(f"{_CANNOT}{' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def _follow() -> None:
    """End at once when the first process is gone."""
    while sys.stdin.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
