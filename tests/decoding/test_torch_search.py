from itertools import chain

import numpy as np
import pytest
from table_decoder import random_history_decoder, regions_of

from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate

torch = pytest.importorskip("torch")


class InTorch:
    """The same decoder with tensors, computed under inference mode as training's validation does."""

    def __init__(self, decoder):
        self.decoder = decoder

    @torch.inference_mode()
    def start(self, regions):
        return tuple(_tensors(arrays) for arrays in self.decoder.start(regions.numpy()))

    @torch.inference_mode()
    def step(self, tokens, state, memory):
        log_probs, state, attention = self.decoder.step(tokens.numpy(), _numpy(state), _numpy(memory))
        return torch.from_numpy(log_probs), _tensors(state), torch.from_numpy(attention)


def _tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _numpy(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(beam_width=1, max_words=9),
        DecodeOptions(beam_width=4, num_captions=3, max_words=9, min_words=2),
        DecodeOptions(beam_width=6, beam_groups=3, diversity=0.7, num_captions=4, max_words=9),
        DecodeOptions(beam_width=5, num_captions=3, rerank="consensus", max_words=9),
        DecodeOptions(sample=True, num_captions=5, max_words=9, temperature=1.3, seed=4),
        DecodeOptions(sample=True, num_captions=5, max_words=9, top_k=3, top_p=0.8, seed=4),
    ],
    ids=["greedy", "beam", "groups", "consensus", "sample", "truncated sample"],
)
def test_torch_finds_the_sentences_that_numpy_finds(options):
    from showtell.training.arrays import TorchArrays

    decoder, regions = random_history_decoder(11, pictures=6, size=9), regions_of(range(6))
    ours = generate(decoder, regions, options, NumpyArrays(), with_attention=True)
    theirs = generate(InTorch(decoder), torch.from_numpy(regions), options, TorchArrays("cpu"), with_attention=True)
    assert ours == theirs
    for one, other in zip(chain(*ours), chain(*theirs), strict=True):
        np.testing.assert_array_equal(one.attention, other.attention)


@pytest.mark.gpu
def test_a_gpu_finds_the_sentences_that_numpy_finds():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from showtell.training.arrays import TorchArrays

    class OnGpu(InTorch):
        def start(self, regions):
            return tuple(_to(arrays, "cuda") for arrays in super().start(regions.cpu()))

        def step(self, tokens, state, memory):
            log_probs, state, attention = super().step(tokens.cpu(), _to(state, "cpu"), _to(memory, "cpu"))
            return log_probs.cuda(), _to(state, "cuda"), attention.cuda()

    decoder, regions = random_history_decoder(11, pictures=6, size=9), regions_of(range(6))
    for options in (DecodeOptions(beam_width=4, num_captions=3), DecodeOptions(sample=True, num_captions=4, top_p=0.9)):
        ours = generate(decoder, regions, options, NumpyArrays())
        assert generate(OnGpu(decoder), torch.from_numpy(regions), options, TorchArrays("cuda")) == ours


def _to(tensors, device):
    return {name: tensor.to(device) for name, tensor in tensors.items()}
