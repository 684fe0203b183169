"""Fetching by address, against a scripted server and a made-up internet: the check of addresses is the real one."""

import asyncio
import shutil
import ssl
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_site import PUBLIC, Site, answer, redirect, scripted_site
from showtell.server.fetching import Fetcher, look_up, open_connection
from showtell.server.problems import Problem

PICTURE = b"\x89PNG not really" * 40
PHOTOS = {"photos.example": [PUBLIC]}


def fetched(address, *, pages=None, names=None, dead=(), tls=None, **options):
    """What `Fetcher` gives for `address`, or the `Problem` that it raises; and the site that was asked."""

    async def run():
        served, trusted = tls or (None, None)
        async with scripted_site(served, pages=pages or {}, names=names or PHOTOS, dead=set(dead)) as site:
            settings = {"max_bytes": 1000, "seconds": 5, "tls": trusted} | options
            fetcher = Fetcher(resolve=site.resolve, connect=site.connect, **settings)
            try:
                return await fetcher.fetch(address), site
            except Problem as problem:
                return problem, site

    return asyncio.run(run())


def test_a_picture_is_fetched_as_a_browser_would():
    content, site = fetched("http://photos.example/a.jpg?size=2#top", pages={"/a.jpg?size=2": answer(PICTURE)})
    assert content == PICTURE
    [(_, headers)] = site.asked
    assert headers["Host"] == "photos.example"
    assert headers["Accept-Encoding"] == "identity"
    assert site.connected == [(PUBLIC, 80, "photos.example")]


def test_pictures_come_in_chunks_or_to_the_end_of_the_connection():
    chunked = answer(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")
    assert fetched("http://photos.example/", pages={"/": chunked})[0] == b"abcde"
    assert fetched("http://photos.example/", pages={"/": answer(PICTURE, Content_Length=None)})[0] == PICTURE


def test_names_and_paths_beyond_ascii_are_written_as_the_web_wants_them():
    names = {"xn--bcher-kva.example": [PUBLIC]}
    pages = {"/stra%C3%9Fe%20a.jpg?q=%C3%BC": answer(PICTURE)}
    content, site = fetched(" http://Bücher.example:8080/straße a.jpg?q=ü ", names=names, pages=pages)
    assert content == PICTURE
    assert site.asked[0][1]["Host"] == "xn--bcher-kva.example:8080"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["2002:7f00:1::"],
        ["fe80::1%eth0"],
        ["224.0.0.1"],
        [PUBLIC, "127.0.0.1"],  # one of several is enough
        [],
    ],
)
def test_a_host_with_any_address_that_is_not_public_is_never_connected_to(addresses):
    problem, site = fetched("http://inside.example/", names={"inside.example": addresses})
    assert problem.status == 400
    assert not site.connected


def test_a_name_inside_the_network_is_told_like_one_that_does_not_exist():
    inside, _ = fetched("http://a.example/", names={"a.example": ["10.0.0.1"]})
    unknown, _ = fetched("http://a.example/", names={"b.example": [PUBLIC]})
    assert (inside.status, inside.detail, inside.reason) == (unknown.status, unknown.detail, unknown.reason)
    assert "10.0.0.1" not in inside.detail


def test_a_name_that_changes_its_address_gains_nothing():
    class Rebinding(Site):
        async def resolve(self, host, port):
            self.resolved.append(host)
            return [PUBLIC] if len(self.resolved) == 1 else ["127.0.0.1"]

    async def run():
        async with scripted_site(pages={"/": answer(PICTURE)}) as site:
            rebinding = Rebinding(port=site.port)
            fetcher = Fetcher(max_bytes=1000, resolve=rebinding.resolve, connect=rebinding.connect)
            assert await fetcher.fetch("http://rebinding.example/") == PICTURE
            assert rebinding.resolved == ["rebinding.example"]
            assert rebinding.connected == [(PUBLIC, 80, "rebinding.example")]
            with pytest.raises(Problem, match="not on the public internet"):
                await fetcher.fetch("http://rebinding.example/")

    asyncio.run(run())


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0",
            "localhost",
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
        ),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "127。0。0。1"),
        *("169.254.169.254", "[fd00:ec2::254]"),
    ],
)
def test_loopback_and_metadata_are_refused_however_they_are_written(host):
    async def run():
        site = Site()
        fetcher = Fetcher(max_bytes=1000, resolve=look_up, connect=site.connect)
        with pytest.raises(Problem) as caught:
            await fetcher.fetch(f"http://{host}/latest/meta-data")
        assert caught.value.status == 400
        assert not site.connected

    asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "photos.example", "//photos.example/", "ftp://photos.example/", "file:///etc/passwd", "data:,a"),
        *("http://", "http:///a", "http://:80/", "http://user@photos.example/", "http://a:b@photos.example/"),
        *("http://photos.example:22/", "http://photos.example:25/", "http://photos.example:99999/", "http://a:b/"),
        *("http://photos.example\\@inside/", "http://photos.example/\r\nHost: inside", "http://pho\ttos.example/"),
        *("http://[::1", "http://[fe80::1%25eth0]/", "http://[v1.a]/", "http://photos..example/", "http://a b/"),
        *("http://photos.example%2einside/", "http://" + "a" * 300 + "/", "http://photos.example/" + "a" * 5000),
        *("http://photos.example/\ud800", "http://\ud800/", "gopher://photos.example:6379/_INFO"),
    ],
)
def test_addresses_that_are_malformed_or_of_another_kind_are_not_even_looked_up(address):
    problem, site = fetched(address)
    assert problem.status == 400
    assert "expected one like https://host/picture.jpg" in problem.detail
    assert not site.resolved


