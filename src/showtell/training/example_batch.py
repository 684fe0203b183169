"""One batch of a recipe to look at: made up, or the first of a data set. What `showtell recipes --shapes` prints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from showtell.data.readers import read_dataset
from showtell.images import open_picture, to_pixels
from showtell.models import build_decoder
from showtell.models.decoder import Decoder
from showtell.models.encoder import Encoder, build_encoder
from showtell.models.tour import Line, Parameters, parameters, tour, words
from showtell.recipe import Recipe
from showtell.training.dataset import Picture, by_split, make_batch, vocabulary_of
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
    side, captions = encoder.images.size, recipe.training.captions_per_picture or 5
    pictures = torch.full((PICTURES, side, side, 3), 128, dtype=torch.uint8)
    tokens = torch.full((PICTURES, captions, LONGEST), min(len(SPECIALS), size - 1))
    tokens[:, :, 0] = START
    lengths = torch.full((PICTURES, captions), LONGEST)
    return ExampleBatch(tour(encoder, decoder, pictures, tokens, lengths), parameters(encoder, decoder))


def first_batch(recipe: Recipe, data: Path, encoder_weights: Path | None = None) -> ExampleBatch:
    """The first pictures of the training split with their captions, through weights as training begins with them.

    Raises the errors of `showtell.errors` where the data set or the weights cannot be read.
    """
    split = training_part(by_split(list(read_dataset(data).examples), "train"), recipe.training)
    examples = [example for example in split if example.captions]
    vocabulary = vocabulary_of(examples, recipe.vocabulary)
    torch.manual_seed(recipe.training.seed)
    encoder = build_encoder(recipe.encoder, weights=encoder_weights)
    decoder = build_decoder(recipe, encoder, len(vocabulary))
    chosen = []
    for row, example in enumerate(examples[:PICTURES]):
        ids = [vocabulary.encode(caption)[: recipe.training.max_words] for caption in example.captions]
        chosen.append(Picture(example, row, tuple((*caption, END) for caption in ids)))
    batch = make_batch(chosen, 0)
    pixels = [torch.from_numpy(to_pixels(open_picture(p.example.image), encoder.images)) for p in chosen]
    pictures = torch.stack(pixels)
    tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
    lines = tour(encoder, decoder, pictures, tokens, lengths)
    length = int(batch.lengths[0, 0])
    read, targets = (ids[0, 0, :length].tolist() for ids in (batch.tokens, batch.targets))
    told = _told(encoder, decoder, pictures[:1], read, targets, vocabulary)
    return ExampleBatch(lines, parameters(encoder, decoder), chosen[0].example.id, told)


def _told(
    encoder: Encoder, decoder: Decoder, picture: Tensor, tokens: list[int], targets: list[int], vocabulary: Vocabulary
) -> list[WordLine]:
    with torch.no_grad():
        regions = encoder(picture)
    lines = []
    for word, state in words(decoder, regions, tokens, targets):
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
