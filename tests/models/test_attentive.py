"""What every decoder with attention does beside Show, Attend and Tell: up-down, sequence-attend and transformer."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
onnx = pytest.importorskip("onnx", reason="needs the training extra")

import onnxruntime  # noqa: E402

from showtell.architectures import SequenceAttendOptions, TransformerOptions, UpDownOptions  # noqa: E402
from showtell.export.graphs import start_graph, step_graph  # noqa: E402
from showtell.models.sequence_attend import SequenceAttendDecoder  # noqa: E402
from showtell.models.transformer import TransformerDecoder  # noqa: E402
from showtell.models.up_down import UpDownDecoder  # noqa: E402
from showtell.runtime import OnnxDecoder  # noqa: E402
from showtell.vocabulary import PAD, START  # noqa: E402

REGIONS, SIZE, VOCABULARY = 6, 5, 11
# Lengths of three captions of each of three pictures, longest first, 0 where a picture has fewer.
LENGTHS = [[4, 2, 1], [3, 3, 0], [0, 0, 0]]
STEPS = 5  # one more than the longest needs
RECURRENT = {"embedding": 7, "hidden": 9, "attention": 4, "dropout": 0.0}
TRANSFORMER = {"layers": 2, "hidden": 12, "heads": 3, "feed_forward": 10, "max_words": 6, "dropout": 0.0}
KINDS = {
    "up-down": lambda **more: (UpDownDecoder, UpDownOptions(**{**RECURRENT, **more})),
    "sequence-attend-lstm": lambda **more: (
        SequenceAttendDecoder,
        SequenceAttendOptions(**{**RECURRENT, "projection": 8, **more}),
    ),
    "sequence-attend-gru": lambda **more: (
        SequenceAttendDecoder,
        SequenceAttendOptions(**{**RECURRENT, "projection": 8, "cell": "gru", **more}),
    ),
    "transformer": lambda **more: (TransformerDecoder, TransformerOptions(**{**TRANSFORMER, **more})),
    "transformer-plain": lambda **more: (
        TransformerDecoder,
        TransformerOptions(**{**TRANSFORMER, "places": False, "tie_embedding": False, "layers": 1, **more}),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def decoder(kind):
    return _decoder(kind)


def _decoder(kind, **changes):
    torch.manual_seed(0)
    architecture, options = KINDS[kind](**changes)
    decoder = architecture(options, REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():  # so strong that words, pictures and places matter, also where zero
        parameter.data += 0.3 * torch.randn_like(parameter)
    return decoder.eval()


def _told():
    """Regions of three pictures, and three captions of each with the start mark first."""
    torch.manual_seed(1)
    regions = torch.randn(3, REGIONS, SIZE)
    tokens = torch.randint(4, VOCABULARY, (3, 3, STEPS))
    tokens[:, :, 0] = START
    return regions, tokens, torch.tensor(LENGTHS)


def _valid(lengths):
    return torch.arange(STEPS) < lengths.unsqueeze(2)


def _stepped(decoder, regions, tokens, mask=None):
    """Log-probabilities (B, K, T, V) and attention (B, K, T, R), one word after another as in decoding."""
    memory, state = decoder.start(regions, mask)
    state = {name: value.repeat_interleave(tokens.shape[1], 1) for name, value in state.items()}
    told, looked = [], []
    for t in range(tokens.shape[2]):
        log_probs, state, attention = decoder.step(tokens[:, :, t], state, memory)
        told.append(log_probs)
        looked.append(attention)
    return torch.stack(told, 2), torch.stack(looked, 2)


def _close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


MASK = torch.tensor([[1, 0, 1, 1, 0, 0], [1] * 6, [0, 0, 0, 0, 1, 1]]).bool()


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, MASK], ids=["every region", "masked"])
def test_teacher_forcing_says_what_repeated_steps_say(decoder, mask):
    regions, tokens, lengths = _told()
    told = decoder(regions, tokens, lengths, mask)
    log_probs, looked = _stepped(decoder, regions, tokens, mask)
    valid = _valid(lengths)
    assert told.logits.shape == (13, VOCABULARY)
    assert told.extra is None
    _close(told.logits.log_softmax(1), log_probs[valid])
    _close(told.attention, looked * valid.unsqueeze(3))


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, MASK], ids=["every region", "masked"])
def test_attention_sums_to_one_over_real_regions_and_probabilities_too(decoder, mask):
    regions, tokens, _ = _told()
    log_probs, attention = _stepped(decoder, regions, tokens, mask)
    assert (attention >= 0).all()
    _close(attention.sum(3), torch.ones(3, 3, STEPS))
    _close(log_probs.exp().sum(3), torch.ones(3, 3, STEPS))
    if mask is not None:
        assert (attention.transpose(1, 3)[~mask] == 0).all()
    assert attention.std(3).min() > 1e-3  # it is not the same everywhere


@torch.no_grad()
def test_masked_regions_change_nothing_and_real_ones_do(decoder):
    regions, tokens, lengths = _told()
    told = decoder(regions, tokens, lengths, MASK)
    other = regions.clone()
    other[~MASK] = 1e3
    again = decoder(other, tokens, lengths, MASK)
    assert torch.equal(told.logits, again.logits)
    assert torch.equal(told.attention, again.attention)
    other = regions.clone()
    other[MASK] = other[MASK].flip(1)
    assert not torch.allclose(decoder(other, tokens, lengths, MASK).logits, told.logits, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"transformer"}))  # whose learnt places are those of all
def test_masked_regions_are_as_if_they_were_not_there(kind):
    decoder = _decoder(kind)
    regions, tokens, lengths = _told()
    chosen = torch.tensor([0, 2, 3, 5])
    mask = torch.zeros(3, REGIONS, dtype=torch.bool)
    mask[:, chosen] = True
    masked = decoder(regions, tokens, lengths, mask)
    fewer = decoder(regions[:, chosen], tokens, lengths)
    _close(masked.logits, fewer.logits)
    _close(masked.attention[:, :, :, chosen], fewer.attention)


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, MASK], ids=["every region", "masked"])
def test_captions_of_a_picture_and_pictures_of_a_batch_do_not_influence_each_other(decoder, mask):
    regions, tokens, lengths = _told()
    logits = decoder(regions, tokens, lengths, mask).logits
    rows = iter(logits.split([length for of_picture in LENGTHS for length in of_picture]))
    for b, of_picture in enumerate(LENGTHS):
        for k, length in enumerate(of_picture):
            expected = next(rows)
            if length:
                own = slice(b, b + 1), slice(k, k + 1)
                own_mask = None if mask is None else mask[b : b + 1]
                _close(decoder(regions[b : b + 1], tokens[own], lengths[own], own_mask).logits, expected)


@torch.no_grad()
def test_words_past_the_end_of_a_caption_change_nothing(decoder):
    regions, tokens, lengths = _told()
    other = torch.where(_valid(lengths), tokens, torch.tensor(PAD))
    assert torch.equal(decoder(regions, tokens, lengths).logits, decoder(regions, other, lengths).logits)


@torch.no_grad()
def test_every_earlier_word_matters_and_no_later_one(decoder):
    regions, tokens, _ = _told()
    lengths = torch.full((3, 3), STEPS)
    before = decoder(regions, tokens, lengths).logits.view(3, 3, STEPS, VOCABULARY)
    for t in range(STEPS):
        other = tokens.clone()
        other[:, :, t] = 4 + (tokens[:, :, t] - 3) % (VOCABULARY - 4)
        after = decoder(regions, other, lengths).logits.view(3, 3, STEPS, VOCABULARY)
        _close(after[:, :, :t], before[:, :, :t])
        assert ((after - before)[:, :, t:].abs().amax(3) > 1e-5).all()


@torch.no_grad()
def test_a_caption_is_told_by_the_picture(decoder):
    regions, tokens, _ = _told()
    lengths = torch.full((3, 3), STEPS)
    same = tokens[:1].expand(3, 3, STEPS)
    logits = decoder(regions, same, lengths).logits.view(3, -1)
    assert not torch.allclose(logits[0], logits[1], atol=1e-2)


@pytest.mark.parametrize("mask", [None, MASK], ids=["every region", "masked"])
def test_the_gradient_reaches_every_parameter(decoder, mask):
    regions, tokens, lengths = _told()
    regions.requires_grad_()
    decoder.train()(regions, tokens, lengths, mask).logits.log_softmax(1)[:, 4].sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    reached = regions.grad.abs().sum(2) > 0
    assert reached[:2].equal(torch.ones(2, REGIONS).bool() if mask is None else mask[:2])
    assert not reached[2].any()  # it has no caption


def test_dropout_acts_in_training_only(kind):
    regions, tokens, lengths = _told()
    for name in ("dropout", "region_dropout"):
        decoder = _decoder(kind, **{name: 0.5})
        still = decoder(regions, tokens, lengths).logits
        assert torch.equal(decoder(regions, tokens, lengths).logits, still)
        decoder.train()
        assert not torch.equal(decoder(regions, tokens, lengths).logits, decoder(regions, tokens, lengths).logits)


@torch.no_grad()
def test_shapes_are_fixed_from_step_to_step_and_the_state_is_float32(decoder):
    regions, tokens, _ = _told()
    memory, state = decoder.start(regions, MASK)
    assert all(value.shape[0] == 3 for value in memory.values())
    assert all(value.shape[:2] == (3, 1) and value.dtype == torch.float32 for value in state.values())
    state = {name: value.repeat_interleave(3, 1) for name, value in state.items()}
    log_probs, new, attention = decoder.step(tokens[:, :, 0], state, memory)
    assert (log_probs.shape, attention.shape) == ((3, 3, VOCABULARY), (3, 3, REGIONS))
    assert {name: (value.shape, value.dtype) for name, value in new.items()} == {
        name: (value.shape, value.dtype) for name, value in state.items()
    }


def test_bf16_products_leave_the_result_near_and_the_gradients_finite(decoder):
    regions, tokens, lengths = _told()
    expected = decoder(regions, tokens, lengths, MASK)
    with torch.autocast("cpu", torch.bfloat16):
        told = decoder(regions, tokens, lengths, MASK)
        log_probs, _ = _stepped(decoder, regions, tokens, MASK)
    assert (told.logits.float() - expected.logits).abs().max() < 0.05 * expected.logits.abs().max()
    forced, stepped = told.logits.float().log_softmax(1), log_probs[_valid(lengths)].float()
    assert (forced - stepped).abs().max() < 0.05 * expected.logits.abs().max()
    told.logits.float().log_softmax(1).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())


# ONNX

ENCODER = SimpleNamespace(region_count=REGIONS, region_size=SIZE)


@pytest.fixture(scope="module", params=sorted(KINDS.keys() - {"transformer-plain"}))
def exported(request):
    decoder = _decoder(request.param)
    graphs = start_graph(decoder, ENCODER), step_graph(decoder, ENCODER)
    for graph in graphs:
        onnx.checker.check_model(graph, full_check=True)
    return decoder, OnnxDecoder(*(onnxruntime.InferenceSession(graph.SerializeToString()) for graph in graphs))


@torch.no_grad()
@pytest.mark.parametrize(("batch", "width"), [(1, 1), (1, 4), (3, 1), (5, 2)])
def test_onnx_steps_say_what_torch_says_for_any_number_of_pictures_and_hypotheses(exported, batch, width):
    decoder, theirs = exported
    regions = torch.randn(batch, REGIONS, SIZE, generator=torch.Generator().manual_seed(2))
    memory, state = decoder.start(regions)
    memory_there, state_there = theirs.start(regions.numpy())
    assert set(memory_there) == {f"memory.{name}" for name in memory}
    state = {name: value.repeat_interleave(width, 1) for name, value in state.items()}
    state_there = {name: np.repeat(value, width, 1) for name, value in state_there.items()}
    words = np.random.default_rng(3)
    for _ in range(8):  # further than the transformer's six places
        tokens = words.integers(0, VOCABULARY, (batch, width))
        log_probs, state, attention = decoder.step(torch.from_numpy(tokens), state, memory)
        log_probs_there, state_there, attention_there = theirs.step(tokens, state_there, memory_there)
        np.testing.assert_allclose(log_probs_there, log_probs.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(attention_there, attention.numpy(), rtol=1e-4, atol=1e-5)
        assert state_there.keys() == state.keys()
        for name, value in state.items():
            np.testing.assert_allclose(state_there[name], value.numpy(), rtol=1e-4, atol=1e-4)
