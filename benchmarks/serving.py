"""The server against plain Flask under gunicorn that calls the same bundle once per request; same run, same photos.

    python benchmarks/serving.py [--seconds 10] [--overload 60]

JPEGs of 640 x 480, two cores for server and load together, the load in a second process on loopback. Asked: with 64
clients at once at least 1.2 times the throughput of Flask, the better of one worker with two threads and two with one,
and no failure; at half that load the 99th percentile at most 5 times the median of a single request; at 4 times that
load memory flat, what is too much refused with 503 at once, and after it a single request as fast as before.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from common import Row, machine, make_photos, report, two_cores

HERE = Path(__file__).parent
PHOTOS, CLIENTS = 64, 64
WARM_UP_S = 2.0
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds of the overload")
    asked = parser.parse_args()
    two_cores()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        make_photos(photos, PHOTOS)
        flask = max(_flask(photos, asked.seconds, workers, threads) for workers, threads in ((1, 2), (2, 1)))
        with _ours() as (port, process):
            rows = _measure(port, process, photos, asked.seconds, asked.overload, flask)
    print(machine())
    return report(f"{CLIENTS} clients, {asked.seconds:g} s each; overload {asked.overload:g} s", rows)


def _measure(
    port: int, process: "subprocess.Popen[str]", photos: Path, seconds: float, overload: float, flask: float
) -> list[Row]:
    _load(port, photos, WARM_UP_S, "--clients", "16")
    single = _load(port, photos, seconds / 2, "--clients", "1")[200]
    full = _load(port, photos, seconds, "--clients", str(CLIENTS))
    throughput = len(full[200]) / full["seconds"]
    half = _load(port, photos, seconds, "--rate", str(throughput / 2))
    before = _megabytes(process.pid)
    most = _load(port, photos, overload / 6, "--rate", str(4 * throughput))  # brings memory to its height
    warm = _megabytes(process.pid)
    over = _load(port, photos, overload, "--rate", str(4 * throughput))
    after = _megabytes(process.pid)
    again = _load(port, photos, seconds / 2, "--clients", "1")[200]
    refused, served = over.get(503, []), over.get(200, [])
    return [
        Row("Flask, captions a second", flask, "/s"),
        Row("ours, captions a second", throughput, "/s"),
        Row("times Flask", throughput / flask, "x", 1.2, at_least=True),
        Row("failures", _failures(full), "", 0),
        Row("single request, median", median(single), "ms"),
        Row("half load: median", median(half[200]), "ms"),
        Row("half load: p99 / median of a single one", _percentile(half[200], 99) / median(single), "x", 5),
        Row("half load: failures", _failures(half), "", 0),
        Row("overload: asked a second", sum(map(len, _lists(over))) / over["seconds"], "/s"),
        Row("overload: captions a second", len(served) / over["seconds"], "/s"),
        Row("overload: median of 503", median(refused or [0.0]), "ms", 50),
        Row("overload: p99 of 503", _percentile(refused or [0.0], 99), "ms", 250),
        Row("overload: p99 of captions", _percentile(served, 99), "ms"),
        Row("overload: neither 200 nor 503", _failures(over, 503), "", 0),
        Row("memory before", before, "MB"),
        Row("memory after / when warm", after / warm, "x", 1.1),
        Row("single request after, median / before", median(again) / median(single), "x", 1.5),
        Row("overload: first sixth, failures", _failures(most, 503), "", 0),
    ]


def _load(port: int, photos: Path, seconds: float, *arguments: str) -> dict[Any, Any]:
    """Status -> milliseconds, and under "seconds" how long was asked."""
    command = [sys.executable, str(HERE / "serving_load.py"), str(port), str(photos), str(seconds), *arguments]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {int(status): times for status, times in told["answers"].items()} | {"seconds": told["seconds"]}


def _lists(answers: dict[Any, Any]) -> list[list[float]]:
    return [times for status, times in answers.items() if status != "seconds"]


def _failures(answers: dict[Any, Any], *allowed: int) -> int:
    return sum(len(times) for status, times in answers.items() if status not in ("seconds", 200, *allowed))


def _percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def _flask(photos: Path, seconds: float, workers: int, threads: int) -> float:
    """Captions a second of the peer."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    gunicorn = [sys.executable, "-m", "gunicorn", "--chdir", str(HERE), "--bind", f"127.0.0.1:{port}"]
    gunicorn += ["--log-level", "error"]
    plan = ["--workers", str(workers), "--threads", str(threads), "--keep-alive", "75", "serving_flask:app"]
    with _running([*gunicorn, *plan]):
        _until_open(port)
        _load(port, photos, WARM_UP_S, "--clients", "16")
        full = _load(port, photos, seconds, "--clients", str(CLIENTS))
    rate: float = len(full[200]) / full["seconds"]
    print(f"Flask {workers} x {threads}: {rate:.1f} captions a second, {_failures(full)} failures", file=sys.stderr)
    return rate


@contextmanager
def _ours() -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    with _running([sys.executable, "-m", "showtell", "serve", "--port", "0"]) as process:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        if not found:
            raise SystemExit("showtell serve did not start")
        yield int(found[1]), process


@contextmanager
def _running(command: Sequence[str | Path]) -> Iterator["subprocess.Popen[str]"]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | ONE_THREAD
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def _until_open(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as one:
            if not one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise SystemExit("gunicorn did not start")


def _megabytes(pid: int) -> float:
    """Resident memory of a process now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1000


if __name__ == "__main__":
    sys.exit(main())
