"""One batch of a recipe to look at: made up, or the first of a data set. What `showtell recipes --shapes` prints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from showtell.data.example import Example
from showtell.errors import DataError, ImageError
from showtell.models import build_decoder
from showtell.models.build_encoder import build_encoder
from showtell.models.decoder import Decoder
from showtell.models.encoder import Encoder
from showtell.models.tour import Line, Parameters, parameters, tour, words
from showtell.recipe import Recipe
from showtell.region_files import apart, input_reader
from showtell.training.begin import encoder_of, settle
from showtell.training.dataset import Picture, by_split, make_batch, vocabulary_of
from showtell.training.request import Request
from showtell.training.sampling import training_part
from showtell.vocabulary import END, SPECIALS, START, Vocabulary

PICTURES = 2
LONGEST = 12  # words of the made-up captions, the end mark included
WORDS = 5000  # of a recipe that keeps all


@dataclass(frozen=True)
class WordLine:
    """One step of a caption, in words."""

    read: str
    told: str
    probability: float
    likeliest: str
    looks: str  # where, and with how much of the attention
    state: str


@dataclass(frozen=True)
class ExampleBatch:
    """`words` is empty for a made-up batch."""

    lines: list[Line]
    parameters: list[Parameters]
    picture: str = ""
    words: Sequence[WordLine] = ()


def made_up(recipe: Recipe, vocabulary_size: int | None = None) -> ExampleBatch:
    """Random weights, grey pictures and numbered words: all shapes are true, no value is."""
    torch.manual_seed(recipe.training.seed)
    encoder = build_encoder(replace(recipe.encoder, pretrained=False))
    size = vocabulary_size or (recipe.vocabulary.max_size + len(SPECIALS) if recipe.vocabulary.max_size else WORDS)
    decoder = build_decoder(recipe, encoder, size)
    pictures, captions = encoder.blank(PICTURES), recipe.training.captions_per_picture or 5
    tokens = torch.full((PICTURES, captions, LONGEST), min(len(SPECIALS), size - 1))
    tokens[:, :, 0] = START
    lengths = torch.full((PICTURES, captions), LONGEST)
    return ExampleBatch(tour(encoder, decoder, pictures, tokens, lengths), parameters(encoder, decoder))


def first_batch(recipe: Recipe, request: Request) -> ExampleBatch:
    """The first pictures of the training split with their captions, through weights as training begins with them.

    A picture that cannot be read is passed over, as training does. Raises the errors of `showtell.errors` where the
    data set or the weights cannot be read, or none of its pictures.
    """
    recipe, examples = settle(request, recipe)
    split = training_part(by_split(examples, "train"), recipe.training)
    examples = [example for example in split if example.captions]
    vocabulary = vocabulary_of(examples, recipe.vocabulary)
    encoder = encoder_of(request, recipe)
    decoder = build_decoder(recipe, encoder, len(vocabulary))
    readable = list(islice(_readable(examples, encoder), PICTURES))
    chosen = []
    for row, (example, _) in enumerate(readable):
        ids = [vocabulary.encode(caption)[: recipe.training.max_words] for caption in example.captions]
        chosen.append(Picture(example, row, tuple((*caption, END) for caption in ids)))
    batch = make_batch(chosen, 0)
    inputs, mask = np.stack([picture for _, picture in readable]), None
    if encoder.images is None:
        inputs, real = apart(inputs)
        mask = torch.from_numpy(real)
    pictures, tokens, lengths = (torch.from_numpy(array) for array in (inputs, batch.tokens, batch.lengths))
    lines = tour(encoder, decoder, pictures, tokens, lengths, mask)
    length = int(batch.lengths[0, 0])
    read, targets = (ids[0, 0, :length].tolist() for ids in (batch.tokens, batch.targets))
    with torch.no_grad():
        told = _told(encoder(pictures[:1]), None if mask is None else mask[:1], decoder, read, targets, vocabulary)
    return ExampleBatch(lines, parameters(encoder, decoder), chosen[0].example.id, told)


def _readable(examples: Sequence[Example], encoder: Encoder) -> Iterator[tuple[Example, NDArray[Any]]]:
    """Examples with the encoder's input made of their pictures. Raises `DataError` where not one can be read."""
    read = input_reader(encoder.images, encoder.region_count, encoder.region_size)
    failure, found = None, False
    for example in examples:
        try:
            picture = read(example.image)
        except ImageError as error:
            failure = failure or error
            continue
        found = True
        yield example, picture
    if not found:
        raise DataError(f"none of the {len(examples):,} training pictures can be read; {failure}")


def _told(
    regions: Tensor,
    mask: Tensor | None,
    decoder: Decoder,
    tokens: list[int],
    targets: list[int],
    vocabulary: Vocabulary,
) -> list[WordLine]:
    lines = []
    for word, state in words(decoder, regions, tokens, targets, mask):
        first = next(iter(state.values())).float()
        lines.append(
            WordLine(
                vocabulary.words[word.read],
                vocabulary.words[word.told],
                word.probability,
                vocabulary.words[word.likeliest],
                f"region {word.region}, {word.share:.1%}",
                f"mean {first.mean():.3f}, deviation {first.std(correction=0):.3f}",
            )
        )
    return lines
