"""Torch: encoders from timm, one file per decoder architecture."""

from showtell.models.attend import AttendDecoder
from showtell.recipe import Recipe

ARCHITECTURES = {"attend": AttendDecoder}


def build_decoder(recipe: Recipe, region_size: int, vocabulary_size: int) -> AttendDecoder:
    """The decoder that a recipe names, with random weights."""
    return ARCHITECTURES[recipe.decoder.architecture](recipe.decoder, region_size, vocabulary_size)
