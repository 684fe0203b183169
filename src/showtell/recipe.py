"""A recipe: everything in which one captioner differs from another, as data; `recipe_reader.py` reads it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from showtell.architectures import DecoderOptions, require
from showtell.decoding.options import DecodeOptions
from showtell.errors import RecipeError

FILES = "files"  # the encoder's name where regions come from files


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Which picture network, how its output is taken, and whether it learns too."""

    name: str  # timm's name; files: regions come from files, and there is no network
    pretrained: bool = True  # weights from timm, unless a file is given; false starts from random weights
    output: str = "grid"  # grid: one region per place; pooled: the picture is one region; flat: all places as one
    layer: str = ""  # take this layer's output (its dotted name in the network) instead of the last
    arguments: dict[str, Any] = field(default_factory=dict)  # further arguments of timm.create_model
    size: int = 0  # side in pixels; 0 is the encoder's own
    fit: str = ""  # squash, crop or pad; empty is the encoder's own
    train: bool = False  # learn along with the decoder, from pixels
    train_from: str = ""  # the first layer that learns, by its dotted name; those before it stay; empty is all
    learning_rate: float = 0.1  # of the encoder, as a share of training.learning_rate
    warmup_epochs: float = 0.0  # its rate rises in a line over these, beside the schedule of all
    checkpointing: bool = False  # keep less of it in memory while it learns, and compute that again; takes longer
    frozen_norms: bool = True  # keep batch norms at their statistics while the encoder learns
    regions: int = 0  # files: regions of a picture at most; 0 is what the files hold
    region_size: int = 0  # files: numbers of a region; 0 is what the files hold

    def __post_init__(self) -> None:
        require("encoder", self, size=0, learning_rate=0, warmup_epochs=0, regions=0, region_size=0)
        if self.checkpointing and not self.frozen_norms:
            raise RecipeError(
                "encoder.checkpointing computes a step twice, and with encoder.frozen_norms=false batch norms would "
                "count every picture twice; set one of them otherwise"
            )
        if self.name != FILES:
            return
        if self.train:
            raise RecipeError("encoder.train is true, but regions from files have no encoder that could learn")
        if self.output == "flat":
            raise RecipeError("encoder.output is 'flat', expected grid or pooled: regions from files form no grid")
        if self.output == "grid" and self.regions == 1:
            raise RecipeError(
                "encoder.output is 'grid', but the files hold one region each, which leaves nothing to choose from; "
                "set encoder.output=pooled, or take files of several regions"
            )


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    tokenizer: str = "words"  # words, keras, letters or treebank: see `showtell.tokenizers`
    min_count: int = 5  # rarer words are unknown
    max_size: int = 0  # most frequent words kept, the four specials not counted; 0 keeps all
    unknown: str = "token"  # token: unknown words are told as <unk>; drop: they are left out of their captions

    def __post_init__(self) -> None:
        require("vocabulary", self, min_count=1, max_size=0)