@given(
    st.text(max_size=60) | st.text(max_size=40).map("http://".__add__) | st.text(max_size=30).map("https://[".__add__)
)
def test_no_address_whatever_fails_otherwise_than_with_a_problem(address):
    async def nowhere(host, port):
        return []

    with pytest.raises(Problem) as caught:
        asyncio.run(Fetcher(max_bytes=1, resolve=nowhere).fetch(address))
    assert caught.value.status == 400


def test_redirects_are_followed_and_checked_like_the_first_address():
    names = PHOTOS | {"cdn.example": ["1.1.1.1"], "inside.example": ["192.168.0.1"]}
    pages = {"/a": redirect("/b"), "/b": redirect("//cdn.example/c"), "/c": answer(PICTURE), "/d": redirect("/a?")}
    content, site = fetched("http://photos.example/a", names=names, pages=pages)
    assert content == PICTURE
    assert [address for address, *_ in site.connected] == [PUBLIC, PUBLIC, "1.1.1.1"]
    assert site.resolved == ["photos.example", "photos.example", "cdn.example"]


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://inside.example/",
            "//inside.example/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://169.254.169.254/",
        ),
        *("file:///etc/passwd", "ftp://photos.example/", "http://a@photos.example/", "http://photos.example:22/"),
        *("http://[", "http://photos.example/\xff\xfe"),
    ],
)
def test_a_redirect_leads_nowhere_that_the_first_address_could_not(location):
    names = PHOTOS | {"inside.example": ["192.168.0.1"], "127.0.0.1": ["127.0.0.1"], "::1": ["::1"]}
    names["169.254.169.254"] = ["169.254.169.254"]
    raw = answer(status="302 Found", Location="X").replace(b"X", location.encode("latin-1"))
    problem, site = fetched("http://photos.example/", names=names, pages={"/": raw})
    assert problem.status == 400
    assert site.connected == [(PUBLIC, 80, "photos.example")]


def test_redirects_in_a_circle_end():
    problem, site = fetched("http://photos.example/", pages={"/": redirect("/")}, redirects=3)
    assert problem.status == 502
    assert "more than 3 times" in problem.detail
    assert len(site.asked) == 4


@pytest.mark.parametrize(
    "page",
    [
        answer(b"a" * 1001),
        (answer(Content_Length="5000000000"),),  # told by the head: nothing of the body is waited for
        answer(b"3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"),
        (answer(b"a" * 1001, Content_Length=None),),
    ],
)
def test_more_bytes_than_allowed_are_refused(page):
    problem, _ = fetched("http://photos.example/", pages={"/": page})
    assert problem.status == 413
    assert "1000 bytes" in problem.detail


@pytest.mark.parametrize(
    "page",
    [(), (b"HTTP/1.1 200 OK\r\n",), (answer(PICTURE, Content_Length="900"),), (b"HTTP/1.1 100 Continue\r\n\r\n",) * 3],
)
def test_a_server_that_stops_halfway_is_left_after_the_time_limit(page):
    problem, _ = fetched("http://photos.example/", pages={"/": page}, seconds=0.1)
    assert problem.status == 504
    assert "within 0.1 seconds" in problem.detail


