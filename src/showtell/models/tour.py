"""A walk through one batch: the name, shape and values of every tensor on its way from pictures to words.

B pictures, K captions of each, T words, S side in pixels, R regions, D region size, V vocabulary size.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from showtell.models.decoder import Decoder
from showtell.models.encoder import Encoder
from showtell.vocabulary import START


@dataclass(frozen=True)
class Line:
    """One tensor, or one layer with what goes in and comes out."""

    stage: str  # batch, encoder, start, step, words
    name: str
    kind: str  # dtype of a tensor, class of a layer
    shape: str  # "(2, 64, 256)", or "(2, 64, 2048) -> (2, 64, 256)"
    values: str  # mean, deviation, least and greatest


@dataclass(frozen=True)
class Parameters:
    """One weight of the decoder, or the whole encoder."""

    name: str
    shape: tuple[int, ...]
    count: int
    learns: bool


@torch.no_grad()
def tour(
    encoder: Encoder,
    decoder: Decoder,
    pictures: Tensor,
    tokens: Tensor,
    lengths: Tensor,
    mask: Tensor | None = None,
) -> list[Line]:
    """Run one batch and note every tensor, in the order in which they appear.

    Pictures uint8 (B, S, S, 3), or from files regions (B, R, D); tokens (B, K, T) int64 with the start mark first;
    lengths (B, K), longest first; mask (B, R), true where a region is real.
    """
    encoder.eval()
    decoder.eval()
    lines = [
        _tensor("batch", name, value)
        for name, value in (("pictures", pictures), ("tokens", tokens), ("lengths", lengths))
    ]
    regions: Tensor = encoder(pictures)
    lines.append(_tensor("encoder", "regions", regions))
    with _watched(decoder, "start", lines):
        memory, state = decoder.start(regions, mask)
    lines += _tensors("start", "memory", memory) + _tensors("start", "state", state)
    captions = tokens.shape[1]
    state = {name: value.expand(-1, captions, *value.shape[2:]) for name, value in state.items()}
    with _watched(decoder, "step", lines):
        log_probs, state, attention = decoder.step(torch.full(tokens.shape[:2], START), state, memory)
    lines += _tensors("step", "state", state)
    lines += [_tensor("step", "attention", attention), _tensor("step", "log_probs", log_probs)]
    told = decoder(regions, tokens, lengths, mask)
    return [*lines, _tensor("words", "attention", told.attention), _tensor("words", "logits", told.logits)]


def parameters(encoder: Encoder, decoder: Decoder) -> list[Parameters]:
    """The encoder as one, then every weight of the decoder; a table that two layers share counts once."""
    weights = list(encoder.network.parameters())
    learns = any(weight.requires_grad for weight in weights)
    rows = [Parameters(f"encoder {encoder.options.name}", (), sum(weight.numel() for weight in weights), learns)]
    rows += [Parameters(name, tuple(w.shape), w.numel(), w.requires_grad) for name, w in decoder.named_parameters()]
    return rows


@dataclass(frozen=True)
class Word:
    """One step of teacher forcing of one caption."""

    read: int  # id of the word that goes in
    told: int  # id of the word that should come out
    probability: float  # which the decoder gives that word
    likeliest: int
    region: int  # where the attention is greatest
    share: float  # of the attention there


@torch.no_grad()
def words(
    decoder: Decoder, regions: Tensor, tokens: Sequence[int], targets: Sequence[int], mask: Tensor | None = None
) -> Iterator[tuple[Word, dict[str, Tensor]]]:
    """Read one caption of one picture, regions (1, R, D), word by word; yields each word and the state (1, 1, ...)."""
    memory, state = decoder.start(regions, mask)
    for read, target in zip(tokens, targets, strict=True):
        log_probs, state, attention = decoder.step(torch.tensor([[read]]), state, memory)
        share, region = attention[0, 0].max(0)
        likeliest = int(log_probs[0, 0].argmax())
        yield Word(read, target, float(log_probs[0, 0, target].exp()), likeliest, int(region), float(share)), state


@contextmanager
def _watched(decoder: Decoder, stage: str, lines: list[Line]) -> Iterator[None]:
    """Note the first call of every layer."""
    names = {module: name for name, module in decoder.named_modules() if name}
    seen: set[nn.Module] = set()

    def note(module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        if module in seen or isinstance(module, nn.Identity):
            return
        seen.add(module)
        given, out = _first(arguments), _first(result)
        if given is not None and out is not None:
            shape = f"{_shape(given)} -> {_shape(out)}"
            lines.append(Line(stage, names[module], type(module).__name__, shape, _values(out)))

    handles = [module.register_forward_hook(note) for module in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(value: Any) -> Tensor | None:
    """The tensor, or the first in what a layer takes or gives."""
    if isinstance(value, Tensor):
        return value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for found in map(_first, inner) if found is not None), None)


def _tensors(stage: str, prefix: str, values: Mapping[str, Tensor]) -> list[Line]:
    return [_tensor(stage, f"{prefix}.{name}", value) for name, value in values.items()]


def _tensor(stage: str, name: str, value: Tensor) -> Line:
    return Line(stage, name, str(value.dtype).removeprefix("torch."), _shape(value), _values(value))


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))


def _values(value: Tensor) -> str:
    numbers = value.float()
    spread = f"mean {numbers.mean():.3f}, deviation {numbers.std(correction=0):.3f}"
    return f"{spread}, {numbers.min():.3f} .. {numbers.max():.3f}"
