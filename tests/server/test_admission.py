"""What stands before every route: who may ask, how much, how long; what is told and what is not."""

import asyncio
import json
import logging

import pytest
from starlette.testclient import TestClient

from gated_model import GatedModel
from server_pictures import picture_file
from showtell import ServeError
from showtell.server.app import create_app
from showtell.server.logs import JsonLines
from showtell.server.options import ServeOptions
from showtell.server.rate import CLIENTS, RateLimit

RED = {"image": ("a.png", picture_file("red"), "image/png")}
JSON = {"content-type": "application/json"}


def client_of(model=None, **options):
    return TestClient(
        create_app(ServeOptions(**options), {"a": (model or GatedModel()).captioner()}), base_url="http://127.0.0.1"
    )


class Asking:
    """One request, spoken as ASGI: the body is sent piece by piece, and how much of it was taken is seen."""

    def __init__(self, app, *, headers=(), path="/v1/captions", method="POST", client="10.0.0.1"):
        raw = [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in dict(headers).items())]
        self.scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": raw}
        self.scope |= {
            "query_string": b"",
            "client": (client, 1),
            "server": ("x", 1),
            "scheme": "http",
            "root_path": "",
        }
        self.scope |= {"http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"}}
        self.pieces, self.taken, self.sent = asyncio.Queue(), 0, []
        self.task = asyncio.create_task(app(self.scope, self._receive, self._send))

    def body(self, content, *, more=False):
        self.pieces.put_nowait({"type": "http.request", "body": content, "more_body": more})

    def go_away(self):
        self.pieces.put_nowait({"type": "http.disconnect"})

    async def _receive(self):
        self.taken += 1
        return await self.pieces.get()

    async def _send(self, message):
        self.sent.append(message)

    async def answer(self):
        """Status, headers, JSON."""
        await asyncio.wait_for(self.task, 20)
        headers = {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return self.sent[0]["status"], headers, json.loads(body)


def run(work, model=None, **options):
    """Run `work(app, model)` on one event loop."""
    model = model or GatedModel()
    app = create_app(ServeOptions(**options), {"a": model.captioner()})

    async def limited():
        async with asyncio.timeout(30):
            return await work(app, model)

    try:
        return asyncio.run(limited())
    finally:
        model.encoding.set()
        model.beam.set()
        app.state.service.close()


def base64_body(colour="red", **options):
    import base64

    return json.dumps({"image": base64.b64encode(picture_file(colour)).decode()} | options).encode()


def asking(app, body=None, **settings):
    body = body or base64_body()
    made = Asking(app, headers=JSON | {"content-length": str(len(body))}, **settings)
    made.body(body)
    return made


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "10.1.2.3", "photos.lan:80"]
)
def test_known_names_and_plain_addresses_in_host_are_served(host):
    with client_of(allowed_hosts=("photos.lan",)) as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "", "127.0.0.1.evil.example", "localhost.evil", "a b", "1", "[::1", "x@localhost"]
)
def test_other_names_in_host_are_refused(host):
    with client_of() as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == 421
    with client_of(allowed_hosts=("*",)) as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://127.0.0.1:81"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_pages_of_other_sites_cannot_make_their_visitors_ask(headers, status):
    with client_of() as client:
        assert client.post("/v1/captions", files=RED, headers=headers).status_code == status


