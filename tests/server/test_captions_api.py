"""POST /v1/captions, and what surrounds it: health, counts, documentation."""

import base64
import json
import math

import pytest
from starlette.testclient import TestClient

from gated_model import GatedModel
from server_pictures import data_address, picture_file
from showtell import DecodeOptions, ServeError
from showtell.server.app import create_app
from showtell.server.options import ServeOptions
from showtell.server.problems import Problem
from showtell.server.service import LIMITS, Service, decode_options

RED = {"image": ("a.png", picture_file("red"), "image/png")}


@pytest.fixture(scope="module")
def client(captioner):
    app = create_app(ServeOptions(max_pictures=4), {"tiny": captioner, "other": captioner})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def in_base64(colour):
    return base64.b64encode(picture_file(colour)).decode()


def captions_of(reply):
    assert reply.status_code == 200, reply.text
    return [[caption["caption"] for caption in result["captions"]] for result in reply.json()["results"]]


def problem_of(reply, status):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert told["status"] == status
    assert "\n" not in told["detail"]
    return told["detail"]


def test_a_file_is_described_with_the_probability_of_each_word(client, captioner):
    reply = client.post("/v1/captions", files=RED)
    assert captions_of(reply) == [["a red picture"]]
    assert reply.json()["model"] == "tiny"
    result = reply.json()["results"][0]
    assert result["name"] == "a.png"
    caption = result["captions"][0]
    expected = captioner.caption(picture_file("red"))
    assert caption["log_probability"] == pytest.approx(expected.log_probability)
    assert caption["score"] == pytest.approx(expected.score)
    assert caption["probability"] == pytest.approx(math.exp(expected.log_probability))
    assert [word["word"] for word in caption["words"]] == ["a", "red", "picture"]
    for word, log_probability in zip(caption["words"], expected.word_log_probabilities, strict=False):
        assert word["log_probability"] == pytest.approx(log_probability)
        assert word["probability"] == pytest.approx(math.exp(log_probability))
    assert "attention" not in caption["words"][0]


def test_attention_is_a_grid_for_each_word_that_sums_to_one(client):
    reply = client.post("/v1/captions", files=RED, data={"attention": "true"})
    for word in reply.json()["results"][0]["captions"][0]["words"]:
        assert [len(row) for row in word["attention"]] == [2, 2]
        assert sum(map(sum, word["attention"])) == pytest.approx(1, abs=1e-4)


def test_several_files_get_a_result_each_in_order(client):
    files = [("image", (f"{colour}.png", picture_file(colour), "text/plain")) for colour in ("blue", "red", "green")]
    reply = client.post("/v1/captions", files=files)
    assert captions_of(reply) == [["a blue picture"], ["a red picture"], ["a green picture"]]
    assert [result["name"] for result in reply.json()["results"]] == ["blue.png", "red.png", "green.png"]


@pytest.mark.parametrize("image", [in_base64("green"), data_address("green")])
def test_json_brings_a_picture_in_base64_or_a_data_address(client, image):
    assert captions_of(client.post("/v1/captions", json={"image": image})) == [["a green picture"]]


def test_json_may_bring_several_pictures_and_options(client):
    body = {"image": [in_base64("red"), in_base64("blue")], "num_captions": 2, "beam_width": 4, "model": "other"}
    reply = client.post("/v1/captions", json=body)
    first, second = captions_of(reply)
    assert (first[0], second[0], len(first), len(second)) == ("a red picture", "a blue picture", 2, 2)
    assert reply.json()["model"] == "other"


def test_of_several_pictures_a_broken_one_is_a_problem_in_its_place(client):
    files = [("image", ("a.png", picture_file("red"))), ("image", ("b.png", b"no picture"))]
    first, second = client.post("/v1/captions", files=files).json()["results"]
    assert first["captions"][0]["caption"] == "a red picture"
    assert "captions" not in second
    assert (second["name"], second["problem"]["status"]) == ("b.png", 400)
    assert "found text" in second["problem"]["detail"]


def test_of_one_picture_its_problem_is_the_answer(client):
    assert "found text" in problem_of(client.post("/v1/captions", files={"image": b"no picture"}), 400)
    cut_off = picture_file("red", form="JPEG", size=(400, 300))[:700]
    assert "truncated" in problem_of(client.post("/v1/captions", files={"image": cut_off}), 400)


def test_the_seed_decides_what_is_drawn(client):
    def drawn(seed):
        options = {"temperature": "5", "num_captions": "6", "seed": str(seed), "max_words": "6"}
        return captions_of(client.post("/v1/captions", files=RED, data=options))

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"beam_width": 17}, "beam_width is 17, expected a whole number from 1 to 16"),
        ({"beam_width": 2.5}, "beam_width is 2.5, expected a whole number"),
        ({"beam_width": True}, "beam_width is True"),
        ({"max_words": 10**400}, "max_words is 1000"),
        ({"temperature": float("nan")}, "temperature is nan, expected 0, or a number from 0.05 to 5"),
        ({"temperature": 0.01}, "temperature is 0.01"),
        ({"top_p": "high"}, "top_p is 'high'"),
        ({"beamwidth": 3}, "unknown option 'beamwidth'; known are num_captions, beam_width"),
        ({"temperature": 1, "beam_width": 3}, "beam_width is for beam search"),
        ({"temperature": 1, "sample": False}, "temperature is for sampling"),
        ({"temperature": 0, "sample": True}, "draws nothing"),
        ({"num_captions": 5, "beam_width": 2}, "num_captions is 5, more than beam_width 2"),
        ({"attention": "maybe"}, "attention is expected as true or false"),
        ({"model": 3}, "model is expected as a name"),
        ({"image": ""}, "image is expected as text"),
        ({"image": 7}, "image is expected as text"),
        ({"image": "@@@"}, "image is no base64"),
        ({"image": "data:image/png,abc"}, "without base64"),
        ({"image": []}, "no picture came"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_in_one_line(client, options, told):
    body = json.dumps({"image": in_base64("red")} | options)
    reply = client.post("/v1/captions", content=body, headers={"Content-Type": "application/json"})
    assert told in problem_of(reply, 400)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"[" * 100_000, b"\xff\xfe", b"1" * 5000])
