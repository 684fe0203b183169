"""The load of serving.py, a process of its own: requests over kept connections, times of the answers as JSON.

python benchmarks/serving_load.py PORT FOLDER SECONDS --clients 64
python benchmarks/serving_load.py PORT FOLDER SECONDS --rate 200
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

WAITING = 60.0  # seconds for one answer
BOUNDARY = b"showtell-benchmark"


@dataclass
class Times:
    """What came back: status -> milliseconds of each answer; 0 is a connection that failed."""

    answers: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, began: float) -> None:
        self.answers.setdefault(status, []).append(1000 * (time.perf_counter() - began))


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, times: Times) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(WAITING):
                status = await self._ask(request)
        except (OSError, EOFError, TimeoutError):
            status = 0
            self.close()
        times.add(status, began)

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request_of(photo: bytes) -> bytes:
    part = b"Content-Disposition: form-data; name=image; filename=a.jpg\r\nContent-Type: image/jpeg\r\n\r\n"
    body = b"--" + BOUNDARY + b"\r\n" + part + photo + b"\r\n--" + BOUNDARY + b"--\r\n"
    head = f"POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n\r\n" + body


async def closed(port: int, requests: list[bytes], seconds: float, clients: int) -> tuple[Times, float]:
    """So many clients, each asks again as soon as it has its answer."""
    times, source = Times(), cycle(requests)
    began = time.perf_counter()

    async def client() -> None:
        connection = Connection(port)
        while time.perf_counter() < began + seconds:
            await connection.ask(next(source), times)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times, time.perf_counter() - began


async def open_ended(port: int, requests: list[bytes], seconds: float, rate: float) -> tuple[Times, float]:
    """So many requests a second, whatever comes back."""
    times, source = Times(), cycle(requests)
    free: list[Connection] = []
    running: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one() -> None:
        connection = free.pop() if free else Connection(port)
        await connection.ask(next(source), times)
        free.append(connection)

    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)
    asked = time.perf_counter() - began
    await asyncio.gather(*running)
    for connection in free:
        connection.close()
    return times, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--rate", type=float)
    asked = parser.parse_args()
    requests = [request_of(photo.read_bytes()) for photo in sorted(asked.folder.glob("*.jpg"))]
    if asked.rate:
        work = open_ended(asked.port, requests, asked.seconds, asked.rate)
    else:
        work = closed(asked.port, requests, asked.seconds, asked.clients)
    times, seconds = asyncio.run(work)
    print(json.dumps({"seconds": seconds, "answers": times.answers}))


if __name__ == "__main__":
    main()
