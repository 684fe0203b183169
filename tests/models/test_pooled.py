"""What all architectures that take one vector for a picture have in common."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("onnx", reason="needs the training extra")

import onnxruntime  # noqa: E402

from showtell.architectures import InitInjectOptions, MergeOptions, ShowAndTellOptions  # noqa: E402
from showtell.decoding.arrays import NumpyArrays  # noqa: E402
from showtell.decoding.options import DecodeOptions  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.errors import RecipeError  # noqa: E402
from showtell.export.graphs import start_graph, step_graph  # noqa: E402
from showtell.models.init_inject import InitInjectDecoder, RecurrentStack  # noqa: E402
from showtell.models.merge import MergeDecoder  # noqa: E402
from showtell.models.show_and_tell import ShowAndTellDecoder  # noqa: E402
from showtell.runtime import OnnxDecoder  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.training.validation import TorchDecoder  # noqa: E402
from showtell.vocabulary import PAD, START  # noqa: E402

SIZE, VOCABULARY = 5, 13
# Lengths of three captions of each of three pictures, longest first, 0 where a picture has fewer; one has none.
LENGTHS = [[4, 2, 1], [3, 3, 0], [0, 0, 0]]
WORDS = sum(map(sum, LENGTHS))
KINDS = {
    "init-inject": (InitInjectDecoder, InitInjectOptions(embedding=7, hidden=9)),
    "init-inject lstm": (InitInjectDecoder, InitInjectOptions(cell="lstm", layers=2, map_layers=2, hidden=9)),
    "merge": (MergeDecoder, MergeOptions(embedding=7, picture=4, language=6, word=3, merged=8, hidden=9)),
    "show-and-tell": (ShowAndTellDecoder, ShowAndTellOptions(embedding=7, hidden=9)),
    "show-and-tell deep": (ShowAndTellDecoder, ShowAndTellOptions(embedding=7, hidden=9, layers=2, tell_start=False)),
}


@pytest.fixture(params=KINDS)
def decoder(request):
    return _decoder(request.param)


def _decoder(kind):
    architecture, options = KINDS[kind]
    torch.manual_seed(0)
    decoder = architecture(options, 1, SIZE, VOCABULARY)
    for parameter in decoder.parameters():  # so strong that pictures and words are told apart
        parameter.data += 0.5 * torch.randn_like(parameter)
    return decoder.eval()


def _told():
    """Regions of three pictures, and three captions of each with the start mark first."""
    torch.manual_seed(1)
    tokens = torch.randint(4, VOCABULARY, (3, 3, 4))
    tokens[:, :, 0] = START
    return torch.randn(3, 1, SIZE), tokens, torch.tensor(LENGTHS)


def _close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _stepped(decoder, regions, tokens):
    """Log-probabilities (B, K, T, V) and attention (B, K, T, 1), one word after another as in decoding."""
    memory, state = decoder.start(regions)
    state = {name: value.repeat_interleave(tokens.shape[1], 1) for name, value in state.items()}
    shapes = [(name, value.shape) for name, value in state.items()]  # export names them by their order
    told, looked = [], []
    for t in range(tokens.shape[2]):
        log_probs, state, attention = decoder.step(tokens[:, :, t], state, memory)
        assert [(name, value.shape) for name, value in state.items()] == shapes
        told.append(log_probs)
        looked.append(attention)
    return torch.stack(told, 2), torch.stack(looked, 2)


@torch.no_grad()
def test_teacher_forcing_says_what_repeated_steps_say(decoder):
    regions, tokens, lengths = _told()
    told = decoder(regions, tokens, lengths)
    log_probs, looked = _stepped(decoder, regions, tokens)
    valid = torch.arange(4) < lengths.unsqueeze(2)
    assert told.logits.shape == (WORDS, VOCABULARY)
    _close(told.logits.log_softmax(1), log_probs[valid])
    _close(log_probs.exp().sum(3), torch.ones(3, 3, 4))
    assert torch.equal(told.attention, looked * valid.unsqueeze(3))
    assert torch.equal(looked, torch.ones(3, 3, 4, 1))  # all attention on the one region


@torch.no_grad()
def test_a_mask_of_one_real_region_changes_nothing(decoder):
    regions, tokens, lengths = _told()
    plain, masked = decoder(regions, tokens, lengths), decoder(regions, tokens, lengths, torch.ones(3, 1).bool())
    assert torch.equal(plain.logits, masked.logits)
    assert torch.equal(plain.attention, masked.attention)


@torch.no_grad()
def test_captions_of_a_picture_and_pictures_of_a_batch_do_not_influence_each_other(decoder):
    regions, tokens, lengths = _told()
    rows = iter(decoder(regions, tokens, lengths).logits.split([n for of_picture in LENGTHS for n in of_picture]))
    for b, of_picture in enumerate(LENGTHS):
        for k, length in enumerate(of_picture):
            expected = next(rows)
            if length:
                alone = decoder(regions[b : b + 1], tokens[b : b + 1, k : k + 1], lengths[b : b + 1, k : k + 1]).logits
                _close(alone, expected)


@torch.no_grad()
def test_words_past_the_end_of_a_caption_change_nothing(decoder):
    regions, tokens, lengths = _told()
    other = torch.where(torch.arange(4) < lengths.unsqueeze(2), tokens, torch.tensor(PAD))
    assert torch.equal(decoder(regions, tokens, lengths).logits, decoder(regions, other, lengths).logits)


@torch.no_grad()
def test_the_picture_and_every_earlier_word_are_heard_and_no_later_one(decoder):
    regions, tokens, _ = _told()
    lengths = torch.full((3, 3), 4)
    plain = decoder(regions, tokens, lengths).logits.view(3, 3, 4, VOCABULARY)
    turned = decoder(regions.flip(0), tokens, lengths).logits.view(3, 3, 4, VOCABULARY)
    assert (plain - turned).abs().amax(3)[[0, 2]].min() > 1e-3  # at each word
    other = tokens.clone()
    other[:, :, 2] = 4 + (tokens[:, :, 2] - 3) % (VOCABULARY - 4)
    changed = (plain - decoder(regions, other, lengths).logits.view_as(plain)).abs().amax(3)  # (B, K, T)
    assert changed[:, :, :2].max() == 0
    assert changed[:, :, 2:].min() > 1e-4


def test_the_gradient_reaches_every_parameter(decoder):
    decoder.train()
    regions, tokens, lengths = _told()
    told = decoder(regions, tokens, lengths)
    loss = -told.logits.log_softmax(1)[:, 4].mean()
    (loss if told.extra is None else loss + told.extra).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", ["init-inject", "merge", "show-and-tell"])
def test_dropout_acts_in_training_only(kind):
    decoder = _decoder(kind)
    decoder.dropout.p = 0.5
    told = _told()
    assert torch.equal(decoder(*told).logits, decoder(*told).logits)
    decoder.train()
    assert not torch.equal(decoder(*told).logits, decoder(*told).logits)


def test_under_autocast_it_trains_and_says_nearly_the_same(decoder):
    told = _told()
    with torch.no_grad():
        plain = decoder(*told).logits
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder(*told)
        memory, state = decoder.start(told[0])
        _, state, _ = decoder.step(told[1][:, :1, 0], state, memory)
    torch.testing.assert_close(found.logits.float(), plain, rtol=0, atol=0.1)
    assert all(value.dtype == torch.float32 for value in state.values())
    (found.logits.float().logsumexp(1).sum() + (0 if found.extra is None else found.extra)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())


@pytest.mark.parametrize("kind", ["init-inject", "merge", "show-and-tell"])
def test_a_grid_is_refused_in_one_line(kind):
    architecture, options = KINDS[kind]
    message = f"decoder {kind} takes one vector for a picture, the encoder gives 64 regions; set encoder.output=pooled"
    with pytest.raises(RecipeError) as caught:
        architecture(options, 64, SIZE, VOCABULARY)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "key"),
    [(InitInjectOptions, "map_layers"), (InitInjectOptions, "layers"), (ShowAndTellOptions, "layers")]
    + [(MergeOptions, key) for key in ("picture", "language", "word", "merged", "hidden")],
)
def test_a_size_of_zero_is_refused(options, key):
    with pytest.raises(RecipeError, match=rf"^decoder\.{key} is 0, expected 1 or more$"):
        options(**{key: 0})


@torch.inference_mode()
def test_onnx_says_what_torch_says(decoder):
    pooled = SimpleNamespace(region_count=1, region_size=SIZE)  # all that the export asks of an encoder
    models = [start_graph(decoder, pooled), step_graph(decoder, pooled)]
    assert not {node.op_type for model in models for node in model.graph.node} & {"LSTM", "GRU", "Loop", "Scan"}
    exported = OnnxDecoder(*(onnxruntime.InferenceSession(model.SerializeToString()) for model in models))
    words = np.random.default_rng(2)
    for batch, width in ((1, 1), (1, 4), (3, 1), (5, 2)):
        regions = torch.randn(batch, 1, SIZE)
        memory, state = decoder.start(regions)
        memory_there, state_there = exported.start(regions.numpy())
        assert list(memory_there) == [f"memory.{name}" for name in memory]
        state = {name: value.repeat_interleave(width, 1) for name, value in state.items()}
        state_there = {name: np.repeat(value, width, 1) for name, value in state_there.items()}
        for _ in range(4):
            tokens = words.integers(0, VOCABULARY, (batch, width))
            log_probs, state, attention = decoder.step(torch.from_numpy(tokens), state, memory)
            log_probs_there, state_there, attention_there = exported.step(tokens, state_there, memory_there)
            assert state_there.keys() == state.keys()
            np.testing.assert_allclose(log_probs_there, log_probs.numpy(), rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(attention_there, attention.numpy())
            for name, value in state.items():
                np.testing.assert_allclose(state_there[name], value.numpy(), rtol=1e-5, atol=1e-5)

    regions, options = torch.randn(4, 1, SIZE), DecodeOptions(beam_width=3, num_captions=3, max_words=6)
    cpu = torch.device("cpu")
    ours = generate(TorchDecoder(decoder, None, cpu), regions, options, TorchArrays(cpu))
    theirs = generate(exported, regions.numpy(), options, NumpyArrays())
    assert [[h.tokens for h in of_picture] for of_picture in ours] == [
        [h.tokens for h in of_picture] for of_picture in theirs
    ]
    assert len({of_picture[0].tokens for of_picture in ours}) >= 2  # else the comparison could not fail


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@torch.no_grad()
def test_a_step_of_a_stack_is_torchs_own(kind):
    torch.manual_seed(3)
    stack = RecurrentStack(kind, 4, 5, 3, first=2)
    parts = ("hidden", "cell") if kind == "lstm" else ("hidden",)
    assert set(stack.state_names) == {f"{part}{layer}" for part in parts for layer in (2, 3, 4)}
    inputs, state = torch.randn(2, 3, 4), {name: torch.randn(2, 3, 5) for name in stack.state_names}
    before = [torch.stack([state[f"{part}{layer}"].flatten(0, 1) for layer in (2, 3, 4)]) for part in parts]
    top, after = stack.network(inputs.flatten(0, 1).unsqueeze(1), tuple(before) if kind == "lstm" else before[0])
    found, new = stack(inputs, state)
    assert tuple(new) == stack.state_names
    _close(found.flatten(0, 1), top[:, 0])
    for part, expected in zip(parts, after if kind == "lstm" else (after,), strict=True):
        for place, layer in enumerate((2, 3, 4)):
            _close(new[f"{part}{layer}"].flatten(0, 1), expected[place])
