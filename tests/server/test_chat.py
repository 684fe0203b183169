"""OpenAI's official package against a running server."""

import asyncio
import math

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_server import live_server
from scripted_site import PUBLIC, Site, answer
from server_pictures import data_address, picture_file
from showtell.caption import Caption
from showtell.server.app import create_app
from showtell.server.chat import _pieces
from showtell.server.fetching import Fetcher
from showtell.server.options import ServeOptions
from showtell.tokenizers import join_words


@pytest.fixture(scope="module")
def server(captioner):
    """A server with one model under two names, which fetches from a made-up internet."""
    app = create_app(ServeOptions(allow_url_fetch=True, max_pictures=4), {"tiny": captioner, "other/name": captioner})
    with live_server(app) as address:
        yield address, app


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server[0]}/v1", api_key="none", max_retries=0) as client:
        yield client


def asking(*addresses, text="What is in this picture?"):
    """Messages with these pictures."""
    pictures = [{"type": "image_url", "image_url": {"url": address, "detail": "low"}} for address in addresses]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *pictures]}]


def complete(client, messages=None, **options):
    return client.chat.completions.create(
        **{"model": "tiny", "messages": asking(data_address("red")) if messages is None else messages} | options
    )


def test_a_picture_in_a_data_address_is_described(client):
    reply = complete(client)
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content == "a red picture"
    assert reply.choices[0].finish_reason == "stop"
    assert (reply.object, reply.model) == ("chat.completion", "tiny")
    assert reply.usage.prompt_tokens == 4  # regions of the picture
    assert reply.usage.completion_tokens == 4  # three words and the end
    assert reply.usage.total_tokens == 8


def test_data_addresses_may_be_folded_and_of_any_kind_of_picture(client):
    head, data = data_address("blue", form="JPEG").split(",")
    folded = "\n".join(data[start : start + 76] for start in range(0, len(data), 76))
    assert head == "data:image/png;base64"  # which it is not: the content tells
    assert complete(client, asking(f"{head},{folded}")).choices[0].message.content == "a blue picture"
    bare = [{"role": "user", "content": [{"type": "image_url", "image_url": data_address("green")}]}]
    assert complete(client, bare).choices[0].message.content == "a green picture"


def test_a_picture_behind_an_address_is_fetched(client, server, monkeypatch):
    site = Site(pages={"/a.png": answer(picture_file("green"))}, names={"photos.example": [PUBLIC]})

    fetcher = Fetcher(max_bytes=100_000, resolve=site.resolve, connect=site.connect_once)
    monkeypatch.setattr(server[1].state.service, "fetcher", fetcher)
    assert complete(client, asking("http://photos.example/a.png")).choices[0].message.content == "a green picture"
    with pytest.raises(openai.BadRequestError, match="not on the public internet"):
        complete(client, asking("http://localhost/a.png"))
    with pytest.raises(openai.InternalServerError, match="answers 404") as caught:
        complete(client, asking("http://photos.example/b.png"))
    assert caught.value.status_code == 502


def test_what_is_fetched_for_one_request_has_the_limit_of_what_is_sent_in_one(captioner):
    picture = picture_file("red", form="BMP", size=(20, 20))  # 1254 bytes
    site = Site(pages={"/a.bmp": answer(picture)}, names={"photos.example": [PUBLIC]})
    app = create_app(ServeOptions(allow_url_fetch=True, max_body_bytes=3000), {"tiny": captioner})
    app.state.service.fetcher = Fetcher(max_bytes=3000, resolve=site.resolve, connect=site.connect_once)
    with (
        live_server(app) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        reply = complete(client, asking(*["http://photos.example/a.bmp"] * 2))
        assert reply.choices[0].message.content == "a red picture\na red picture"
        with pytest.raises(openai.APIStatusError, match="3000 bytes allowed together") as caught:
            complete(client, asking(*["http://photos.example/a.bmp"] * 3))
    assert caught.value.status_code == 413


def test_several_pictures_give_a_line_each_in_order(client):
    reply = complete(client, asking(*map(data_address, ("red", "blue", "green"))))
    assert reply.choices[0].message.content == "a red picture\na blue picture\na green picture"
    assert reply.usage.completion_tokens == 12


def test_of_a_longer_chat_the_latest_pictures_are_described(client):
    messages = [
        {"role": "system", "content": "You describe pictures."},
        *asking(data_address("red")),
        {"role": "assistant", "content": "a red picture"},
        *asking(data_address("blue")),
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "And in other words?"},
    ]
    assert complete(client, messages).choices[0].message.content == "a blue picture"