# Scores that a caption can be rewarded by.
REWARDS = ("cider", "bleu")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """One training run. A step is one batch of pictures with their captions."""

    epochs: int = 20
    batch: int = 32  # pictures, or captions, by sampling
    parts: int = 1  # a step's pictures are computed in this many parts: the same step in less memory
    captions: str = "all"  # all, first: only the first caption of each picture, or added: only those of --captions
    limit_captions: int = 0  # a random part of the training captions, drawn by the seed; 0 takes all
    sampling: str = "pictures"  # pictures, captions, order, replacement or length: see `training/sampling.py`
    captions_per_picture: int = 5  # drawn anew each epoch where a picture has more; 0 takes all
    flip: bool = False  # show half of the pictures mirrored, save those whose captions tell left from right
    crop: float = 1.0  # show a random part of each picture, this share of its sides or more, where the encoder learns
    hide_regions: float = 0.0  # share of a picture's regions that are hidden, others at each step
    max_words: int = 20  # longer captions are cut, and counted
    count_padding: bool = False  # padding is to be told too, up to the longest caption of the batch
    optimizer: str = "adamw"  # adam, adamw or rmsprop
    learning_rate: float = 4e-4  # the highest of the schedule
    weight_decay: float = 0.0
    schedule: str = "cosine"  # cosine (to 1 % at the last epoch) or constant
    warmup_epochs: float = 0.0
    clip_norm: float = 5.0  # gradients are scaled to this norm at most; 0 leaves them
    label_smoothing: float = 0.0
    attention_penalty: float = 0.0  # weight of Xu et al.'s doubly stochastic attention, 1.0 in the paper
    scheduled_sampling: float = 0.0  # share of the words read that are the model's own at the end; it rises in a line
    dropout_schedule: str = "constant"  # constant, rising from nothing, or falling to nothing, over the run
    distil: float = 0.5  # with teachers: their share in the loss of the words; the rest is that of the true words
    temperature: float = 1.0  # with teachers: above 1 tells more of what they hold less likely
    reward: dict[str, float] = field(default_factory=dict)  # learn from scores, {cider = 1.0}: see self_critical.py
    samples: int = 5  # captions of a picture that are told and rewarded
    baseline: str = "others"  # rewards count from the mean of the other samples, or from the greedy caption's
    reward_share: float = 1.0  # of the loss; the rest is that of the true captions
    reward_dropout: bool = False  # dropout there too, which hides the same while captions are told and learnt from
    average: float = 0.0  # use a moving average of the weights that keeps this share at each step; 0 uses the last
    choose_by: str = "CIDEr"  # the score of the validation by which epochs are compared: CIDEr, BLEU-4 or loss
    keep: int = 1  # this many of the best epochs stay on disk, which `showtell average` can average
    patience: int = 5  # validations without a better score before training stops; 0 never stops
    validate_every: int = 1  # epochs
    validation_pictures: int = 0  # this many validation pictures, the first by id; 0 takes all
    checkpoint_seconds: float = 30.0
    amp: str = "auto"  # auto, off, bf16: bf16 where the device gains from it
    workers: int = 2  # threads that read pictures
    only: list[str] = field(default_factory=list)  # parts of the decoder that learn, by their dotted names; [] is all
    seed: int = 1

    def __post_init__(self) -> None:
        require("training", self, epochs=1, batch=1, parts=1, max_words=1, validate_every=1, keep=1)
        require("training", self, attention_penalty=0)
        require("training", self, captions_per_picture=0, weight_decay=0, warmup_epochs=0, clip_norm=0, patience=0)
        require("training", self, limit_captions=0, validation_pictures=0, checkpoint_seconds=0, workers=0, seed=0)
        require("training", self, samples=2 if self.baseline == "others" else 1)
        unknown = [name for name in self.reward if name not in REWARDS]
        if unknown:
            raise RecipeError(f"training.reward weighs {unknown[0]!r}, known are {', '.join(REWARDS)}")
        for name, weight in self.reward.items():
            if not isinstance(weight, int | float) or isinstance(weight, bool) or not weight > 0:
                raise RecipeError(f"training.reward weighs {name} with {weight!r}, expected a number above 0")
        for name in ("scheduled_sampling", "distil"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"training.{name} is {getattr(self, name)}, expected 0 or more and at most 1")
        for name in ("temperature", "crop"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"training.{name} is {getattr(self, name)}, expected more than 0")
        if self.crop > 1:
            raise RecipeError(f"training.crop is {self.crop}, expected at most 1, which shows all of a picture")
        if not 0 < self.reward_share <= 1:
            raise RecipeError(f"training.reward_share is {self.reward_share}, expected more than 0 and at most 1")
        if not self.learning_rate > 0:
            raise RecipeError(f"training.learning_rate is {self.learning_rate}, expected more than 0")
        for name in ("average", "label_smoothing", "hide_regions"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"training.{name} is {getattr(self, name)}, expected 0 or more and less than 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A captioner as data; `read_recipe` makes one from TOML."""

    name: str
    summary: str
    paper: str = ""
    encoder: EncoderOptions
    decoder: DecoderOptions
    vocabulary: VocabularyOptions = field(default_factory=VocabularyOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    decoding: DecodeOptions = field(default_factory=DecodeOptions)

    def __post_init__(self) -> None:
        if self.training.flip and self.encoder.name == FILES:
            raise RecipeError("training.flip is true, but regions from files cannot be mirrored; set it to false")
        if self.training.crop < 1 and not self.encoder.train:
            raise RecipeError("training.crop is of pictures that an encoder learns from; set encoder.train=true too")
        if self.training.hide_regions and self.encoder.output != "grid":
            raise RecipeError(
                f"training.hide_regions needs several regions, encoder.output={self.encoder.output} gives one; "
                "set it to 0"
            )
        places = getattr(self.decoder, "max_words", None)
        for table, words in (("training", self.training.max_words), ("decoding", self.decoding.max_words)):
            if places is not None and words + 1 > places:
                raise RecipeError(
                    f"{table}.max_words is {words}, expected {places - 1} at most: decoder.max_words is {places}, "
                    "a mark included"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as TOML or JSON hold them."""
        return dataclasses.asdict(self)
