"""Batches: who shares them, who waits for whom, what becomes of those who go away."""

import asyncio

import pytest

from gated_model import GatedModel, GatedSearch
from server_pictures import picture_file
from showtell import DecodeOptions, ImageError, ShowtellError
from showtell.server import engine as engine_module
from showtell.server.engine import Engine
from showtell.server.metrics import Metrics
from showtell.server.options import ServeOptions

CHEAP, OTHER, DEAR = (DecodeOptions(beam_width=width, max_words=words) for width, words in ((3, 6), (2, 6), (16, 60)))


def run(work, *models, **options):
    """Run `work(engine)` with models called a, b ..."""
    captioners = {name: model.captioner() for name, model in zip("ab", models, strict=False)}
    made = Engine(captioners, ServeOptions(**options), Metrics())

    async def limited():
        async with asyncio.timeout(30):
            return await work(made)

    try:
        return asyncio.run(limited())
    finally:
        made.close()


def asked(engine, colour="red", options=CHEAP, model="a", **picture):
    return asyncio.create_task(engine.caption(model, picture_file(colour, **picture), options, attention=False))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


async def all_waiting(engine, count):
    await until(lambda: len(engine._waiting) == count)


def texts(results):
    return [captions[0].text for captions in results]


def test_pictures_that_came_meanwhile_are_encoded_together_in_order_of_arrival():
    model = GatedModel()

    async def work(engine):
        model.encoding.clear()
        tasks = [asked(engine, "red")]
        await asyncio.to_thread(model.began.wait)
        for i, colour in enumerate(("green", "blue", "red", "green")):
            tasks.append(asked(engine, colour))
            await all_waiting(engine, i + 1)
        model.encoding.set()
        return await asyncio.gather(*tasks)

    assert texts(run(work, model, batch=3)) == ["red 3", "green 3", "blue 3", "red 3", "green 3"]
    assert model.batches == [["red"], ["green", "blue", "red"], ["green"]]


def test_requests_with_different_options_share_the_encoder_and_those_with_equal_ones_the_decoder():
    model = GatedModel()

    async def work(engine):
        model.encoding.clear()
        tasks = [asked(engine, options=DecodeOptions(beam_width=1, max_words=6))]
        await asyncio.to_thread(model.began.wait)
        tasks += [asked(engine, "blue", options) for options in (CHEAP, OTHER, DEAR, CHEAP)]
        await all_waiting(engine, 4)
        model.encoding.set()
        return await asyncio.gather(*tasks)

    assert texts(run(work, model)) == ["red 1", "blue 3", "blue 2", "blue 16", "blue 3"]
    assert list(map(len, model.batches)) == [1, 4]
    assert set(model.decoded) == {(1, 1), (1, 2), (1, 16), (2, 3)}


def test_what_is_encoded_while_others_are_decoded_joins_its_like_at_once():
    model = GatedModel()
    model.held_beam = 3

    async def work(engine):
        tasks = [asked(engine)]
        await asyncio.to_thread(model.held.wait)
        for i, options in enumerate((CHEAP, OTHER, CHEAP, CHEAP)):
            tasks.append(asked(engine, "blue", options))
            await until(lambda i=i: engine._cheap.waiting == i + 1)
        model.beam.set()
        return await asyncio.gather(*tasks)

    assert texts(run(work, model)) == ["red 3", "blue 3", "blue 2", "blue 3", "blue 3"]
    assert list(map(len, model.batches)) == [1] * 5
    assert model.decoded == [(1, 3), (4, 3), (1, 2), (3, 3), (1, 2)]


def test_no_more_than_a_batch_waits_to_be_decoded_and_none_is_larger():
    model = GatedModel()
    model.held_beam = 3

    async def work(engine):
        tasks = [asked(engine)]
        await asyncio.to_thread(model.held.wait)
        for i in range(2):
            tasks.append(asked(engine, "blue"))
            await until(lambda i=i: engine._cheap.waiting == i + 1)
        tasks += [asked(engine, "green") for _ in range(3)]
        await all_waiting(engine, 3)
        model.beam.set()
        return await asyncio.gather(*tasks)

    assert texts(run(work, model, batch=2)) == ["red 3", "blue 3", "blue 3", "green 3", "green 3", "green 3"]
    assert list(map(len, model.batches)) == [1, 1, 1, 2, 1]
    assert max(model.decoded) == (2, 3)


def test_a_cheap_request_does_not_wait_for_a_dear_one():
    model = GatedModel()
    model.held_beam = 16

    async def work(engine):
        dear = [asked(engine, "red", DEAR) for _ in range(9)]
        await until(lambda: sum(map(len, model.batches)) == 9)
        assert texts(await asyncio.gather(*(asked(engine, "green") for _ in range(5)))) == ["green 3"] * 5
        assert not any(task.done() for task in dear)
        model.beam.set()
        return await asyncio.gather(*dear)

    assert texts(run(work, model)) == ["red 16"] * 9


