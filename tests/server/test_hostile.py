"""Strangers' requests: whatever they send, they get an answer below 500, and the server lives on and does not grow."""

import contextlib
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

import showtell
from hostile_requests import hostile_requests
from served_process import served
from server_pictures import picture_file
from showtell.server.app import create_app
from showtell.server.options import ServeOptions

# The parser of forms leaves the last file of one that is cut off to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PATHS = (str(Path.home()), sys.prefix, str(Path(showtell.__file__).parent), "site-packages", "Traceback", ".onnx")


@pytest.fixture(scope="module")
def client(captioner):
    app = create_app(ServeOptions(max_pixels=10_000_000), {"tiny": captioner})
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def send(client, count, seed=0):
    """Statuses of so many hostile requests."""
    statuses = Counter()
    for method, path, headers, body in hostile_requests(count, seed):
        reply = client.request(method, path, headers=headers, content=body)
        statuses[reply.status_code] += 1
        assert reply.status_code < 500, (reply.text, path, headers, body[:300])
        assert not any(part in reply.text for part in PATHS), reply.text
    return statuses


def well(client):
    reply = client.post("/v1/captions", files={"image": picture_file("red")})
    return reply.status_code == 200 and client.app.state.service.slots.used == 0


def test_hostile_pictures_forms_and_json_get_an_answer(client):
    statuses = send(client, 400)
    assert well(client)
    assert set(statuses) >= {200, 400}  # some mutations leave a picture whole


def resident(pid):
    """Megabytes of memory of a process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory from /proc")
def test_ten_thousand_hostile_requests_leave_a_server_s_memory_as_it_was(tiny_bundle):
    with (
        served(tiny_bundle, "--port", 0, patience=1200) as server,
        contextlib.closing(server.connection()) as connection,
    ):
        before = 0.0
        for number, (method, path, headers, body) in enumerate(hostile_requests(10_000, seed=1)):
            if number == 2_500:
                before = resident(server.process.pid)
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            told = reply.read()
            assert reply.status < 500, (told, path, headers, body[:300])
        assert resident(server.process.pid) <= 1.1 * before
        assert server.ask() == "a red picture"


def requests_of_the_schema(captioner, examples):
    """Send what schemathesis makes of OpenAPI. Returns the statuses."""
    schemathesis = pytest.importorskip("schemathesis")
    app = create_app(ServeOptions(), {"tiny": captioner})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "127.0.0.1"})
    limits = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    seen = Counter()

    def send_one(case):
        reply = case.call(headers={"Host": "127.0.0.1"})
        seen[reply.status_code] += 1
        assert reply.status_code < 500

    for operation in schema.get_all_operations():
        limits(given(case=operation.ok().as_strategy())(send_one))()
    return seen


def test_what_openapi_allows_is_answered(captioner):
    assert requests_of_the_schema(captioner, 15)[200] > 0


@pytest.mark.slow
def test_thousands_of_what_openapi_allows_are_answered(captioner):
    assert sum(requests_of_the_schema(captioner, 400).values()) > 2000