def test_a_body_that_is_no_json_object_is_refused(client, body):
    problem_of(client.post("/v1/captions", content=body, headers={"Content-Type": "application/json"}), 400)


def test_forms_that_are_broken_or_hold_too_much_are_refused(client):
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    problem_of(client.post("/v1/captions", content=b"--x\r\nnonsense", headers=multipart), 400)
    problem_of(client.post("/v1/captions", content=b"", headers={"Content-Type": "multipart/form-data"}), 400)
    files = [("image", (f"{i}.png", picture_file("red"))) for i in range(5)]
    problem_of(client.post("/v1/captions", files=files), 400)
    assert "5 pictures, more than the 4" in problem_of(
        client.post("/v1/captions", json={"image": [in_base64("red")] * 5}), 413
    )
    as_text = client.post("/v1/captions", files={"image": (None, "photo.jpg")})
    assert "came as text, expected a file" in problem_of(as_text, 400)
    twice = {"beam_width": ["2", "3"]}
    assert "came twice" in problem_of(client.post("/v1/captions", files=RED, data=twice), 400)


def test_other_media_types_models_paths_and_methods_are_problems_too(client):
    problem_of(client.post("/v1/captions", content=picture_file("red"), headers={"Content-Type": "image/png"}), 415)
    assert "known are tiny, other" in problem_of(client.post("/v1/captions", files=RED, data={"model": "no"}), 404)
    problem_of(client.get("/v1/nothing"), 404)
    problem_of(client.get("/v1/captions"), 405)


def test_addresses_are_refused_with_the_switch_that_allows_them(client):
    reply = client.post("/v1/captions", json={"url": "http://example.org/a.jpg"})
    assert "--allow-url-fetch" in problem_of(reply, 403)


def test_every_option_of_the_documentation_is_accepted_at_both_of_its_limits():
    for name, (_, lowest, highest) in LIMITS.items():
        for value in (lowest, highest):
            more = {"max_words": 60} if name == "min_words" else {"beam_width": 16} if name == "beam_groups" else {}
            assert getattr(decode_options(DecodeOptions(), {name: value} | more), name) == value


def test_naming_a_temperature_asks_for_sampling_and_none_for_the_likeliest_words():
    assert decode_options(DecodeOptions(), {"temperature": 0.5}).sample
    assert decode_options(DecodeOptions(), {"top_p": 0.5}).sample
    assert not decode_options(DecodeOptions(), {"temperature": 0, "top_p": 0.5}).sample
    sampling = DecodeOptions(sample=True)
    assert decode_options(sampling, {}).sample
    assert not decode_options(sampling, {"beam_width": 2}).sample
    assert not decode_options(sampling, {"temperature": 0}).sample
    with pytest.raises(Problem, match="for beam search"):
        decode_options(sampling, {"sample": True, "beam_width": 2})


def test_a_model_that_takes_regions_from_files_is_not_served():
    model = GatedModel()
    model.images = None
    with pytest.raises(ServeError, match="model a takes regions from files"):
        Service(ServeOptions(), {"a": model.captioner()})
    with pytest.raises(ServeError, match="no model"):
        Service(ServeOptions(), {})


def test_the_server_tells_whether_it_lives_and_whether_it_is_ready(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "models": ["tiny", "other"]}
    client.app.state.service.ready = False
    try:
        assert problem_of(client.get("/readyz"), 503)
        assert client.get("/healthz").status_code == 200
    finally:
        client.app.state.service.ready = True


def count_of(client, line):
    found = [text for text in client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
    return float(found[0].split()[-1]) if found else 0.0


def test_requests_failures_batches_and_stages_are_counted(client):
    good = 'showtell_requests_total{method="POST",route="/v1/captions",status="200"}'
    bad, batches = 'showtell_failures_total{reason="picture"}', "showtell_batch_pictures_sum"
    stages = [f'showtell_stage_seconds_count{{stage="{name}"}}' for name in ("read", "wait", "encode", "decode")]
    before = [count_of(client, line) for line in (good, bad, batches, *stages)]
    client.post("/v1/captions", files=RED)
    client.post("/v1/captions", files={"image": b"no picture"})
    after = [count_of(client, line) for line in (good, bad, batches, *stages)]
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1, 1, 1, 1, 1]
    assert count_of(client, "showtell_queue_pictures") == 0
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_paths_of_strangers_make_no_counters(client):
    client.get("/stranger/9f3b")
    client.request("BREW", "/healthz")
    text = client.get("/metrics").text
    assert "9f3b" not in text
    assert "BREW" not in text


def test_the_documentation_names_every_route_and_loads_nothing_from_elsewhere(client):
    reply = client.get("/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    described = client.get("/openapi.json").json()
    assert "/v1/captions" in described["paths"]
    for path in described["paths"]:
        assert f"<code>{path}</code>" in reply.text
    for part in ("<script", "http://", "https://cdn", "src="):
        assert part not in reply.text