def test_a_large_picture_is_read_apart(monkeypatch):
    monkeypatch.setattr(engine_module, "LARGE", 100 * 100)
    model = GatedModel()
    model.reading.clear()

    async def work(engine):
        large = [asked(engine, "blue", size=(200, 200)) for _ in range(8)]
        assert texts([await asked(engine, "red")]) == ["red 3"]
        assert not any(task.done() for task in large)
        model.reading.set()
        return await asyncio.gather(*large)

    assert texts(run(work, model)) == ["blue 3"] * 8


def test_a_request_that_is_cancelled_leaves_the_queue():
    model = GatedModel()

    async def work(engine):
        model.encoding.clear()
        first = asked(engine)
        await asyncio.to_thread(model.began.wait)
        gone, stays = asked(engine, "green"), asked(engine, "blue")
        await all_waiting(engine, 2)
        gone.cancel()
        await asyncio.wait({gone})
        model.encoding.set()
        return await asyncio.gather(first, stays)

    assert texts(run(work, model)) == ["red 3", "blue 3"]
    assert model.batches == [["red"], ["blue"]]


def test_decoding_ends_where_nobody_waits_any_more():
    model = GatedModel()
    model.held_beam = 3

    async def work(engine):
        gone = asked(engine)
        await asyncio.to_thread(model.held.wait)
        gone.cancel()
        await asyncio.wait({gone})
        model.beam.set()
        return [await asked(engine, "blue")]

    assert texts(run(work, model)) == ["blue 3"]
    assert model.decoded == [(1, 3)] * 3  # one step of the first, two of the other


def test_a_decoder_that_fails_fails_its_like_and_no_other(monkeypatch):
    model = GatedModel()
    model.held_beam = 2

    async def work(engine):
        tasks = [asked(engine, "red", OTHER)]
        await asyncio.to_thread(model.held.wait)
        for i in range(2):
            tasks.append(asked(engine, "blue"))
            await until(lambda i=i: engine._cheap.waiting == i + 1)
        monkeypatch.setattr(GatedSearch, "captions", fail)
        model.beam.set()
        with pytest.raises(ShowtellError, match="NaN"):
            await tasks[1]
        with pytest.raises(ShowtellError, match="NaN"):
            await tasks[2]
        return [await tasks[0], await asked(engine, "green", OTHER)]

    def fail(search, colour):
        if search.beam_width == 3:
            raise ShowtellError("the decoder gave NaN")
        return captions(search, colour)

    captions = GatedSearch.captions
    assert texts(run(work, model)) == ["red 2", "green 2"]


def test_models_share_no_batch():
    first, second = GatedModel(), GatedModel()

    async def work(engine):
        first.encoding.clear()
        tasks = [asked(engine)]
        await asyncio.to_thread(first.began.wait)
        tasks += [asked(engine, colour, model=name) for name, colour in (("a", "green"), ("b", "blue"))]
        tasks += [asked(engine, "green", model="a")]
        await all_waiting(engine, 3)
        first.encoding.set()
        return await asyncio.gather(*tasks)

    assert texts(run(work, first, second)) == ["red 3", "green 3", "blue 3", "green 3"]
    assert (first.batches, second.batches) == ([["red"], ["green", "green"]], [["blue"]])


def test_a_model_that_fails_fails_its_batch_and_no_other():
    model = GatedModel()

    async def work(engine):
        model.failing = True
        with pytest.raises(ShowtellError, match="damaged"):
            await asked(engine)
        model.failing = False
        return [await asked(engine)]

    assert texts(run(work, model)) == ["red 3"]


def test_pictures_are_bounded_by_their_header_before_they_are_decoded():
    async def work(engine):
        with pytest.raises(ImageError, match="120 x 100 pixels, more than the 11999 allowed"):
            await asked(engine, size=(120, 100))
        return [await asked(engine, size=(119, 100))]

    assert texts(run(work, GatedModel(), max_pixels=11_999)) == ["red 3"]


def test_samples_are_the_same_alone_and_in_company(captioner):
    options = DecodeOptions(sample=True, num_captions=4, temperature=3.0, seed=7, max_words=6)
    engine = Engine({"a": captioner}, ServeOptions(batch_ms=200), Metrics())

    async def work():
        alone = [await asked(engine, colour, options) for colour in ("red", "green")]
        together = await asyncio.gather(*(asked(engine, colour, options) for colour in ("blue", "red", "green")))
        return alone, together[1:]

    try:
        alone, together = asyncio.run(work())
    finally:
        engine.close()
    assert alone == together
    assert len({caption.text for captions in alone for caption in captions}) > 2
