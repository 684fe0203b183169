"""Graphs for regions from files, of which a picture may have fewer than the model takes, say what torch says."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
onnx = pytest.importorskip("onnx", reason="needs the training extra")

import onnxruntime  # noqa: E402

from showtell.architectures import (  # noqa: E402
    AttendOptions,
    SequenceAttendOptions,
    TopicOptions,
    TransformerOptions,
    UpDownOptions,
)
from showtell.decoding.arrays import NumpyArrays  # noqa: E402
from showtell.decoding.options import DecodeOptions  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.export.graphs import start_graph, step_graph  # noqa: E402
from showtell.models import ARCHITECTURES  # noqa: E402
from showtell.runtime import OnnxDecoder  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.training.validation import TorchDecoder  # noqa: E402

REGIONS, SIZE, VOCABULARY = 3, 5, 11
ENCODER = SimpleNamespace(region_count=REGIONS, region_size=SIZE)
RECURRENT = {"embedding": 7, "hidden": 9, "attention": 4}
KINDS = {
    "attend": AttendOptions(**RECURRENT, projection=8),
    "up-down": UpDownOptions(**RECURRENT),
    "sequence-attend-lstm": SequenceAttendOptions(**RECURRENT, projection=8),
    "sequence-attend-gru": SequenceAttendOptions(**RECURRENT, projection=8, cell="gru"),
    "topic": TopicOptions(**RECURRENT, projection=8, topics=2),
    "transformer": TransformerOptions(layers=1, hidden=12, heads=3, feed_forward=10, max_words=10),
}
NUMBERS = (1, 3, 2, 2)  # regions of each picture
CPU = torch.device("cpu")


# One of each kind takes minutes; up-down goes the whole way in tests/cli/test_regions.py.
QUICK = "sequence-attend-lstm"


@pytest.fixture(
    scope="module", params=[kind if kind == QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def exported(request):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options = KINDS[request.param]
    decoder = ARCHITECTURES[options.architecture](options, REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():  # so strong that every picture is told in its own words
        parameter.data += 0.7 * torch.randn_like(parameter)
    decoder.eval()
    graphs = start_graph(decoder, ENCODER, True), step_graph(decoder, ENCODER, True)
    for graph in graphs:
        onnx.checker.check_model(graph, full_check=True)
    return decoder, OnnxDecoder(*(onnxruntime.InferenceSession(graph.SerializeToString()) for graph in graphs))


@pytest.fixture
def pictures():
    """Regions as they come from files, NaN behind a picture's last, and the same with a mask."""
    regions = np.random.default_rng(1).normal(size=(len(NUMBERS), REGIONS, SIZE)).astype(np.float32)
    mask = np.arange(REGIONS) < np.array(NUMBERS)[:, None]
    regions[~mask] = np.nan
    return regions, torch.from_numpy(np.where(mask[:, :, None], regions, np.float32(0))), torch.from_numpy(mask)


@torch.no_grad()
def test_steps_say_what_torch_says_and_no_missing_region_is_looked_at(exported, pictures):
    decoder, theirs = exported
    regions, ours, mask = pictures
    memory, state = decoder.start(ours, mask)
    memory_there, state_there = theirs.start(regions)
    for tokens in np.random.default_rng(2).integers(0, VOCABULARY, (4, len(NUMBERS), 1)):
        log_probs, state, attention = decoder.step(torch.from_numpy(tokens), state, memory)
        log_probs_there, state_there, attention_there = theirs.step(tokens, state_there, memory_there)
        np.testing.assert_allclose(log_probs_there, log_probs.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(attention_there, attention.numpy(), rtol=1e-4, atol=1e-5)
        assert not attention_there[:, 0][~mask.numpy()].any()


@torch.no_grad()
def test_onnx_and_torch_captions_agree_where_pictures_have_fewer_regions(exported, pictures):
    decoder, theirs = exported
    regions, ours, mask = pictures
    options = DecodeOptions(beam_width=3, max_words=8)
    told = generate(TorchDecoder(decoder, mask, CPU), ours, options, TorchArrays(CPU))
    found = generate(theirs, regions, options, NumpyArrays())
    assert [ranked[0].tokens for ranked in found] == [ranked[0].tokens for ranked in told]
    assert len({ranked[0].tokens for ranked in found}) >= 2  # else the pictures would not matter
    unmasked = generate(TorchDecoder(decoder, None, CPU), ours, options, TorchArrays(CPU))
    assert [r[0].log_probability for r in unmasked] != pytest.approx([r[0].log_probability for r in told], abs=1e-3)


@torch.no_grad()
def test_a_picture_with_fewer_regions_is_told_as_if_the_model_took_no_more(exported, pictures):
    decoder, theirs = exported
    if decoder.options.architecture == "transformer":
        pytest.skip("its learnt places are those of all regions")
    regions, ours, _ = pictures
    _, state_there = theirs.start(regions)
    for b, count in enumerate(NUMBERS):
        _, state = decoder.start(ours[b : b + 1, :count])
        for name, value in state.items():
            np.testing.assert_allclose(state_there[name][b], value[0].numpy(), rtol=1e-4, atol=1e-5)
