import itertools

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import AttendOptions  # noqa: E402
from showtell.models.attend import AttendDecoder  # noqa: E402
from showtell.vocabulary import PAD, START  # noqa: E402

REGIONS, SIZE, VOCABULARY = 6, 5, 11
SMALL = {"projection": 8, "embedding": 7, "hidden": 9, "attention": 4, "dropout": 0.0}
# Lengths of three captions of each of two pictures, longest first, 0 where a picture has fewer.
LENGTHS = [[4, 2, 1], [3, 3, 0]]
EVERY = [
    dict(zip(("cell", "initial_state", "gate", "output", "tie_embedding"), values, strict=True))
    for values in itertools.product(("lstm", "gru"), ("mean", "zero"), (True, False), ("deep", "hidden"), (True, False))
]
SOME = [
    {"cell": "lstm"},
    {"cell": "gru", "gate": False, "initial_state": "zero"},
    {"output": "hidden", "projection": 0},
    {"tie_embedding": True, "projection_activation": "none", "places": True},
]


def _decoder(seed=0, **changes):
    torch.manual_seed(seed)
    decoder = AttendDecoder(AttendOptions(**{**SMALL, **changes}), REGIONS, SIZE, VOCABULARY)
    for parameter in decoder.parameters():  # those that begin at zero would hide a fault
        parameter.data += 0.1 * torch.randn_like(parameter)
    return decoder.eval()


def _told(seed=1):
    """Regions of two pictures, and three captions of each with the start mark first."""
    torch.manual_seed(seed)
    regions = torch.randn(2, REGIONS, SIZE)
    tokens = torch.randint(4, VOCABULARY, (2, 3, 4))
    tokens[:, :, 0] = START
    return regions, tokens, torch.tensor(LENGTHS)


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


@pytest.mark.parametrize("options", EVERY, ids=lambda options: "-".join(str(value) for value in options.values()))
@torch.no_grad()
def test_teacher_forcing_says_what_repeated_steps_say(options):
    decoder = _decoder(**options)
    regions, tokens, lengths = _told()
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6]).bool()
    for which in (None, mask):
        logits, attention = decoder(regions, tokens, lengths, which)[:2]
        log_probs, looked = _stepped(decoder, regions, tokens, which)
        valid = torch.arange(4) < lengths.unsqueeze(2)
        assert logits.shape == (13, VOCABULARY)
        _close(logits.log_softmax(1), log_probs[valid])
        _close(attention, looked * valid.unsqueeze(3))


@pytest.mark.parametrize("options", SOME)
@torch.no_grad()
def test_attention_sums_to_one_and_probabilities_too(options):
    decoder = _decoder(**options)
    regions, tokens, lengths = _told()
    log_probs, attention = _stepped(decoder, regions, tokens)
    assert (attention >= 0).all()
    _close(attention.sum(3), torch.ones(2, 3, 4))
    _close(log_probs.exp().sum(3), torch.ones(2, 3, 4))
    _, forced = decoder(regions, tokens, lengths)[:2]
    _close(forced.sum(3), (torch.arange(4) < lengths.unsqueeze(2)).float())  # zero past the end


@pytest.mark.parametrize("options", SOME)
@torch.no_grad()
def test_masked_regions_get_no_attention_and_change_nothing(options):
    decoder = _decoder(**options)
    regions, tokens, lengths = _told()
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]]).bool()
    logits, attention = decoder(regions, tokens, lengths, mask)[:2]
    assert (attention.transpose(1, 3)[~mask] == 0).all()
    other = regions.clone()
    other[~mask] = 1e3
    again, attention_again = decoder(other, tokens, lengths, mask)[:2]
    assert torch.equal(logits, again)
    assert torch.equal(attention, attention_again)
    other = regions.clone()
    other[mask] += 1
    assert not torch.allclose(decoder(other, tokens, lengths, mask)[0], logits, atol=1e-3)


@torch.no_grad()
def test_masked_regions_are_as_if_they_were_not_there():
    decoder = _decoder(initial_state="mean")
    regions, tokens, lengths = _told()
    mask = (torch.arange(REGIONS) < 4).expand(2, REGIONS)
    _close(decoder(regions, tokens, lengths, mask)[0], decoder(regions[:, :4], tokens, lengths)[0])


@pytest.mark.parametrize("options", SOME)
@torch.no_grad()
def test_captions_of_a_picture_and_pictures_of_a_batch_do_not_influence_each_other(options):
    decoder = _decoder(**options)
    regions, tokens, lengths = _told()
    logits, _ = decoder(regions, tokens, lengths)[:2]
    rows = iter(logits.split([length for of_picture in LENGTHS for length in of_picture]))
    for b, of_picture in enumerate(LENGTHS):
        for k, length in enumerate(of_picture):
            expected = next(rows)
            if length:
                alone = decoder(regions[b : b + 1], tokens[b : b + 1, k : k + 1], lengths[b : b + 1, k : k + 1]).logits
                _close(alone, expected)


@torch.no_grad()
def test_words_past_the_end_of_a_caption_change_nothing():
    decoder = _decoder()
    regions, tokens, lengths = _told()
    other = torch.where(torch.arange(4) < lengths.unsqueeze(2), tokens, torch.tensor(PAD))
    assert torch.equal(decoder(regions, tokens, lengths)[0], decoder(regions, other, lengths)[0])