def test_n_gives_so_many_different_captions_best_first(client):
    reply = complete(client, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    said = [choice.message.content for choice in reply.choices]
    assert said[0] == "a red picture"
    assert sorted(said) == ["a blue picture", "a green picture", "a red picture"]


def test_choices_of_several_pictures_go_side_by_side(client):
    reply = complete(client, asking(data_address("red"), data_address("blue")), n=2)
    first, second = (choice.message.content.split("\n") for choice in reply.choices)
    assert first == ["a red picture", "a blue picture"]
    assert second[0] != first[0]
    assert second[1] != first[1]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_is_one_of_words(client, name):
    [choice] = complete(client, **{name: 2}).choices
    assert choice.message.content == "a red"
    assert choice.finish_reason == "length"
    [choice] = complete(client, **{name: 300}).choices
    assert choice.finish_reason == "stop"


def test_temperature_draws_and_a_seed_repeats_the_draw(client):
    draws = [complete(client, temperature=2, n=16, seed=-7) for _ in range(2)]
    first, again = ([choice.message.content for choice in reply.choices] for reply in draws)
    assert first == again
    assert len(set(first)) > 1
    other = complete(client, temperature=2, n=16, seed=8)
    assert [choice.message.content for choice in other.choices] != first


def test_without_a_seed_draws_differ_from_call_to_call(client):
    said = [tuple(c.message.content for c in complete(client, temperature=2, n=16).choices) for _ in range(3)]
    assert len(set(said)) > 1  # equal by chance: less than once in a million runs


@pytest.mark.parametrize("options", [{"temperature": 0}, {"top_p": 0}, {"top_p": 1}, {"temperature": 0, "top_p": 0.5}])
def test_options_that_leave_nothing_to_chance_search_the_best_captions(client, options):
    said = {choice.message.content for choice in complete(client, n=3, **options).choices}
    assert len(said) == 3  # draws could be equal


def test_a_narrow_top_p_leaves_the_likeliest_words(client):
    said = {choice.message.content for choice in complete(client, n=16, top_p=0.01, temperature=2).choices}
    assert said == {"a red picture"}


def test_log_probabilities_come_with_the_pieces_of_the_text(client):
    [choice] = complete(client, logprobs=True, top_logprobs=2).choices
    pieces = choice.logprobs.content
    assert "".join(piece.token for piece in pieces) == "a red picture"
    assert bytes(byte for piece in pieces for byte in piece.bytes) == b"a red picture"
    # After "a" the colours weigh 8 * (200, 10, 10) / 255, and the six other words of the vocabulary nothing.
    weights = [math.exp(8 * value / 255) for value in (200, 10, 10)]
    assert pieces[1].logprob == pytest.approx(math.log(weights[0] / (sum(weights) + 6)), abs=1e-3)


def test_a_stream_gives_the_same_words_one_by_one(client):
    chunks = list(complete(client, asking(data_address("red"), data_address("blue")), n=2, stream=True, logprobs=True))
    whole = complete(client, asking(data_address("red"), data_address("blue")), n=2, logprobs=True)
    for choice in whole.choices:
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert own[0].delta.role == "assistant"
        assert "".join(part.delta.content or "" for part in own) == choice.message.content
        assert [part.finish_reason for part in own] == [None] * (len(own) - 1) + ["stop"]
        streamed = [piece for part in own if part.logprobs for piece in part.logprobs.content]
        assert streamed == choice.logprobs.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_its_usage_where_that_is_asked_for(client):
    *rest, last = complete(client, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == complete(client).usage
    assert all(chunk.usage is None for chunk in rest)


def test_the_packages_own_helper_for_streams_works(client):
    with client.chat.completions.stream(model="tiny", messages=asking(data_address("red"))) as stream:
        assert stream.get_final_completion().choices[0].message.content == "a red picture"


def test_a_stream_is_server_sent_events_up_to_done(server):
    body = {"messages": asking(data_address("red")), "stream": True}
    reply = httpx.post(f"{server[0]}/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, last, rest = reply.text.split("\n\n")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    assert (last, rest) == ("data: [DONE]", "")


def test_the_asynchronous_client_works_too(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{server[0]}/v1", api_key="none", max_retries=0) as client:
            colours = ("red", "green", "blue") * 3
            asked = [
                client.chat.completions.create(model="tiny", messages=asking(data_address(colour)))
                for colour in colours
            ]
            said = [reply.choices[0].message.content for reply in await asyncio.gather(*asked)]
            assert said == [f"a {colour} picture" for colour in colours]

    asyncio.run(run())


def test_models_are_listed_and_found_by_name(client):
    assert [model.id for model in client.models.list()] == ["tiny", "other/name"]
    assert client.models.retrieve("other/name").owned_by == "showtell"
    assert complete(client, model="other/name").model == "other/name"
    assert complete(client, model="").model == "tiny"


def test_an_unknown_model_raises_not_found(client):
    for ask in (lambda: complete(client, model="gpt-4o"), lambda: client.models.retrieve("gpt-4o")):
        with pytest.raises(openai.NotFoundError, match="known are tiny, other/name") as caught:
            ask()
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("options", "param", "told"),
    [
        ({"messages": [{"role": "user", "content": "Hello"}]}, "messages", "no picture; add a part of type image_url"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": asking("ftp://a/")}, "messages", "neither data:"),
        ({"messages": asking("/etc/passwd")}, "messages", "neither data:"),
        ({"messages": asking("data:image/png,abc")}, "messages", "neither data:"),
        ({"messages": asking("data:image/png;base64,a!b=")}, "messages", "no base64"),
        ({"messages": asking("data:image/png;base64,é")}, "messages", "no base64"),
        ({"messages": asking(*[data_address()] * 5)}, "messages", "5 pictures in a message, more than the 4 allowed"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "without image_url"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages", "valid string"),
        ({"n": 17}, "n", "less than or equal to 16"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"temperature": 2.1}, "temperature", "less than or equal to 2"),
        ({"top_p": -0.1}, "top_p", "greater than or equal to 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"seed": 2**63}, "seed", "less than or equal to"),
        ({"response_format": {"type": "json_object"}}, "response_format", "captions are plain text"),
    ],
)
def test_requests_that_cannot_be_served_raise_bad_request_with_the_parameter(client, options, param, told):
    with pytest.raises(openai.BadRequestError, match=told) as caught:
        complete(client, **options)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_picture_raises_bad_request_also_for_a_stream(client, stream):
    with pytest.raises(openai.BadRequestError, match="no picture: found text") as caught:
        complete(client, asking("data:image/png;base64,SGVsbG8="), stream=stream)
    assert caught.value.code == "picture"


def test_one_broken_picture_among_several_fails_the_whole(client):
    with pytest.raises(openai.BadRequestError, match="no picture"):
        complete(client, asking(data_address(), "data:image/png;base64,SGVsbG8=", "data:image/png;base64,AAAA"))


def test_where_fetching_is_off_the_error_names_the_switch(captioner):
    with (
        live_server(create_app(ServeOptions(), {"tiny": captioner})) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError, match="--allow-url-fetch") as caught,
    ):
        complete(client, asking("https://photos.example/a.png"))
    assert caught.value.code == "fetch_off"


def test_keys_rates_and_sizes_raise_the_packages_own_exceptions(captioner):
    options = ServeOptions(api_keys=("secret",), rate=2, max_body_bytes=2000)
    with live_server(create_app(options, {"tiny": captioner})) as address:

        def ask(key, messages=None):
            with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
                return complete(client, messages)

        with pytest.raises(openai.AuthenticationError) as caught:
            ask("wrong")
        assert caught.value.type == "authentication_error"
        assert ask("secret").choices[0].message.content == "a red picture"
        with pytest.raises(openai.APIStatusError) as caught:
            ask("secret", asking(data_address() + "A" * 2000))
        assert caught.value.status_code == 413
        assert "2000 bytes" in caught.value.message
        with pytest.raises(openai.RateLimitError) as caught:
            ask("secret")
        assert caught.value.type == "rate_limit_error"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"messages": ' + b"[" * 50_000,
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}], "model": "\\ud800"}',
        b'{"messages": [{"role": "user", "content": []}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": []}], "n": 1e400}',
        b'{"messages": [{"role": "user", "content": []}], "seed": ' + b"9" * 5000 + b"}",
        b'{"messages": {"role": "user"}}',
    ],
)
def test_bodies_that_are_no_request_are_told_in_the_same_shape(server, body):
    reply = httpx.post(f"{server[0]}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_is_told_so(server):
    headers = {"Content-Type": "application/json"}
    reply = httpx.post(f"{server[0]}/v1/chat/completions", content=b"{nonsense", headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "the body is no JSON, though its Content-Type says so"
    assert reply.json()["error"]["param"] is None


def test_an_error_never_repeats_the_picture_it_came_with(server):
    picture = data_address()
    body = {"messages": [{"role": "user", "content": [{"type": 5, "image_url": {"url": picture}}]}], "n": picture}
    reply = httpx.post(f"{server[0]}/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert picture[30:60] not in reply.text


WORDS = st.sampled_from(["a", "man", "'s", "hat", ".", ",", "``", "''", '"', "(", ")", "1970", "n't", "%", "$"])


@given(st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=3))
def test_pieces_join_to_the_captions_whatever_their_punctuation(sentences):
    captions = [
        Caption("", join_words(words), tuple(words), -1.0, -1.0, None, (-0.5,) * (len(words) + 1))
        for words in sentences
    ]
    assert "".join(text for text, _ in _pieces(captions)) == "\n".join(caption.text for caption in captions)
