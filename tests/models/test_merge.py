import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import MergeOptions  # noqa: E402
from showtell.models.merge import MergeDecoder  # noqa: E402
from showtell.vocabulary import START  # noqa: E402


def test_the_tutorials_model_has_its_number_of_parameters():
    decoder = MergeDecoder(MergeOptions(), 1, 2048, 4487)
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in decoder.named_children()}
    # torch's LSTMs have a second bias: 4 * H more than Keras's 394,240, 197,120 and 1,312,768.
    assert sizes == {
        "picture": 262_272,
        "embed": 574_336,
        "language": 394_240 + 4 * 256,
        "word": 32_896,
        "merged": 197_120 + 4 * 128,
        "teller": 1_312_768 + 4 * 512,
        "words": 2_301_831,
        "dropout": 0,
    }
    assert sum(sizes.values()) == 5_079_047


def test_the_tutorials_sizes_are_the_default():
    assert MergeOptions() == MergeOptions(
        embedding=128, picture=128, language=256, word=128, merged=128, hidden=512, dropout=0.5
    )


class _Prefix(torch.nn.Module):
    """The tutorial's form, of torch's own layers: a picture and one prefix -> the next word alone."""

    def __init__(self, decoder):
        super().__init__()
        o = decoder.options
        self.embed, self.picture, self.word, self.words = decoder.embed, decoder.picture, decoder.word, decoder.words
        self.lstms = torch.nn.ModuleList()
        for stack, size, hidden in (
            (decoder.language, o.embedding, o.language),
            (decoder.merged, o.picture + o.word, o.merged),
            (decoder.teller, o.merged, o.hidden),
        ):
            lstm = torch.nn.LSTM(size, hidden, batch_first=True)
            lstm.load_state_dict(stack.network.state_dict())
            self.lstms.append(lstm)

    def forward(self, vector, prefix):
        """Vector (D,), prefix (t,) -> logits (V,)."""
        picture = torch.relu(self.picture(vector)).repeat(1, len(prefix), 1)  # RepeatVector
        language, _ = self.lstms[0](self.embed(prefix).unsqueeze(0))
        both = torch.cat([picture, self.word(language)], 2)
        merged, _ = self.lstms[1](both)
        _, (last, _) = self.lstms[2](merged)
        return self.words(last[-1, 0])


def _prefixes():
    torch.manual_seed(0)
    options = MergeOptions(embedding=7, picture=4, language=6, word=3, merged=8, hidden=9, dropout=0.0)
    decoder = MergeDecoder(options, 1, 5, 13)
    regions, tokens = torch.randn(2, 1, 5), torch.randint(4, 13, (2, 2, 5))
    tokens[:, :, 0] = START
    lengths = torch.tensor([[5, 3], [4, 0]])
    told = [
        (b, tokens[b, k, : t + 1])
        for b, of_picture in enumerate(lengths.tolist())
        for k, length in enumerate(of_picture)
        for t in range(length)
    ]
    return decoder, regions, tokens, lengths, told


def test_all_words_at_once_say_and_learn_what_every_prefix_alone_does():
    decoder, regions, tokens, lengths, told = _prefixes()
    prefix_form = _Prefix(decoder)
    targets = torch.randint(0, 13, (len(told),))
    expected = torch.stack([prefix_form(regions[b, 0], prefix) for b, prefix in told])
    torch.nn.functional.cross_entropy(expected, targets).backward()
    shared = [decoder.embed, decoder.picture, decoder.word, decoder.words]
    gradients = [p.grad.clone() for part in [*shared, *prefix_form.lstms] for p in part.parameters()]

    decoder.zero_grad()
    logits = decoder(regions, tokens, lengths).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    torch.nn.functional.cross_entropy(logits, targets).backward()
    stacks = [decoder.language, decoder.merged, decoder.teller]
    for found, other in zip((p.grad for part in [*shared, *stacks] for p in part.parameters()), gradients, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_words_own_lstm_does_not_see_the_picture():
    decoder, regions, tokens, _, _ = _prefixes()
    states = []
    for pictures in (regions, regions.flip(0)):
        memory, state = decoder.start(pictures)
        assert not any(value.any() for value in state.values())
        states.append(decoder.step(tokens[:, :1, 0], state, memory)[1])
    assert torch.equal(states[0]["hidden0"], states[1]["hidden0"])
    assert not torch.allclose(states[0]["hidden1"], states[1]["hidden1"], atol=1e-4)
