from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import UpDownOptions  # noqa: E402
from showtell.models.up_down import UpDownDecoder  # noqa: E402
from torch_cell import torch_cell  # noqa: E402

REGIONS, SIZE, VOCABULARY = 6, 5, 11
OPTIONS = UpDownOptions(embedding=7, hidden=9, attention=4, dropout=0.0)


def _decoder(**more):
    torch.manual_seed(0)
    decoder = UpDownDecoder(replace(OPTIONS, **more), REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return decoder.eval()


@pytest.mark.parametrize("projection", [0, 3])
@torch.no_grad()
def test_words_are_told_by_the_papers_equations(projection):
    decoder = _decoder(projection=projection)
    regions, words = torch.randn(REGIONS, SIZE), [1, 7, 4, 10]
    memory, state = decoder.start(regions.unsqueeze(0))
    if projection:  # not in the paper: regions are mapped before anything sees them
        regions = decoder.project[0](regions).relu()
    # One picture, one caption, one region after another; torch's own cells.
    attention_lstm, language_lstm, attention = torch_cell(decoder.look), torch_cell(decoder.tell), decoder.attention
    h1 = c1 = h2 = c2 = torch.zeros(OPTIONS.hidden)
    for word in words:
        h1, c1 = attention_lstm(torch.cat((regions.mean(0), h2, decoder.embed.weight[word])), (h1, c1))
        scores = [
            attention.energy.weight[0] @ torch.tanh(attention.key(region) + attention.query(h1)) for region in regions
        ]
        weights = torch.stack(scores).softmax(0)
        attended = sum(weight * region for weight, region in zip(weights, regions, strict=True))
        h2, c2 = language_lstm(torch.cat((attended, h1)), (h2, c2))
        log_probs, state, looked = decoder.step(torch.tensor([[word]]), state, memory)
        torch.testing.assert_close(looked[0, 0], weights, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_probs[0, 0], decoder.words(h2).log_softmax(0), rtol=1e-4, atol=1e-5)
        for name, expected in (("hidden0", h1), ("cell0", c1), ("hidden1", h2), ("cell1", c2)):
            torch.testing.assert_close(state[name][0, 0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_order_of_regions_does_not_matter():
    decoder = _decoder()
    regions, tokens, lengths = torch.randn(2, REGIONS, SIZE), torch.randint(4, 11, (2, 1, 3)), torch.full((2, 1), 3)
    told, turned = decoder(regions, tokens, lengths), decoder(regions.flip(1), tokens, lengths)
    torch.testing.assert_close(turned.logits, told.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned.attention.flip(3), told.attention, rtol=1e-4, atol=1e-5)


def test_the_number_of_parameters_is_that_worked_out_by_hand():
    # D 5, A 4, E 7, H 9, V 11.
    attention = (5 * 4 + 4) + (9 * 4 + 4) + 4
    look = 4 * 9 * (9 + 5 + 7 + 9 + 2)  # reads h2, mean region, word and h1; two biases
    tell = 4 * 9 * (5 + 9 + 9 + 2)  # reads context, h1 and h2
    assert sum(p.numel() for p in _decoder().parameters()) == 11 * 7 + attention + look + tell + (9 * 11 + 11)
