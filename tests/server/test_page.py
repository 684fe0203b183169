"""The page at `/` as the server gives it: its files, what browsers are told about them, and nothing else."""

import re

import pytest

testclient = pytest.importorskip("starlette.testclient", reason="needs the extra serve")


@pytest.fixture(scope="module")
def client(captioner):
    from showtell.server.app import create_app
    from showtell.server.options import ServeOptions

    app = create_app(ServeOptions(threads=1, max_body_bytes=5_000_000), {"tiny": captioner, "other": captioner})
    with testclient.TestClient(app, base_url="http://localhost") as client:
        yield client


def test_every_file_that_the_page_names_is_there(client):
    names = {"index.html", *re.findall(r'(?:src|href)="page/([^"]+)"', client.get("/").text)}
    assert {"base.css", "page.css", "page.js", "heat.js", "words.js", "icon.svg"} < names
    read = set()
    while waiting := names - read - {"index.html"}:
        name = waiting.pop()
        read.add(name)
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200, name
        names |= set(re.findall(r'from "\./([^"]+)"', answer.text))
    from showtell.server.page import FILES

    assert read == set(FILES)  # and no file is given that the page does not need


def test_types_are_those_that_browsers_insist_on(client):
    kinds = {"/": "text/html", "/page/page.js": "text/javascript", "/page/page.css": "text/css"}
    for path, kind in (kinds | {"/page/icon.svg": "image/svg+xml"}).items():
        answer = client.get(path)
        assert answer.headers["content-type"].split(";")[0] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_script_but_the_page_s_own_may_run(client):
    policy = dict(
        part.split(" ", 1) for part in client.get("/").headers["content-security-policy"].split("; ") if " " in part
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"


def test_the_page_holds_nothing_inline_and_nothing_from_elsewhere(client):
    html = client.get("/").text
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=", html) == []
    texts = [html] + [client.get(f"/page/{name}").text for name in re.findall(r'"page/([^"]+)"', html)]
    addresses = {address for text in texts for address in re.findall(r"https?://[^\s\"')]+", text)}
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not any("innerHTML" in text or "insertAdjacentHTML" in text for text in texts)


def test_an_unchanged_file_is_not_sent_again(client):
    first = client.get("/page/page.js")
    again = client.get("/page/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["index.html", "..%2fpage.py", "%2e%2e/page.py", "page.py", "page.js%00", "a/b"])
def test_no_other_file_is_given(client, name):
    answer = client.get(f"/page/{name}")
    assert answer.status_code == 404
    assert b"import" not in answer.content


def test_the_page_learns_what_is_served(client):
    told = client.get("/v1/page").json()
    assert told["max_bytes"] == 5_000_000
    assert [model["name"] for model in told["models"]] == ["tiny", "other"]
    assert told["models"][0]["beam_width"] == 3
    assert told["models"][0]["fit"] == "squash"


def test_what_is_served_is_told_to_holders_of_a_key_only(captioner):
    from showtell.server.app import create_app
    from showtell.server.options import ServeOptions

    app = create_app(ServeOptions(threads=1, api_keys=("secret",)), {"tiny": captioner})
    with testclient.TestClient(app, base_url="http://localhost") as client:
        assert client.get("/").status_code == 200
        assert client.get("/page/page.js").status_code == 200
        assert client.get("/v1/page").status_code == 401
        assert client.get("/v1/page", headers={"Authorization": "Bearer secret"}).status_code == 200
