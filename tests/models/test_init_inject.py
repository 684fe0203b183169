import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import InitInjectOptions  # noqa: E402
from showtell.models.init_inject import InitInjectDecoder  # noqa: E402


def _sizes(decoder):
    return {name: sum(p.numel() for p in module.parameters()) for name, module in decoder.named_children()}


def test_the_tutorials_model_has_its_number_of_parameters():
    options = InitInjectOptions(embedding=128, hidden=512, layers=3)
    decoder = InitInjectDecoder(options, 1, 4096, 10_000)
    first, other = 3 * (128 * 512 + 512 * 512 + 2 * 512), 3 * (2 * 512 * 512 + 2 * 512)
    assert _sizes(decoder) == {
        "map": 4096 * 512 + 512,
        "embed": 10_000 * 128,
        "stack": first + 2 * other,
        "words": 512 * 10_000 + 10_000,
        "dropout": 0,
    }
    assert sum(_sizes(decoder).values()) == 12_645_648


def test_the_tutorials_model_is_the_default():
    assert InitInjectOptions() == InitInjectOptions(cell="gru", layers=3, embedding=128, hidden=512, map_layers=1)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@torch.no_grad()
def test_the_same_mapped_picture_starts_every_layer(cell):
    decoder = InitInjectDecoder(InitInjectOptions(cell=cell, layers=3, hidden=6), 1, 5, 11)
    regions = torch.randn(2, 1, 5)
    memory, state = decoder.start(regions)
    mapped = torch.tanh(regions[:, 0] @ decoder.map[0].weight.T + decoder.map[0].bias)
    parts = ("hidden", "cell") if cell == "lstm" else ("hidden",)
    assert memory == {}
    assert set(state) == {f"{part}{layer}" for part in parts for layer in range(3)}
    for value in state.values():
        assert value.shape == (2, 1, 6)
        torch.testing.assert_close(value[:, 0], mapped)


@torch.no_grad()
def test_each_dense_layer_of_the_map_ends_in_tanh():
    decoder = InitInjectDecoder(InitInjectOptions(map_layers=3, hidden=6), 1, 5, 11)
    expected = regions = torch.randn(2, 1, 5)
    assert [tuple(layer.weight.shape) for layer in decoder.map] == [(6, 5), (6, 6), (6, 6)]
    for layer in decoder.map:
        expected = torch.tanh(expected @ layer.weight.T + layer.bias)
    torch.testing.assert_close(decoder.start(regions)[1]["hidden0"], expected)


@torch.no_grad()
def test_the_words_come_straight_from_the_top_layer_of_torchs_own_gru():
    decoder = InitInjectDecoder(InitInjectOptions(layers=2, embedding=3, hidden=6), 1, 5, 11).eval()
    gru = torch.nn.GRU(3, 6, 2, batch_first=True)
    gru.load_state_dict(decoder.stack.network.state_dict())
    regions, tokens = torch.randn(1, 1, 5), torch.tensor([[[1, 7, 4, 9]]])
    hidden = torch.tanh(decoder.map[0](regions[:, 0]))
    top, _ = gru(decoder.embed(tokens[0]), hidden.expand(2, 1, 6).contiguous())
    expected = top[0] @ decoder.words.weight.T + decoder.words.bias
    torch.testing.assert_close(decoder(regions, tokens, torch.tensor([[4]])).logits, expected)
