import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import SequenceAttendOptions  # noqa: E402
from showtell.models.sequence_attend import SequenceAttendDecoder  # noqa: E402
from torch_cell import torch_cell  # noqa: E402

REGIONS, SIZE, VOCABULARY = 6, 5, 11
SMALL = {"projection": 8, "embedding": 7, "hidden": 9, "attention": 4, "dropout": 0.0}


def _decoder(cell):
    torch.manual_seed(0)
    decoder = SequenceAttendDecoder(SequenceAttendOptions(cell=cell, **SMALL), REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return decoder.eval()


def _close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _read(decoder, cell, regions):
    """Regions (R, D) through a cell of torch, one after another -> the hidden states (R, H) and the last state."""
    reader = (torch.nn.LSTMCell if cell == "lstm" else torch.nn.GRUCell)(SMALL["projection"], SMALL["hidden"])
    reader.load_state_dict({name.removesuffix("_l0"): value for name, value in decoder.reader.state_dict().items()})
    zeros = torch.zeros(SMALL["hidden"])
    state = (zeros, zeros) if cell == "lstm" else zeros
    hiddens = []
    for region in regions:
        state = reader(decoder.project(region), state)
        hiddens.append(state[0] if cell == "lstm" else state)
    return torch.stack(hiddens), state


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_words_are_told_by_attention_over_what_was_read(cell):
    decoder = _decoder(cell)
    regions = torch.randn(REGIONS, SIZE)
    memory, state = decoder.start(regions.unsqueeze(0))
    source, mine = _read(decoder, cell, regions)
    attention, teller = decoder.attention, torch_cell(decoder.cell)
    for word in (1, 7, 4, 10):
        hidden = mine[0] if cell == "lstm" else mine
        scores = [attention.energy.weight[0] @ torch.tanh(attention.key(h) + attention.query(hidden)) for h in source]
        weights = torch.stack(scores).softmax(0)
        context = sum(weight * h for weight, h in zip(weights, source, strict=True))
        mine = teller(torch.cat((decoder.embed.weight[word], context)), mine)
        hidden = mine[0] if cell == "lstm" else mine
        expected = decoder.words(torch.tanh(decoder.combine(torch.cat((hidden, context))))).log_softmax(0)
        log_probs, state, looked = decoder.step(torch.tensor([[word]]), state, memory)
        _close(looked[0, 0], weights)
        _close(log_probs[0, 0], expected)
        _close(state["hidden"][0, 0], hidden)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_only_real_regions_are_read_and_the_last_of_them_leaves_the_first_state(cell):
    decoder = _decoder(cell)
    regions = torch.randn(2, REGIONS, SIZE)
    mask = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]]).bool()
    memory, state = decoder.start(regions, mask)
    for b in range(2):
        source, last = _read(decoder, cell, regions[b, mask[b]])
        _close(memory["regions"][b, mask[b]], source)
        _close(state["hidden"][b, 0], source[-1])
        if cell == "lstm":
            _close(state["cell"][b, 0], last[1])


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_order_of_regions_matters(cell):
    decoder = _decoder(cell)
    regions, tokens, lengths = torch.randn(2, REGIONS, SIZE), torch.randint(4, 11, (2, 1, 3)), torch.full((2, 1), 3)
    told, turned = decoder(regions, tokens, lengths), decoder(regions.flip(1), tokens, lengths)
    assert not torch.allclose(turned.logits, told.logits, atol=1e-2)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_the_number_of_parameters_is_that_worked_out_by_hand(cell, gates):
    # D 5, P 8, A 4, E 7, H 9, V 11.
    reader = gates * 9 * (8 + 9 + 2)  # two biases
    attention = (9 * 4 + 4) + (9 * 4 + 4) + 4
    teller = gates * 9 * (9 + 7 + 9 + 2)  # reads context and word
    rest = (5 * 8 + 8) + 11 * 7 + (18 * 9 + 9) + (9 * 11 + 11)  # projection, embedding, combination, words
    assert sum(p.numel() for p in _decoder(cell).parameters()) == reader + attention + teller + rest
