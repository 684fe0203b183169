"""A file server on this machine that breaks off, lies and refuses as it is told, and counts every byte it sends."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """How one request is answered; the default is right in all."""

    cut: int | None = None  # bytes sent before the connection is closed
    stall: bool = False  # keep the connection open after the cut, until the client goes
    status: int = 0  # answer this, with an empty body
    headers: dict = field(default_factory=dict)  # replace or, as None, leave out
    ranges: bool = True  # understand Range
    if_range: bool = True  # understand If-Range
    body: bytes | None = None  # of the whole file, in place of the true one
    chunked: bool = False


class FickleServer:
    """`files` maps paths to their content, `marks` to the headers that tell versions apart."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.marks: dict[str, dict[str, str]] = {}
        self.answers: list[Answer] = []  # for the next requests; then all is right
        self.asked: list[tuple[str, dict[str, str]]] = []  # path and headers of each request
        self.sent: list[tuple[str, int, int]] = []  # path, first byte, bytes sent
        self.address = ""

    def times_sent(self, path: str) -> list[int]:
        """How often each byte of a file was sent."""
        times = [0] * (len(self.files[path]) + 1)
        for name, start, count in self.sent:
            if name == path and count:
                times[start] += 1
                times[start + count] -= 1
        for place in range(1, len(times)):
            times[place] += times[place - 1]
        return times[:-1]


class _Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fickle: FickleServer = self.server.fickle
        fickle.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        answer = fickle.answers.pop(0) if fickle.answers else Answer()
        if answer.status or self.path not in fickle.files:
            self.send_response(answer.status or 404)
            for name, value in ({"Content-Length": "0"} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            return
        whole = fickle.files[self.path] if answer.body is None else answer.body
        marks = fickle.marks.get(self.path, {"ETag": f'"{hash(whole)}"'})
        start = self._start(answer, marks)
        headers = {"Content-Length": str(len(whole) - start), **marks}
        if start > len(whole) or (start and start == len(whole)):
            self.send_response(416)
            headers = {"Content-Length": "0", "Content-Range": f"bytes */{len(whole)}"}
            start = len(whole)
        elif start:
            self.send_response(206)
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        else:
            self.send_response(200)
        headers |= answer.headers | ({"Content-Length": None, "Transfer-Encoding": "chunked"} if answer.chunked else {})
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self._send(fickle, answer, whole[start:], start)

    def _start(self, answer, marks):
        """The byte from which a Range asks, if it is to be obeyed."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not (answer.ranges and asked) or (answer.if_range and condition and condition not in marks.values()):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, fickle, answer, body, start):
        body = body[: answer.cut]
        if answer.chunked:
            for place in range(0, len(body), 1000):
                piece = body[place : place + 1000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if answer.cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(body)
        fickle.sent.append((self.path, start, len(body)))
        if answer.stall:
            self.wfile.flush()
            self.rfile.read()  # ends when the client does

    def log_message(self, *_):
        pass


@contextmanager
def fickle_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.daemon_threads = True
    server.fickle = FickleServer()
    server.fickle.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield server.fickle
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
