"""Torch: encoders from timm, one file per decoder architecture."""

from showtell.models.attend import AttendDecoder
from showtell.models.decoder import Decoder, several_regions
from showtell.models.encoder import Encoder
from showtell.models.init_inject import InitInjectDecoder
from showtell.models.merge import MergeDecoder
from showtell.models.sequence_attend import SequenceAttendDecoder
from showtell.models.show_and_tell import ShowAndTellDecoder
from showtell.models.topic import TopicDecoder
from showtell.models.transformer import TransformerDecoder
from showtell.models.up_down import UpDownDecoder
from showtell.recipe import Recipe

ARCHITECTURES: dict[str, type[Decoder]] = {
    "attend": AttendDecoder,
    "init-inject": InitInjectDecoder,
    "merge": MergeDecoder,
    "show-and-tell": ShowAndTellDecoder,
    "up-down": UpDownDecoder,
    "sequence-attend": SequenceAttendDecoder,
    "topic": TopicDecoder,
    "transformer": TransformerDecoder,
}


def build_decoder(recipe: Recipe, encoder: Encoder, vocabulary_size: int) -> Decoder:
    """The decoder that a recipe names, with random weights, for the regions of an encoder.

    Raises `RecipeError` where it takes one vector for a picture and gets a grid, or the other way round.
    """
    several_regions(recipe.decoder.architecture, encoder.region_count)
    architecture = ARCHITECTURES[recipe.decoder.architecture]
    return architecture(recipe.decoder, encoder.region_count, encoder.region_size, vocabulary_size)
