"""`showtell serve --workers 2` killed with SIGKILL and started again at once, at the same port: ready in at most 2 s.

    python benchmarks/serving_start.py [BUNDLE]

On two cores and a warm disk. Ready means: the line that says so is printed, which waits for both workers; `/readyz`
answers 200; and a photo of 640 x 480 gets its caption. The median and the longest of eleven starts count. Beside it, in
turn: two processes at once that import the libraries which each worker must import, and do nothing else.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from common import Row, machine, make_photos, report, showtell, two_cores

RUNS, WORKERS, SECONDS = 11, 2, 2.0
PATIENCE_S = 60
LEAST = [sys.executable, "-c", "import fastapi, numpy, onnxruntime, PIL.Image, prometheus_client, uvicorn"]


def main() -> int:
    two_cores()
    # Byte code that is never kept would be compiled anew in every run, which no user's installation does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    ready, least = [], []
    with tempfile.TemporaryDirectory() as folder:
        photo = make_photos(Path(folder), 1)[0].read_bytes()
        server, port, _ = _start(0, photo)
        try:
            for _ in range(RUNS):
                server.kill()
                server.wait()
                server, _, seconds = _start(port, photo)
                ready.append(seconds)
                least.append(_least())
        finally:
            server.terminate()
            server.communicate(timeout=PATIENCE_S)
    print(machine())
    return report(
        f"{WORKERS} workers killed and started again, {RUNS} times",
        [
            Row("ready, median", median(ready), "s", SECONDS),
            Row("ready, longest", max(ready), "s", SECONDS),
            Row("imports alone, median", median(least), "s"),
        ],
    )


def _start(port: int, photo: bytes) -> tuple["subprocess.Popen[str]", int, float]:
    """The server, its port, and the seconds until it was ready."""
    began = time.perf_counter()
    command = [str(showtell()), "serve", *sys.argv[1:2], "--workers", str(WORKERS), "--port", str(port)]
    # Its log goes nowhere: nobody reads a pipe while it is asked.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    found = re.search(r":(\d+)/", server.stdout.readline())
    if not found:
        raise SystemExit(f"{' '.join(command)}: did not start")
    with contextlib.closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE_S)) as connection:
        for method, path, body in (("GET", "/readyz", b""), ("POST", "/model/predict", _form(photo))):
            connection.request(method, path, body, {"Content-Type": "multipart/form-data; boundary=showtell"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {answer.read().decode()}")
            answer.read()
    return server, int(found[1]), time.perf_counter() - began


def _form(photo: bytes) -> bytes:
    part = b'Content-Disposition: form-data; name="image"; filename="a.jpg"'
    return b"--showtell\r\n" + part + b"\r\n\r\n" + photo + b"\r\n--showtell--"


def _least() -> float:
    began = time.perf_counter()
    for child in [subprocess.Popen(LEAST) for _ in range(WORKERS)]:
        child.wait()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
