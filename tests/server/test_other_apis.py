"""The tutorials' service and IBM's MAX Image Caption Generator, as their clients call them."""

import asyncio
import math

import httpx
import pytest
from starlette.testclient import TestClient

from scripted_site import PUBLIC, Site, answer
from server_pictures import data_address, picture_file
from showtell.server.app import create_app
from showtell.server.fetching import Fetcher
from showtell.server.options import ServeOptions


@pytest.fixture(scope="module")
def client(captioner):
    with TestClient(create_app(ServeOptions(), {"tiny": captioner}), base_url="http://127.0.0.1") as client:
        yield client


def test_max_clients_get_three_captions_with_the_probability_of_each(client, captioner):
    reply = client.post("/model/predict", files={"image": ("a.jpg", picture_file("red", form="JPEG"), "image/jpeg")})
    assert reply.status_code == 200
    body = reply.json()
    assert body["status"] == "ok"
    assert [prediction["index"] for prediction in body["predictions"]] == ["0", "1", "2"]
    assert body["predictions"][0]["caption"] == "a red picture"
    own = list(captioner.stream([picture_file("red", form="JPEG")], num_captions=3))
    for prediction, caption in zip(body["predictions"], own, strict=True):
        assert prediction["caption"] == caption.text
        assert prediction["probability"] == pytest.approx(math.exp(caption.log_probability), rel=1e-4)


def test_max_clients_may_send_any_kind_of_picture_under_any_name(client):
    reply = client.post(
        "/model/predict", files={"image": ("notes.txt", picture_file("blue", form="GIF"), "text/plain")}
    )
    assert reply.json()["predictions"][0]["caption"] == "a blue picture"


@pytest.mark.parametrize(
    "files",
    [{"image": ("a.jpg", b"no picture")}, {"image": ("a.jpg", b"")}, {"file": ("a.png", picture_file())}, {}],
)
def test_max_clients_are_told_errors_in_their_shape(client, files):
    reply = client.post("/model/predict", files=files)
    assert reply.status_code == 400
    assert reply.json()["status"] == "error"
    assert reply.json()["message"]


def test_max_clients_that_send_text_for_the_file_are_told_so(client):
    reply = client.post("/model/predict", data={"image": "photo.jpg"})
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("image: came as text, expected a file")


def test_a_path_or_method_that_is_not_there_is_told_in_each_apis_shape(client):
    assert client.get("/model/predict").json()["status"] == "error"
    assert client.get("/model/predict").status_code == 405
    for reply in (client.get("/v1/chat/completions"), client.post("/v1/chat/nothing")):
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert client.get("/nothing").json()["title"] == "Not Found"


def test_a_form_that_is_damaged_is_told_in_the_same_shape(client):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = client.post("/model/predict", content=b"--x\r\nnonsense", headers=headers)
    assert reply.status_code == 400
    assert reply.json()["status"] == "error"


def test_metadata_has_the_fields_of_max(client):
    reply = client.get("/model/metadata").json()
    assert set(reply) == {"id", "name", "description", "type", "source", "license"}
    assert all(isinstance(value, str) and value for value in reply.values())
    assert (reply["id"], reply["license"]) == ("tiny", "CC0-1.0")


def test_refusals_before_the_route_are_told_in_the_shape_of_the_path(captioner):
    app = create_app(ServeOptions(api_keys=("secret",)), {"tiny": captioner})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.post("/model/predict").json()["status"] == "error"
        assert client.get("/v1/models").json()["error"]["type"] == "authentication_error"
        assert client.get("/wowme?image=http://a/").headers["content-type"] == "application/problem+json"


def test_tutorial_clients_get_one_caption_of_a_fetched_picture(captioner):
    app = create_app(ServeOptions(allow_url_fetch=True), {"tiny": captioner})
    site = Site(pages={"/a.jpg?b=c": answer(picture_file("green"))}, names={"photos.example": [PUBLIC]})

    async def run():
        app.state.service.fetcher = Fetcher(max_bytes=100_000, resolve=site.resolve, connect=site.connect_once)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            picture = await client.get("/wowme", params={"image": "http://photos.example/a.jpg?b=c"})
            inward = await client.get("/wowme", params={"image": "http://127.0.0.1:8000/metrics"})
            return picture, inward

    try:
        picture, inward = asyncio.run(run())
    finally:
        app.state.service.close()
    assert picture.status_code == 200
    assert picture.json() == {"Prediction Caption:": "a green picture"}
    assert inward.status_code == 400
    assert inward.headers["content-type"] == "application/problem+json"


def test_where_fetching_is_off_tutorial_clients_are_told_the_switch(client):
    reply = client.get("/wowme", params={"image": "https://photos.example/a.jpg"})
    assert reply.status_code == 403
    assert "--allow-url-fetch" in reply.json()["detail"]


@pytest.mark.parametrize("query", ["", "?image=" + "a" * 5000])
def test_tutorial_clients_that_name_no_proper_address_are_told(client, query):
    assert 400 <= client.get("/wowme" + query).status_code < 500


def test_a_data_address_is_not_fetched(client):
    assert client.get("/wowme", params={"image": data_address()[:4000]}).status_code == 403