def test_where_keys_are_set_one_is_asked_for():
    with client_of(api_keys=("first-key", "second-key")) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}, {"Authorization": "Basic first-key"}):
            reply = client.post("/v1/captions", files=RED, headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
        for headers in ({"Authorization": "Bearer first-key"}, {"X-API-Key": "second-key"}):
            assert client.post("/v1/captions", files=RED, headers=headers).status_code == 200
        for path in ("/v1/models", "/model/metadata", "/wowme?image=x", "/metrics"):
            assert client.get(path).status_code == 401
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/"):
            assert client.get(path).status_code == 200


def test_more_requests_a_minute_than_allowed_are_refused_for_each_key():
    with client_of(api_keys=("one", "two"), rate=2) as client:
        statuses = [client.post("/v1/captions", files=RED, headers={"X-API-Key": "one"}) for _ in range(3)]
        assert [reply.status_code for reply in statuses] == [200, 200, 429]
        assert 1 <= int(statuses[2].headers["retry-after"]) <= 31
        assert client.post("/v1/captions", files=RED, headers={"X-API-Key": "two"}).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_a_bucket_fills_again_at_the_rate_and_forgets_those_who_asked_long_ago():
    now = [0.0]
    limit = RateLimit(30, lambda: now[0])
    assert [limit.wait("a") for _ in range(30)] == [0.0] * 30
    assert limit.wait("a") == pytest.approx(2.0)
    now[0] = 1.0
    assert limit.wait("a") == pytest.approx(1.0)
    now[0] = 2.0
    assert (limit.wait("a"), limit.wait("b")) == (0.0, 0.0)
    for number in range(CLIENTS):
        limit.wait(str(number))
    assert len(limit._buckets) == CLIENTS
    assert limit.wait("a") == 0.0  # as one who never asked


@pytest.mark.parametrize(
    "headers", [{"content-length": "1001000"}, {"content-length": "9" * 400}, {"content-length": "-1"}]
)
def test_a_body_that_says_it_is_too_large_is_not_read(headers):
    async def work(app, model):
        one = Asking(app, headers=JSON | headers)
        status, _, _ = await one.answer()
        assert (status, one.taken) == (413, 0)

    run(work, max_body_bytes=1_000_000)


def test_a_body_that_does_not_say_how_large_it_is_is_read_no_further_than_the_limit():
    async def work(app, model):
        one = Asking(app, headers=JSON | {"transfer-encoding": "chunked"})
        for _ in range(100):
            one.body(b"x" * 10_000, more=True)
        status, _, told = await one.answer()
        assert status == told["status"] == 413
        assert one.taken <= 12

    run(work, max_body_bytes=100_000)


def test_a_full_queue_is_told_before_the_body_is_read_and_is_free_again_afterwards():
    async def work(app, model):
        model.encoding.clear()
        accepted = [asking(app) for _ in range(16)]
        while app.state.service.slots.used < 16:
            await asyncio.sleep(0.005)
        refused = Asking(app, headers=JSON | {"content-length": "1000"})
        status, headers, _ = await refused.answer()
        assert (status, headers["retry-after"], refused.taken) == (503, "1", 0)
        assert headers["content-type"] == "application/problem+json"
        assert (await asking(app, path="/healthz", method="GET").answer())[0] == 200
        model.encoding.set()
        assert [(await one.answer())[0] for one in accepted] == [200] * 16
        assert (app.state.service.slots.used, app.state.service.slots.bytes_used) == (0, 0)
        assert (await asking(app).answer())[0] == 200

    run(work, queue=16)


def test_bodies_together_may_have_so_many_bytes_and_no_more():
    async def work(app, model):
        slow = [Asking(app, headers=JSON | {"content-length": "50000"}) for _ in range(2)]
        while app.state.service.slots.bytes_used < 100_000:
            await asyncio.sleep(0.005)
        third = Asking(app, headers=JSON | {"content-length": "50000"})
        assert (await third.answer())[0] == 503
        for one in slow:
            one.go_away()
            await one.task
        assert app.state.service.slots.bytes_used == 0

    run(work, queue_bytes=120_000, max_body_bytes=60_000)


def test_more_pictures_than_places_left_are_refused_whole():
    async def work(app, model):
        model.encoding.clear()
        waiting = [asking(app) for _ in range(15)]
        while app.state.service.slots.used < 15:
            await asyncio.sleep(0.005)
        one = base64_body()
        many = json.dumps({"image": [json.loads(one)["image"]] * 3}).encode()
        assert (await asking(app, many).answer())[0] == 503
        model.encoding.set()
        assert [(await one.answer())[0] for one in waiting] == [200] * 15
        assert app.state.service.slots.used == 0

    run(work, queue=16)


def test_an_answer_that_takes_too_long_is_504_and_the_picture_leaves_the_queue():
    async def work(app, model):
        model.held_beam = 16
        late = asking(app, base64_body(beam_width=16, max_words=60))
        assert (await late.answer())[0] == 504
        assert app.state.service.slots.used == 0
        assert (await asking(app).answer())[0] == 200

    run(work, deadline_s=0.3)


def test_a_body_that_comes_too_slowly_is_408():
    async def work(app, model):
        slow = Asking(app, headers=JSON | {"content-length": "1000"})
        slow.body(b"{", more=True)
        assert (await slow.answer())[0] == 408
        assert app.state.service.slots.used == 0

    run(work, receive_s=0.05)


@pytest.mark.parametrize("when", ["in the body", "behind the body"])
def test_a_client_that_goes_away_ends_its_request(when):
    async def work(app, model):
        model.encoding.clear()
        first = asking(app)
        await asyncio.to_thread(model.began.wait)
        if when == "behind the body":
            gone = asking(app, base64_body("green"))
            while not app.state.service._engine._waiting:
                await asyncio.sleep(0.005)
        else:
            gone = Asking(app, headers=JSON | {"content-length": "1000"})
            gone.body(b"{", more=True)
        gone.go_away()
        await asyncio.wait_for(gone.task, 10)
        assert gone.sent == []
        model.encoding.set()
        assert (await first.answer())[0] == 200
        assert model.batches == [["red"]]
        assert app.state.service.slots.used == 0

    run(work)


def test_every_answer_carries_security_headers_and_the_request_s_id():
    with client_of() as client:
        for path in ("/healthz", "/nothing", "/docs", "/openapi.json", "/", "/page/page.js"):
            headers = client.get(path, headers={"X-Request-ID": "mine-1"}).headers
            assert headers["x-request-id"] == "mine-1"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "default-src 'none'" in headers["content-security-policy"]
        ids = {client.get("/healthz", headers={"X-Request-ID": "a b;c"}).headers["x-request-id"] for _ in range(2)}
        assert len(ids) == 2
        assert all(len(one) == 16 for one in ids)


def test_what_fails_inside_is_500_without_a_word_of_the_inside(caplog):
    model = GatedModel()
    model.failing = True
    app = create_app(ServeOptions(), {"a": model.captioner()})
    client = TestClient(app, base_url="http://127.0.0.1")  # no lifespan: its warm-up would fail
    try:
        reply = client.post("/v1/captions", files=RED, headers={"X-Request-ID": "find-me"})
    finally:
        app.state.service.close()
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text
    assert "find-me" in reply.json()["detail"]
    assert any(record.exc_info and "secret" in str(record.exc_info[1]) for record in caplog.records)


def test_each_request_is_one_line_of_json_without_picture_address_or_key(caplog):
    caplog.set_level(logging.INFO, "showtell.server")
    with client_of(api_keys=("my-key",)) as client:
        client.get("/wowme?image=http://private.example/a.jpg", headers={"X-API-Key": "my-key", "X-Request-ID": "r1"})
        client.post("/v1/captions", files=RED, headers={"X-API-Key": "my-key"})
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "showtell.server"]
    first, second = (json.loads(line) for line in lines)
    assert first["request_id"] == "r1"
    assert (first["path"], first["status"], first["reason"]) == ("/wowme", 403, "fetch_off")
    assert (second["path"], second["status"], second["method"]) == ("/v1/captions", 200, "POST")
    assert second["bytes_in"] > len(RED["image"][1])
    assert second["ms"] > 0
    assert not any(secret in line for line in lines for secret in ("private", "my-key", "PNG", "\n"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"port": 70_000}, "port is 70000, expected 0 to 65535"),
        ({"workers": 0}, "workers is 0, expected 1 to 64"),
        ({"tutorial_port": 8000}, "tutorial_port is 8000 like port"),
        ({"queue": 3}, "queue is 3, expected 16 or more"),
        ({"queue_bytes": 10}, "less than max_body_bytes"),
        ({"host": ""}, "host is empty"),
        ({"api_keys": ("a b",)}, "an API key is empty or holds blanks"),
        ({"deadline_s": float("nan")}, "deadline_s is nan"),
    ],
)
def test_impossible_options_are_refused(options, told):
    with pytest.raises(ServeError, match=told):
        ServeOptions(**options)


def test_keys_do_not_show_where_options_are_printed():
    assert "my-key" not in repr(ServeOptions(api_keys=("my-key",)))
