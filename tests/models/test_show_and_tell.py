import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from torch.nn import functional as F  # noqa: E402

from showtell.architectures import ShowAndTellOptions  # noqa: E402
from showtell.models.show_and_tell import ShowAndTellDecoder  # noqa: E402
from showtell.vocabulary import END, START  # noqa: E402

# Captions of three pictures as words to tell, longest first.
CAPTIONS = [[[5, 7, 4, END], [6, END]], [[8, 5, END], []], [[9, 9, END], [4, END]]]


def test_the_tutorials_model_has_its_number_of_parameters():
    decoder = ShowAndTellDecoder(ShowAndTellOptions(embedding=256, hidden=100, layers=1), 1, 2048, 7072)
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in decoder.named_children()}
    assert sizes == {
        "picture": 2048 * 256 + 256,
        "embed": 7072 * 256,
        "stack": 4 * (256 * 100 + 100 * 100 + 2 * 100),
        "words": 100 * 7072 + 7072,
        "dropout": 0,
    }
    assert sum(sizes.values()) == 3_192_448


def _decoder(**changes):
    torch.manual_seed(0)
    decoder = ShowAndTellDecoder(ShowAndTellOptions(**{"embedding": 6, "hidden": 8, **changes}), 1, 5, 11)
    for parameter in decoder.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return decoder.eval()


def _batch():
    torch.manual_seed(1)
    shape = (3, 2, 4)
    tokens, targets = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    lengths = torch.tensor([[len(caption) for caption in of_picture] for of_picture in CAPTIONS])
    for b, of_picture in enumerate(CAPTIONS):
        for k, caption in enumerate(of_picture):
            if caption:
                tokens[b, k, : len(caption)] = torch.tensor([START, *caption[:-1]])
                targets[b, k, : len(caption)] = torch.tensor(caption)
    return torch.randn(3, 1, 5), tokens, targets, lengths


def _tutorial(decoder, regions):
    """Of torch's own layers: logits (t + 1, V) and words to tell (t + 1), the start mark first, of each caption."""
    lstm = torch.nn.LSTM(6, 8, decoder.options.layers, batch_first=True)
    lstm.load_state_dict(decoder.stack.network.state_dict())
    for b, of_picture in enumerate(CAPTIONS):
        for caption in filter(None, of_picture):
            words = torch.tensor([START, *caption])
            inputs = torch.cat([decoder.picture(regions[b]), decoder.embed(words[:-1])])  # the picture comes first
            hidden, _ = lstm(inputs.unsqueeze(0))  # from a zero state
            yield decoder.words(hidden[0]), words


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_the_picture_is_the_first_input_from_a_zero_state(layers):
    decoder = _decoder(layers=layers)
    regions, tokens, _, lengths = _batch()
    expected = torch.cat([logits[1:] for logits, _ in _tutorial(decoder, regions)])
    torch.testing.assert_close(decoder(regions, tokens, lengths).logits, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_words_and_start_marks_weigh_alike_as_in_the_tutorials_mean():
    decoder = _decoder()
    regions, tokens, targets, lengths = _batch()
    told = decoder(regions, tokens, lengths)
    of_words = F.cross_entropy(told.logits, targets[torch.arange(4) < lengths.unsqueeze(2)])
    logits, words = (torch.cat(parts) for parts in zip(*_tutorial(decoder, regions), strict=True))
    # 14 words and 5 start marks; the tutorial divides by all 19.
    assert len(words) == 14 + 5
    torch.testing.assert_close(of_words + told.extra, F.cross_entropy(logits, words) * 19 / 14)
    starts = F.cross_entropy(logits[words == START], words[words == START], reduction="sum")
    torch.testing.assert_close(told.extra, starts / 14)


def test_the_gradient_is_the_tutorials_up_to_its_size():
    decoder = _decoder()
    regions, tokens, targets, lengths = _batch()
    told = decoder(regions, tokens, lengths)
    loss = F.cross_entropy(told.logits, targets[torch.arange(4) < lengths.unsqueeze(2)]) + told.extra
    loss.backward()
    found = [decoder.picture.weight.grad.clone(), decoder.words.weight.grad.clone(), decoder.embed.weight.grad.clone()]
    decoder.zero_grad()
    logits, words = (torch.cat(parts) for parts in zip(*_tutorial(decoder, regions), strict=True))
    (F.cross_entropy(logits, words) * 19 / 14).backward()
    expected = [decoder.picture.weight.grad, decoder.words.weight.grad, decoder.embed.weight.grad]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_without_tell_start_there_is_no_further_loss_and_the_same_words():
    regions, tokens, _, lengths = _batch()
    without, with_it = (_decoder(tell_start=tell)(regions, tokens, lengths) for tell in (False, True))
    assert without.extra is None
    assert torch.equal(without.logits, with_it.logits)
