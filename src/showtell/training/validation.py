"""How good the model is on the validation split: loss, captions, CIDEr-D and BLEU-4.

B pictures, K hypotheses of each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from showtell.caption import Caption
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import generate
from showtell.metrics.bleu import bleu
from showtell.metrics.cider import cider_d
from showtell.models.captioner import CaptionModel
from showtell.models.decoder import Decoder
from showtell.tokenizers import TOKENIZERS, join_words
from showtell.training.arrays import TorchArrays
from showtell.training.dataset import Picture, make_batch
from showtell.training.group import Group
from showtell.training.store import Rows
from showtell.vocabulary import Vocabulary


@dataclass(frozen=True)
class Validation:
    """`scores` by name (loss in nats a word, CIDEr and BLEU in points of 100), captions by example id."""

    scores: dict[str, float]
    captions: dict[str, str]

    def score(self, name: str) -> float:
        """What is the higher the better: the score of this name, or, where there is none, minus the loss."""
        return self.scores[name] if name in self.scores and name != "loss" else -self.scores["loss"]


class TorchDecoder:
    """A decoder module as decoding's `StepDecoder`."""

    def __init__(self, decoder: Decoder, mask: Tensor | None, device: torch.device) -> None:
        self.decoder, self.mask, self.device = decoder, mask, device

    def start(self, regions: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self.decoder.start(regions, self.mask)

    def step(
        self, tokens: Tensor, state: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        return self.decoder.step(tokens, state, memory)


@dataclass
class _Told:
    """What was told of some pictures."""

    words: dict[str, list[str]]  # by example id
    loss_sum: float = 0.0  # nats over the true words
    true_words: int = 0


def validate(
    model: CaptionModel,
    store: Rows,
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    options: DecodeOptions,
    group: Group,
    batch: int = 50,
) -> Validation:
    """Score the model on pictures with captions, which the processes of `group` share.

    The words of captions and references are the tokenizer's.
    """
    own = pictures[group.rank :: group.size]
    parts = group.gather(_tell(model, store, own, vocabulary, options, group.device, batch))
    words = {name: words for part in parts for name, words in part.words.items()}
    split = TOKENIZERS[vocabulary.tokenizer]
    candidates = [" ".join(words[picture.example.id]) for picture in pictures]
    references = [[" ".join(split(caption)) for caption in picture.example.captions] for picture in pictures]
    scores = {"loss": sum(part.loss_sum for part in parts) / max(sum(part.true_words for part in parts), 1)}
    if any(references):
        scores["CIDEr"] = 100 * cider_d(candidates, references)[0]
        scores["BLEU-4"] = 100 * bleu(candidates, references)[0][3]
    return Validation(scores, {name: join_words(told) for name, told in words.items()})


@torch.inference_mode()
def _tell(
    model: CaptionModel,
    store: Rows,
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    options: DecodeOptions,
    device: torch.device,
    batch: int,
) -> _Told:
    model.eval()
    told = _Told({})
    for chosen, inputs, mask in _batches(store, pictures, device, batch):
        regions = model.regions(inputs)
        found = generate(TorchDecoder(model.decoder, mask, device), regions, options, TorchArrays(device))
        for picture, hypotheses in zip(chosen, found, strict=True):
            told.words[picture.example.id] = vocabulary.decode(hypotheses[0].tokens)
        if any(picture.captions for picture in chosen):
            arrays = make_batch(chosen)
            lengths = torch.from_numpy(arrays.lengths).to(device)
            logits = model.decoder(regions, torch.from_numpy(arrays.tokens).to(device), lengths, mask).logits
            targets = valid_targets(torch.from_numpy(arrays.targets).to(device), lengths)
            told.loss_sum += float(F.cross_entropy(logits.float(), targets, reduction="sum"))
            told.true_words += len(targets)
    return told


@torch.inference_mode()
def attended(
    model: CaptionModel,
    store: Rows,
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    options: DecodeOptions,
    device: torch.device,
    grid: tuple[int, int],
) -> list[Caption]:
    """The best caption of each picture with its attention on the encoder's grid (T, h, w)."""
    model.eval()
    captions = []
    for chosen, inputs, mask in _batches(store, pictures, device, batch=8):
        decoder = TorchDecoder(model.decoder, mask, device)
        found = generate(decoder, model.regions(inputs), options, TorchArrays(device), with_attention=True)
        for picture, hypotheses in zip(chosen, found, strict=True):
            best, words = hypotheses[0], vocabulary.decode(hypotheses[0].tokens)
            assert best.attention is not None
            attention = best.attention[: len(words)].reshape(len(words), *grid)
            captions.append(
                Caption(
                    picture.example.id, join_words(words), tuple(words), best.log_probability, best.score, attention
                )
            )
    return captions


def valid_targets(targets: Tensor, lengths: Tensor) -> Tensor:
    """Targets (B, K, T), lengths (B, K) -> the N words that are told, in the order of the decoder's logits."""
    valid = torch.arange(targets.shape[2], device=targets.device) < lengths.unsqueeze(2)
    return targets[valid]


def load_rows(store: Rows, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Rows of a store as a tensor, and their region mask, None where every region is real."""
    values, mask = store.read(rows)
    inputs = torch.from_numpy(values).to(device, non_blocking=True)
    return inputs, None if store.dtype.kind == "u" or mask.all() else torch.from_numpy(mask).to(device)


def _batches(
    store: Rows, pictures: Sequence[Picture], device: torch.device, batch: int
) -> Iterator[tuple[Sequence[Picture], Tensor, Tensor | None]]:
    for start in range(0, len(pictures), batch):
        chosen = pictures[start : start + batch]
        yield chosen, *load_rows(store, [picture.row for picture in chosen], device)
