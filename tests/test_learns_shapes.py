"""The whole path, from nothing: generate shapes, train, export, caption; the captions must be exact."""

import time

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.captioner import Captioner  # noqa: E402
from showtell.data.readers import read_dataset  # noqa: E402
from showtell.data.shapes import make_shapes  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.request import Request  # noqa: E402


@pytest.fixture
def two_threads():
    """As the command line on two cores; other tests leave torch with one, where rounding makes another model."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
def test_shapes_are_captioned_exactly_where_the_caption_was_never_seen_too(tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("SHOWTELL_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "shapes"
    make_shapes(data)
    began = time.monotonic()
    trainer = prepare(Request(data=data), tmp_path / "run", recipe=read_recipe("shapes"), say=print)
    assert trainer.train()
    record_property("seconds", round(time.monotonic() - began, 1))

    examples = read_dataset(data).examples
    seen = {example.captions[0] for example in examples if example.split == "train"}
    test = [example for example in examples if example.split == "test"]
    new = [example for example in test if example.captions[0] not in seen]
    assert len(new) >= 0.4 * len(test)

    captioner = Captioner.load(tmp_path / "run")  # exported on the way, which checks the bundle against torch
    told = {c.source: c.text for c in captioner.stream([str(example.image) for example in test])}
    exact = {example.id for example in test if told[str(example.image)] == example.captions[0]}
    assert len(exact) >= 0.98 * len(test)
    assert sum(example.id in exact for example in new) >= 0.95 * len(new)
