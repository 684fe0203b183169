"""Two servers behind nginx as docs/serve.md sets it up: one is killed, and clients hardly notice."""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from served_process import BODY, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
]

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
[CONFIGURATION] = re.findall(r"^```nginx\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
NAME = "photos.example.org"
CLIENTS = 4
LONG = 300  # seconds that nothing takes, however busy the machine


@pytest.fixture
def replicas(tiny_bundle, tmp_path):
    """Two servers as the document starts them, and the files of their logs."""
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context((tmp_path / f"{number}.log").open("w+")) for number in range(2)]
        command = (f"small={tiny_bundle}", "--port", 0, "--allow-host", NAME)
        yield [(stack.enter_context(served(*command, patience=LONG, log=log)), log) for log in logs]


@pytest.fixture
def port(replicas, tmp_path):
    """Where nginx listens."""
    upstream = [server.ports[0] for server, _ in replicas]
    for _ in range(5):  # another program may take the port first
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        with nginx(tmp_path, port, upstream) as process:
            if answers(process, port):
                yield port
                return
    pytest.fail((tmp_path / "error.log").read_text())


@contextlib.contextmanager
def nginx(folder, port, upstream):
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, upstream))
    process = subprocess.Popen(["nginx", "-p", folder, "-c", file], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def configuration(folder, port, upstream):
    """The document's, at other ports and without TLS, within what belongs to the machine and not to showtell."""
    text = re.sub(r"^ *ssl_certificate.*\n", "", CONFIGURATION, flags=re.MULTILINE)
    changes = {"listen 443 ssl;": f"listen 127.0.0.1:{port};"}
    changes |= {f"127.0.0.1:800{number};": f"127.0.0.1:{ours};" for number, ours in enumerate(upstream)}
    for shown, ours in changes.items():
        assert text.count(shown) == 1
        text = text.replace(shown, ours)
    temporary = (f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root root;" if os.geteuid() == 0 else ""
    return f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
        events {{ worker_connections 256; }}
        http {{ access_log off; {" ".join(temporary)}\n{text} }}
    """


def answers(process, port):
    """Whether nginx has come up; False where it has ended."""
    end = time.monotonic() + LONG
    while process.poll() is None and time.monotonic() < end:
        if ask(port, path="/readyz")[0] == 200:
            return True
        time.sleep(0.02)
    return False


def ask(port, *, path="/v1/captions", claims="", source="127.0.0.1"):
    """Status and body of one request over a connection of its own; status 0 where that broke off."""
    headers = {"Host": NAME, "Content-Type": "application/json"} | ({"X-Forwarded-For": claims} if claims else {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG, source_address=(source, 0))
    with contextlib.closing(connection):
        try:
            connection.request("POST" if path == "/v1/captions" else "GET", path, BODY, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error).encode()


@contextlib.contextmanager
def port_held(port):
    """Nobody listens at the port while this lasts, no other program that asks for a free one either."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
        yield


def test_a_replica_that_is_killed_under_load_costs_no_more_than_the_requests_that_it_had_in_work(replicas, port):
    asked = [[] for _ in range(CLIENTS)]  # of each client (when it asked, status, body)
    enough = threading.Event()

    def client(own):
        while not enough.is_set():
            began = time.monotonic()
            own.append((began, *ask(port)))

    def all_have(count, since):
        end = time.monotonic() + LONG
        while not all(sum(began >= since for began, *_ in own) >= count for own in asked):
            assert time.monotonic() < end
            time.sleep(0.02)

    threads = [threading.Thread(target=client, args=(own,)) for own in asked]
    for thread in threads:
        thread.start()
    try:
        all_have(5, since=0)
        killed = replicas[0][0]
        killed.process.kill()
        killed.process.wait()
        gone = time.monotonic()
        with port_held(killed.ports[0]):
            all_have(10, since=gone)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    for own in asked:
        failed = [(began > gone, status, body) for began, status, body in own if status != 200]
        assert len(failed) <= 1  # that which was in flight
        assert not any(later for later, *_ in failed)
        assert all(b"a red picture" in body for _, status, body in own if status == 200)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
def test_behind_nginx_logs_name_the_client_and_counts_are_no_strangers_business(replicas, port):
    assert [ask(port, claims="192.0.2.7", source="127.0.0.3")[0] for _ in range(4)] == [200] * 4
    assert ask(port, path="/metrics")[0] == 404
    lines = []
    for server, log in replicas:
        server.process.terminate()
        server.process.wait()
        log.seek(0)
        lines += [json.loads(line) for line in log if line.startswith("{")]
    assert [line["client"] for line in lines if line.get("path") == "/v1/captions"] == ["127.0.0.3"] * 4
