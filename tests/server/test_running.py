"""`showtell serve` as a process: start, ports, workers, signals, exit codes."""

import asyncio
import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest

from command_line import showtell
from served_process import BODY, PATIENCE, served
from showtell.errors import ServeError
from showtell.server import patience, workers
from showtell.server.app import create_app
from showtell.server.options import ServeOptions
from showtell.server.sockets import inherited, open_sockets
from showtell.server.workers import Workers

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def closed(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


@posix
def test_sigterm_answers_the_requests_at_hand_and_ends_with_0(tiny_bundle):
    with served(f"small={tiny_bundle}", "--port", 0, "--tutorial-port", 0, ports=2) as server:
        assert server.lines[0].startswith("showtell serves small at http://127.0.0.1:")
        assert [server.ask(port) for port in server.ports] == ["a red picture"] * 2
        with contextlib.closing(server.connection()) as slow:
            slow.putrequest("POST", "/v1/captions")
            slow.putheader("Content-Type", "application/json")
            slow.putheader("Content-Length", str(len(BODY)))
            slow.endheaders(BODY[:10])
            with contextlib.closing(server.connection()) as other:  # answered: so the first has arrived too
                other.request("GET", "/healthz")
                assert other.getresponse().read()
            server.process.send_signal(signal.SIGTERM)
            until(lambda: closed(server.ports[0]))
            slow.send(BODY[10:])
            answer = slow.getresponse()
            assert (answer.status, b"a red picture" in answer.read()) == (200, True)
        assert server.process.wait(PATIENCE) == 0


@posix
def test_workers_are_started_again_counted_together_and_end_together(tiny_bundle):
    with served(tiny_bundle, "--port", 0, "--workers", 2) as server:
        assert server.ask() == "a red picture"
        children = children_of(server.process.pid)
        until(lambda: len(children_of(server.process.pid)) == 2)
        os.kill(children[0], signal.SIGKILL)
        until(lambda: len(set(children_of(server.process.pid)) - {children[0]}) == 2)
        assert [server.ask() for _ in range(3)] == ["a red picture"] * 3
        with contextlib.closing(server.connection()) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        counted = re.findall(r'showtell_requests_total\{.*route="/v1/captions",status="200"\} ([\d.]+)', text)
        assert [float(count) for count in counted] == [4.0]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert closed(server.ports[0])


@posix
def test_workers_of_a_server_that_was_killed_let_go_of_its_port(tiny_bundle):
    with served(tiny_bundle, "--port", 0, "--workers", 2) as server:
        port = server.ports[0]
        server.process.kill()
        server.process.wait()
    with served(tiny_bundle, "--port", port, "--workers", 2) as server:
        assert server.ports == [port]
        assert server.ask() == "a red picture"


@posix
def test_a_server_of_several_workers_has_started_when_all_of_them_have(monkeypatch, tmp_path):
    def start(self, shared):
        process = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        started.append(workers._Worker(process))
        return started[-1]

    def news():
        for worker in started:
            assert told == []
            worker.ready = True
            yield worker, False
        assert told == ["started"]
        yield started[0], False
        yield None

    started, told = [], []
    monkeypatch.setattr(Workers, "_start", start)
    server = Workers(ServeOptions(workers=3), {}, [], lambda: told.append("started"))
    server._news = types.SimpleNamespace(get=news().__next__)
    assert server._watch(tmp_path) == 0
    assert told == ["started"]


@posix
def test_a_model_that_several_workers_cannot_load_is_told_in_one_line_without_trying_again(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "broken")
    (folder / "vocabulary.json").write_text("[]")
    command = [sys.executable, "-m", "showtell", "serve", folder, "--workers", "2", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("showtell: ")
    assert "vocabulary.json: 2 bytes, the manifest says" in line


@posix
def test_several_workers_without_room_for_temporary_files_are_told_in_one_line(monkeypatch):
    def refused(**_):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(workers.tempfile, "TemporaryDirectory", refused)
    with pytest.raises(ServeError, match=r"^no folder for temporary files \(No usable .*\); name one .* in TMPDIR$"):
        Workers(ServeOptions(workers=2), {}, []).run()


def test_what_starts_workers_loads_nothing_that_only_they_need():
    code = "import sys, showtell.cli.serve, showtell.server.workers, showtell.server.sockets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint({"numpy", "PIL", "onnxruntime", "fastapi", "uvicorn", "pydantic"})


def children_of(pid):
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in told.stdout.split()]


@posix
def test_answers_are_sent_at_once_and_do_not_wait_for_the_client_to_acknowledge():
    [listening] = open_sockets(ServeOptions(port=0))
    again = inherited(os.dup(listening.fileno()))

    async def without_delay(sock):
        accepted = asyncio.get_running_loop().create_future()

        def told(reader, writer):
            accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(told, sock=sock)
        _, writer = await asyncio.open_connection(*sock.getsockname())
        found = await accepted
        writer.close()
        server.close()
        return found

    for one in (again, listening):
        assert asyncio.run(without_delay(one))


def test_a_port_that_is_taken_is_told_in_one_line(tiny_bundle, monkeypatch):
    monkeypatch.setattr("showtell.server.sockets._BIND_S", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = showtell("serve", tiny_bundle, "--port", taken.getsockname()[1])
    assert (result.code, result.out) == (1, "")
    assert "cannot listen at 127.0.0.1 port" in result.err
    assert "--port" in result.err


def test_wrong_use_is_told_before_anything_is_loaded(tiny_bundle, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("# none yet\n\n")
    for arguments, told in (
        ((tiny_bundle, tiny_bundle), "two models are called 'tiny'"),
        (("--api-key-file", keys), "holds no key"),
        (("--api-key-file", tmp_path / "none"), "cannot be read"),
        (("--port", 8081, "--tutorial-port", 8081), "tutorial_port is 8081 like port"),
        (("--queue", 3), "queue is 3"),
        (("--deadline", "soon"), "soon"),
        (("--trusted-proxy", "10.0.0.1/8"), "trusted proxy '10.0.0.1/8' is no address or network"),
        (("--allow-host", "https://photos.lan/"), "allowed host 'https://photos.lan/' is no name of a host"),
        (("--allow-host", "photos.lan:8000"), "leave out scheme, port and path"),
    ):
        result = showtell("serve", *arguments)
        assert (result.code, result.out) == (2, "")
        assert told in result.err
    assert ServeOptions(allowed_hosts=("*", "photos.lan"), trusted_proxies=("10.0.0.0/8", "::1"))
    result = showtell("serve", tmp_path / "nothing")
    assert (result.code, result.out) == (1, "")
    assert "no such folder" in result.err


def test_a_host_that_is_none_is_told_in_one_line(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = showtell("serve", "--host", "photos.lan")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        "showtell: host photos.lan: no such address (Name or service not known); give one of this machine"
    ]


def test_connections_that_bring_no_head_are_ended(captioner, monkeypatch):
    import uvicorn

    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.1)
    app = create_app(ServeOptions(), {"a": captioner})
    config = uvicorn.Config(app, port=0, http=patience.PatientProtocol, log_level="error", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        address = server.servers[0].sockets[0].getsockname()
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: local"):
            with socket.create_connection(address, PATIENCE) as one:
                one.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    assert one.recv(1) == b""
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as kept:
            for _ in range(2):
                kept.request("GET", "/healthz")
                assert kept.getresponse().read() == b'{"status":"ok"}'
                time.sleep(0.5)  # an idle connection behind an answer is kept
    finally:
        server.should_exit = True
        thread.join()
