"""Teachers of several kinds as one decoder in torch."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import AttendOptions, TransformerOptions  # noqa: E402
from showtell.decoding.ensemble import EnsembleDecoder, MemberRegions  # noqa: E402
from showtell.decoding.options import DecodeOptions  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.models.attend import AttendDecoder  # noqa: E402
from showtell.models.transformer import TransformerDecoder  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.training.validation import TorchDecoder  # noqa: E402
from showtell.vocabulary import END, START  # noqa: E402

WORDS, CPU = 11, torch.device("cpu")
REGIONS = ((6, 5), (4, 7))  # of each member: count and size


@pytest.fixture
def teachers():
    torch.manual_seed(0)
    small = {"layers": 2, "hidden": 12, "heads": 3, "feed_forward": 10, "max_words": 9}
    modules = [
        AttendDecoder(AttendOptions(embedding=6, hidden=8, attention=5), *REGIONS[0], WORDS),
        TransformerDecoder(TransformerOptions(**small), *REGIONS[1], WORDS),
    ]
    for module in modules:
        module.eval()
        for parameter in module.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
    return modules


@torch.inference_mode()
@pytest.mark.parametrize("sample", [False, True])
def test_decoders_of_different_kinds_and_regions_tell_words_by_their_mean(teachers, sample):
    regions = [torch.randn(3, *shape) for shape in REGIONS]
    mask = torch.tensor([[1, 1, 0, 1, 1, 0], [1] * 6, [1, 0, 0, 0, 0, 0]]).bool()
    members = [TorchDecoder(teachers[0], mask, CPU), TorchDecoder(teachers[1], None, CPU)]
    arrays = TorchArrays(CPU)
    options = DecodeOptions(beam_width=3, num_captions=3, max_words=6, sample=sample)
    found = generate(EnsembleDecoder(members, arrays), MemberRegions(tuple(regions)), options, arrays)
    for picture, ranked in enumerate(found):
        for hypothesis in ranked:
            told = torch.tensor([[[START, *hypothesis.tokens]]])  # (1, 1, T)
            expected = [*hypothesis.tokens, END]
            lengths = torch.tensor([[told.shape[2]]])
            own = slice(picture, picture + 1)
            logits = [
                teacher(part[own], told, lengths, seen).logits
                for teacher, part, seen in zip(teachers, regions, (mask[own], None), strict=True)
            ]  # (T, V) each
            mean = sum(one.softmax(1) for one in logits) / 2
            log_probability = sum(math.log(mean[i, word]) for i, word in enumerate(expected))
            assert hypothesis.log_probability == pytest.approx(log_probability, rel=1e-4)