def test_a_fetch_that_waits_for_its_turn_has_the_same_time_limit():
    async def run():
        async with scripted_site(pages={"/": (), "/a": answer(PICTURE)}, names=PHOTOS) as site:
            slow = Fetcher(max_bytes=1000, seconds=0.2, at_once=1, resolve=site.resolve, connect=site.connect)
            both = [slow.fetch("http://photos.example/"), slow.fetch("http://photos.example/a")]
            results = await asyncio.gather(*both, return_exceptions=True)
            assert [result.status for result in results] == [504, 504]
            assert [path for path, _ in site.asked] == ["/"]
            assert await slow.fetch("http://photos.example/a") == PICTURE

    asyncio.run(run())


def test_a_fetch_that_nobody_waits_for_closes_its_connection():
    async def run():
        async with scripted_site(pages={"/": (answer(b"a", Content_Length="900"),)}, names=PHOTOS) as site:
            fetcher = Fetcher(max_bytes=1000, resolve=site.resolve, connect=site.connect)
            fetch = asyncio.create_task(fetcher.fetch("http://photos.example/"))
            while not site.asked:
                await asyncio.sleep(0.005)
            fetch.cancel()
            while not site.left:
                await asyncio.sleep(0.005)

    asyncio.run(run())


def test_name_servers_that_stall_hold_up_nothing(monkeypatch):
    stalled = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: stalled.wait() and [])

    async def run():
        with pytest.raises(Problem) as caught:
            await Fetcher(max_bytes=1000, seconds=0.1).fetch("http://photos.example/")
        assert caught.value.status == 504

    asyncio.run(run())
    stalled.set()  # what comes now, after the loop has gone, is dropped


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (answer(status="404 Not Found"), "answers 404"),
        (answer(status="500 Oops"), "answers 500"),
        (answer(status="206 Partial Content"), "answers 206"),
        (answer(status="302 Found"), "answers 302"),
        (answer(status="299 Odd"), "answers 299"),
        (answer(PICTURE, Content_Encoding="gzip"), "compressed"),
        (answer(PICTURE, Content_Length="900"), "breaks off"),
        (answer(PICTURE, Content_Length="-1"), "no proper HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000, "no proper HTTP"),
        (b"", "breaks off"),
    ],
)
def test_a_server_that_fails_is_told_with_what_it_did(page, told):
    problem, _ = fetched("http://photos.example/", pages={"/": page})
    assert problem.status == 502
    assert told in problem.detail


def test_another_address_of_the_host_is_tried_where_one_is_dead():
    names = {"photos.example": ["1.1.1.1", PUBLIC]}
    content, _ = fetched("http://photos.example/", names=names, pages={"/": answer(PICTURE)}, dead=["1.1.1.1"])
    assert content == PICTURE
    problem, _ = fetched("http://photos.example/", names=names, dead=["1.1.1.1", PUBLIC])
    assert (problem.status, "no connection" in problem.detail) == (502, True)


def test_this_machine_is_not_connected_to_under_its_own_address():
    received = []

    async def note(reader, writer):
        received.append(await reader.read())
        writer.close()

    async def run():
        async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionRefusedError):
                await open_connection("127.0.0.1", port, None, "photos.example")
            while not received:
                await asyncio.sleep(0.005)
        with pytest.raises(ConnectionRefusedError):
            await open_connection("127.0.0.1", port, None, "photos.example")  # nobody listens any more

    asyncio.run(run())
    assert received == [b""]


def test_the_connection_goes_to_the_address_in_digits():
    async def run():
        async def greet(reader, writer):
            writer.write(b"hello")
            writer.close()

        # Linux gives the whole of 127.0.0.0/8 to loopback; what connects to .2 comes from .1, as from another machine.
        try:
            server = await asyncio.start_server(greet, "127.0.0.2", 0)
        except OSError:
            pytest.skip("127.0.0.2 is no address of this machine")
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await open_connection("127.0.0.2", port, None, "name.invalid")
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """TLS of a server named photos.example, and of a client that trusts it alone."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key -out cert"
    names = ["-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example"]
    subprocess.run([*make.split(), *names], cwd=folder, check=True, capture_output=True)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(folder / "cert", folder / "key")
    return served, ssl.create_default_context(cafile=folder / "cert")


def test_a_certificate_must_prove_the_name_and_not_the_address_connected_to(certificates):
    names = PHOTOS | {"other.example": [PUBLIC]}
    pages = {"/": answer(PICTURE)}
    content, site = fetched("https://photos.example/", names=names, pages=pages, tls=certificates)
    assert content == PICTURE
    assert site.connected == [(PUBLIC, 443, "photos.example")]
    problem, site = fetched("https://other.example/", names=names, pages=pages, tls=certificates)
    assert (problem.status, "certificate" in problem.detail) == (502, True)
    assert not site.asked


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetched("http://photos.example/", pages={"/": answer(PICTURE)})[0] == PICTURE
