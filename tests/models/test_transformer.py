import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import TransformerOptions  # noqa: E402
from showtell.decoding.options import DecodeOptions  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.errors import RecipeError  # noqa: E402
from showtell.models.transformer import TransformerDecoder  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.vocabulary import END  # noqa: E402

REGIONS, SIZE, VOCABULARY = 6, 5, 11
SMALL = {"layers": 2, "hidden": 12, "heads": 3, "feed_forward": 10, "max_words": 6, "dropout": 0.0}


def _decoder(**changes):
    torch.manual_seed(0)
    decoder = TransformerDecoder(TransformerOptions(**{**SMALL, **changes}), REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return decoder.eval()


def _close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _torchs_layer(layer):
    """torch's own layer with the weights of ours."""
    hidden, heads = SMALL["hidden"], SMALL["heads"]
    theirs = torch.nn.TransformerDecoderLayer(
        hidden, heads, SMALL["feed_forward"], dropout=0.0, activation="relu", batch_first=True, norm_first=True
    )
    own = {
        "self_attn.in_proj_weight": layer.word.weight,
        "self_attn.in_proj_bias": layer.word.bias,
        "multihead_attn.in_proj_weight": torch.cat((layer.region_query.weight, layer.region.weight)),
        "multihead_attn.in_proj_bias": torch.cat((layer.region_query.bias, layer.region.bias)),
    }
    for name, part in {
        "self_attn.out_proj": layer.word_out,
        "multihead_attn.out_proj": layer.region_out,
        "linear1": layer.widen,
        "linear2": layer.narrow,
        "norm1": layer.word_norm,
        "norm2": layer.region_norm,
        "norm3": layer.feed_norm,
    }.items():
        own[f"{name}.weight"], own[f"{name}.bias"] = part.weight, part.bias
    theirs.load_state_dict(own)
    return theirs.eval()


@torch.no_grad()
@pytest.mark.parametrize("mask", [None, torch.tensor([1, 0, 1, 1, 0, 1]).bool()], ids=["every region", "masked"])
def test_words_are_told_as_by_torchs_own_layers(mask):
    decoder = _decoder()
    regions, tokens = torch.randn(1, REGIONS, SIZE), torch.tensor([[1, 7, 4, 10, 5]])
    seen = decoder.region_norm(decoder.project(regions) + decoder.places)
    x = decoder.embed(tokens) * SMALL["hidden"] ** 0.5 + decoder.positions[:5]
    causal = torch.nn.Transformer.generate_square_subsequent_mask(5)
    hidden = None if mask is None else ~mask.unsqueeze(0)
    for layer in decoder.layers:
        theirs = _torchs_layer(layer)
        before_last = x
        x = theirs(x, seen, tgt_mask=causal, memory_key_padding_mask=hidden)
    told = decoder(regions, tokens.unsqueeze(0), torch.tensor([[5]]), None if mask is None else mask.unsqueeze(0))
    _close(told.logits, decoder.words(decoder.norm(x))[0])
    # Attention: that of torch's last layer, its mean over the heads.
    x = before_last
    x = x + theirs.self_attn(*[theirs.norm1(x)] * 3, attn_mask=causal)[0]
    _, weights = theirs.multihead_attn(theirs.norm2(x), seen, seen, key_padding_mask=hidden)
    _close(told.attention[0, 0], weights[0])


@torch.no_grad()
def test_captions_may_fill_every_place_and_no_more():
    decoder = _decoder(max_words=6)
    regions, tokens = torch.randn(1, REGIONS, SIZE), torch.randint(4, VOCABULARY, (1, 2, 7))
    told = decoder(regions, tokens, torch.tensor([[6, 2]]))
    assert told.logits.shape == (8, VOCABULARY)
    assert told.attention.shape == (1, 2, 7, REGIONS)
    with pytest.raises(RecipeError) as caught:
        decoder(regions, tokens, torch.tensor([[7, 2]]))
    assert str(caught.value) == (
        "a caption has 6 words, expected 5 at most: decoder.max_words is 6, a mark included; set it higher, or "
        "training.max_words lower"
    )


@torch.no_grad()
def test_when_every_place_is_taken_only_the_end_can_follow_and_nothing_is_overwritten():
    decoder = _decoder(max_words=3)
    memory, state = decoder.start(torch.randn(2, REGIONS, SIZE))
    for _ in range(3):
        log_probs, state, _ = decoder.step(torch.tensor([[4], [7]]), state, memory)
        assert log_probs.isfinite().all()
    for _ in range(2):
        log_probs, after, attention = decoder.step(torch.tensor([[5], [9]]), state, memory)
        expected = torch.full((2, 1, VOCABULARY), -torch.inf)
        expected[:, :, END] = 0
        assert torch.equal(log_probs, expected)
        assert attention.isfinite().all()
        for name, value in state.items():
            assert torch.equal(after[name], value), name
        state = after


@torch.no_grad()
@pytest.mark.parametrize("sample", [False, True])
def test_a_search_that_may_go_further_than_the_places_ends_with_them(sample):
    decoder = _decoder(max_words=4)
    decoder.words.bias[END] = -20  # it would never end by itself
    options = DecodeOptions(beam_width=3, num_captions=3, max_words=9, sample=sample, no_repeat_ngram=0)
    found = generate(decoder, torch.randn(2, REGIONS, SIZE), options, TorchArrays("cpu"))
    for of_picture in found:
        assert [len(hypothesis.tokens) for hypothesis in of_picture] == [4, 4, 4]
        assert all(np.isfinite(hypothesis.log_probability) for hypothesis in of_picture)


@torch.no_grad()
def test_learnt_places_tell_regions_apart():
    regions, tokens, lengths = torch.randn(2, REGIONS, SIZE), torch.randint(4, 11, (2, 1, 3)), torch.full((2, 1), 3)
    plain, placed = _decoder(places=False), _decoder(places=True)
    _close(plain(regions.flip(1), tokens, lengths).logits, plain(regions, tokens, lengths).logits)
    assert not torch.allclose(placed(regions.flip(1), tokens, lengths).logits, placed(regions, tokens, lengths).logits)


def test_a_tied_embedding_is_one_tensor_and_the_weights_hold_no_constants():
    decoder = _decoder(tie_embedding=True)
    assert decoder.words.weight is decoder.embed.weight
    assert "ended" not in decoder.state_dict()
    untied = _decoder(tie_embedding=False)
    assert untied.words.weight is not untied.embed.weight


def test_the_number_of_parameters_is_that_worked_out_by_hand():
    # D 5, R 6, H 12, F 10, W 6, V 11, two layers.
    norm = 2 * 12
    layer = 3 * norm + (12 * 36 + 36) + (12 * 12 + 12)  # words
    layer += (12 * 12 + 12) + (12 * 24 + 24) + (12 * 12 + 12)  # regions
    layer += (12 * 10 + 10) + (10 * 12 + 12)
    rest = (5 * 12 + 12) + norm + 11 * 12 + 6 * 12 + norm + 11  # projection, embedding, positions, bias of the words

    def count(**changes):
        return sum(parameter.numel() for parameter in _decoder(**changes).parameters())

    assert count(places=False) == 2 * layer + rest
    assert count() == 2 * layer + rest + 6 * 12
    assert count(tie_embedding=False) == count() + 11 * 12


def test_a_size_that_the_heads_cannot_share_is_told():
    with pytest.raises(RecipeError, match=r"decoder\.hidden is 12, expected a multiple of decoder\.heads, 5"):
        TransformerOptions(**{**SMALL, "heads": 5})