@torch.no_grad()
def test_the_context_is_the_attended_mean_through_the_gate():
    decoder = _decoder(gate=True, projection=0)
    look = decoder.attention
    regions, _, _ = _told()
    memory, _ = decoder.start(regions)
    hidden = torch.randn(2, 3, SMALL["hidden"])
    context, attention = decoder.attend(hidden, memory)
    for b, k in itertools.product(range(2), range(3)):
        # The paper's equations, one region at a time.
        energies = [look.energy(torch.tanh(look.key(regions[b, r]) + look.query(hidden[b, k]))) for r in range(REGIONS)]
        weights = torch.cat(energies).softmax(0)
        mean = sum(weight * region for weight, region in zip(weights, regions[b], strict=True))
        _close(attention[b, k], weights)
        _close(context[b, k], torch.sigmoid(decoder.gate(hidden[b, k])) * mean)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_the_initial_state_is_zero_or_made_of_the_mean_region(cell):
    regions, _, _ = _told()
    names = {"lstm": {"hidden", "cell"}, "gru": {"hidden"}}[cell]
    _, state = _decoder(cell=cell, initial_state="zero").start(regions)
    assert state.keys() == names
    assert all(value.shape == (2, 1, 9) and not value.any() for value in state.values())
    decoder = _decoder(cell=cell, initial_state="mean")
    _, state = decoder.start(regions)
    assert state.keys() == names
    projected = torch.relu(decoder.project(regions))
    for name, value in state.items():
        _close(value[:, 0], torch.tanh(decoder.initial[name](projected.mean(1))))


@torch.no_grad()
def test_no_projection_leaves_the_regions_as_they_are():
    regions, _, _ = _told()
    assert torch.equal(_decoder(projection=0).start(regions)[0]["regions"], regions)
    assert (_decoder(projection=8).start(regions)[0]["regions"] >= 0).all()
    assert (_decoder(projection=8, projection_activation="none").start(regions)[0]["regions"] < 0).any()


@torch.no_grad()
def test_only_with_learnt_places_the_order_of_regions_matters():
    regions, tokens, lengths = _told()
    turned = regions.flip(1)
    decoder = _decoder(places=False)
    _close(decoder(turned, tokens, lengths)[0], decoder(regions, tokens, lengths)[0])
    decoder = _decoder(places=True)
    assert not torch.allclose(decoder(turned, tokens, lengths)[0], decoder(regions, tokens, lengths)[0], atol=1e-3)


def test_a_tied_embedding_is_one_tensor():
    decoder = _decoder(tie_embedding=True)
    assert decoder.words.weight is decoder.embed.weight
    assert decoder.words.weight.shape == (VOCABULARY, SMALL["embedding"])
    untied = _decoder(tie_embedding=False)
    assert untied.words.weight is not untied.embed.weight


def test_the_number_of_parameters_is_that_worked_out_by_hand():
    # D 5, P 8, A 4, E 7, H 9, V 11.
    attention = (8 * 4 + 4) + (9 * 4 + 4) + 4  # key, query, energy
    common = (5 * 8 + 8) + 11 * 7 + attention  # projection, embedding
    lstm = 4 * (9 * (8 + 7) + 9 * 9 + 9 + 9)
    gru = 3 * (9 * (8 + 7) + 9 * 9 + 9 + 9)
    gate, one_initial = 9 * 8 + 8, 8 * 9 + 9
    deep = (9 * 7 + 7) + 8 * 7 + (7 * 11 + 11)
    hidden = 9 * 11 + 11

    def count(**changes):
        return sum(parameter.numel() for parameter in _decoder(**changes).parameters())

    assert count() == common + lstm + gate + 2 * one_initial + deep
    assert count(cell="gru", gate=False, initial_state="zero", output="hidden") == common + gru + hidden
    assert count(tie_embedding=True) == common + lstm + gate + 2 * one_initial + deep - 7 * 11
    assert count(places=True) - count() == REGIONS * 8
    # Words from the hidden state alone still pass the embedding's size where the table is shared.
    assert count(output="hidden", tie_embedding=True) == common + lstm + gate + 2 * one_initial + (9 * 7 + 7) + 11


@pytest.mark.parametrize("options", [*EVERY, {"places": True}, {"projection": 0}], ids=str)
def test_the_gradient_reaches_every_parameter(options):
    decoder = _decoder(**options).train()
    regions, tokens, lengths = _told()
    logits, _ = decoder(regions, tokens, lengths)[:2]
    logits.log_softmax(1)[:, 4].sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_dropout_acts_in_training_only():
    decoder = _decoder(dropout=0.5, region_dropout=0.5)
    regions, tokens, lengths = _told()
    still = decoder(regions, tokens, lengths)[0]
    assert torch.equal(decoder(regions, tokens, lengths)[0], still)
    decoder.train()
    assert not torch.equal(decoder(regions, tokens, lengths)[0], decoder(regions, tokens, lengths)[0])


@torch.no_grad()
def test_a_caption_is_told_by_the_picture():
    decoder = _decoder()
    regions, tokens, lengths = _told()
    assert not torch.allclose(
        decoder(regions, tokens, lengths)[0], decoder(regions.flip(0), tokens, lengths)[0], atol=1e-3
    )
