"""What each decoder architecture lets a recipe choose: the [decoder] table of a recipe, one dataclass for each.

The networks themselves are in `showtell.models`, one file for each of these names. This side needs no PyTorch.
"""

from dataclasses import dataclass

from showtell.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """What all have in common."""

    architecture: str

    def __post_init__(self) -> None:
        sizes = ("embedding", "hidden", "attention", "layers", "heads", "topics")
        require("decoder", self, **{name: 1 for name in sizes if hasattr(self, name)})
        for name in vars(self):
            if name.endswith("dropout") and not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"decoder.{name} is {getattr(self, name)}, expected 0 or more and less than 1")


@dataclass(frozen=True, kw_only=True)
class AttendOptions(DecoderOptions):
    """Show, Attend and Tell (Xu et al. 2015): additive attention over a grid, an LSTM or GRU tells the words."""

    architecture: str = "attend"
    cell: str = "lstm"  # lstm or gru
    projection: int = 512  # regions are mapped to this size; 0 leaves them as they are
    projection_activation: str = "relu"  # relu or none, after the mapping
    places: bool = False  # add a learnt vector for each place of the grid: tells left from right, above from below
    embedding: int = 512
    hidden: int = 512
    attention: int = 512
    attention_bias: bool = False  # a bias of the attention's scores; it changes no attention, only the count
    initial_state: str = "mean"  # mean: from the mean region; zero
    gate: bool = True  # the paper's beta: how much of the context passes
    output: str = "deep"  # words from: deep: hidden state, context and last word; dense: a mapped hidden state; hidden
    tie_embedding: bool = False  # one table for words read and words said (output is mapped to the embedding's size)
    dropout: float = 0.5  # on embeddings and before the words
    region_dropout: float = 0.0  # on the regions as they come from the encoder

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, projection=0)


@dataclass(frozen=True, kw_only=True)
class InitInjectOptions(DecoderOptions):
    """The picture as initial state: one vector, mapped, starts every layer of a stack of GRUs or LSTMs."""

    architecture: str = "init-inject"
    cell: str = "gru"  # gru or lstm
    layers: int = 3
    embedding: int = 128
    hidden: int = 512
    map_layers: int = 1  # dense layers from the picture to the state, each followed by tanh
    dropout: float = 0.0  # on embeddings and before the words

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, map_layers=1)


@dataclass(frozen=True, kw_only=True)
class MergeOptions(DecoderOptions):
    """Merge: the words' own LSTM meets the picture behind it (Tanti, Gatt, Camilleri 2017, arXiv:1708.02043)."""

    architecture: str = "merge"
    embedding: int = 128
    picture: int = 128  # the picture vector is mapped to this size
    language: int = 256  # the LSTM over words
    word: int = 128  # its output is mapped to this size at each word
    merged: int = 128  # the first LSTM over picture and words
    hidden: int = 512  # the second, whose state tells the next word
    dropout: float = 0.5  # behind the picture's map and the words' LSTM

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, picture=1, language=1, word=1, merged=1)


@dataclass(frozen=True, kw_only=True)
class ShowAndTellOptions(DecoderOptions):
    """Show and Tell (Vinyals et al. 2015): the picture is the first word that an LSTM reads."""

    architecture: str = "show-and-tell"
    embedding: int = 256
    hidden: int = 512
    layers: int = 1
    tell_start: bool = True  # after the picture the start mark must be told, as the well-known tutorial trains it
    dropout: float = 0.0  # on embeddings and before the words


@dataclass(frozen=True, kw_only=True)
class UpDownOptions(DecoderOptions):
    """Bottom-up and top-down attention (Anderson et al. 2018): one LSTM attends over regions, another tells words."""

    architecture: str = "up-down"
    projection: int = 0  # regions are mapped to this size, with ReLU; 0 leaves them as they are, as in the paper
    embedding: int = 512
    hidden: int = 512  # of both LSTMs
    attention: int = 512
    dropout: float = 0.5  # on embeddings and before the words
    region_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, projection=0)


@dataclass(frozen=True, kw_only=True)
class SequenceAttendOptions(DecoderOptions):
    """Multimodal attentive translator (Liu et al. 2017): regions are read as a sequence, then attended over."""

    architecture: str = "sequence-attend"
    cell: str = "lstm"  # lstm or gru, of both sides
    projection: int = 512
    embedding: int = 512
    hidden: int = 512
    attention: int = 512
    dropout: float = 0.5  # on embeddings and before the words
    region_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, projection=1)


@dataclass(frozen=True, kw_only=True)
class TopicOptions(AttendOptions):
    """Topic-guided attention (Zhu et al. 2018): topics of the training captions, predicted from the picture, guide."""

    architecture: str = "topic"
    topics: int = 20
    topic_weight: float = 0.2  # of the loss of predicting the topics, beside that of the words

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, topic_weight=0)


@dataclass(frozen=True, kw_only=True)
class TransformerOptions(DecoderOptions):
    """A pre-norm transformer decoder (Vaswani et al. 2017; Xiong et al. 2020) with cross-attention over regions."""

    architecture: str = "transformer"
    layers: int = 3
    hidden: int = 512
    heads: int = 8
    feed_forward: int = 2048
    max_words: int = 40  # places for words, the start mark included; longer captions cannot be told
    places: bool = True  # add a learnt vector for each region's place
    tie_embedding: bool = True
    dropout: float = 0.1
    region_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require("decoder", self, feed_forward=1, max_words=2)
        if self.hidden % self.heads:
            raise RecipeError(f"decoder.hidden is {self.hidden}, expected a multiple of decoder.heads, {self.heads}")


# By name; a recipe's [decoder] table is read as the one it names.
DECODERS: dict[str, type[DecoderOptions]] = {
    options.architecture: options
    for options in (
        AttendOptions,
        InitInjectOptions,
        MergeOptions,
        ShowAndTellOptions,
        UpDownOptions,
        SequenceAttendOptions,
        TopicOptions,
        TransformerOptions,
    )
}

# Where a key takes one of a few words.
DECODER_CHOICES = {
    "cell": ("lstm", "gru"),
    "projection_activation": ("relu", "none"),
    "initial_state": ("mean", "zero"),
    "output": ("deep", "dense", "hidden"),
}


def require(table: str, options: object, **lowest: int) -> None:
    """Raise `RecipeError` where an option lies below the lowest possible value, or is no number."""
    for name, least in lowest.items():
        if not getattr(options, name) >= least:
            raise RecipeError(f"{table}.{name} is {getattr(options, name)}, expected {least} or more")
