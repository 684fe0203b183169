"""What a user may ask of decoding. Light: numpy is not needed to read a recipe or answer --help."""

import math
from dataclasses import dataclass, replace
from typing import Any

from showtell.errors import RecipeError

RERANKS = ("", "consensus")


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How sentences are searched. Beam search unless `sample` is set; beam width 1 is greedy.

    Raises `RecipeError` where a value is impossible.
    """

    beam_width: int = 3  # hypotheses kept per picture
    beam_groups: int = 1  # diverse beam search: so many groups of hypotheses, which keep apart
    diversity: float = 0.5  # what a word costs a group for each earlier group's hypothesis that goes on with it
    num_captions: int = 1  # captions returned per picture, best first
    length_penalty: float = 0.9  # score = log-probability / words ** length_penalty
    min_words: int = 1  # the end mark is not counted
    max_words: int = 20  # the end mark is not counted
    no_repeat_ngram: int = 3  # a run of this many words occurs once at most; 0 allows all
    no_repeat_phrase: bool = True  # no word or phrase directly followed by itself ("a dog a dog")
    stop_early: bool = True  # end when no unfinished sentence is better as it stands; false: when none could become so
    sample: bool = False  # draw words at random instead of searching
    temperature: float = 1.0  # below 1 safer, above 1 wilder
    top_k: int = 0  # sample among this many likeliest words; 0 is all
    top_p: float = 1.0  # sample among the likeliest words that hold this share of the probability
    seed: int = 0  # sampling: same seed, same picture, same caption, whoever shares the batch
    rerank: str = ""  # consensus: of `candidates` found or drawn, first the one that agrees best with all of them
    candidates: int = 0  # how many captions `rerank` compares; 0: beam_width, or num_captions if that is more

    def __post_init__(self) -> None:
        for name, value, lowest in (
            ("beam_width", self.beam_width, 1),
            ("beam_groups", self.beam_groups, 1),
            ("num_captions", self.num_captions, 1),
            ("min_words", self.min_words, 0),
            ("max_words", self.max_words, 1),
            ("no_repeat_ngram", self.no_repeat_ngram, 0),
            ("top_k", self.top_k, 0),
            ("candidates", self.candidates, 0),
            ("seed", self.seed, 0),
        ):
            if value < lowest:
                raise RecipeError(f"decoding.{name} is {value}, expected {lowest} or more")
        if self.min_words > self.max_words:
            raise RecipeError(f"decoding.min_words is {self.min_words}, more than max_words {self.max_words}")
        if self.beam_width % self.beam_groups:
            raise RecipeError(
                f"decoding.beam_width is {self.beam_width}, expected a multiple of beam_groups {self.beam_groups}"
            )
        if not 0 <= self.diversity < math.inf:
            raise RecipeError(f"decoding.diversity is {self.diversity}, expected 0 or more")
        if not math.isfinite(self.length_penalty):
            raise RecipeError(f"decoding.length_penalty is {self.length_penalty}, expected a finite number")
        if not 0 < self.temperature < math.inf:
            raise RecipeError(f"decoding.temperature is {self.temperature}, expected more than 0")
        if not 0 < self.top_p <= 1:
            raise RecipeError(f"decoding.top_p is {self.top_p}, expected more than 0 and at most 1")
        if not self.sample and self.num_captions > self.beam_width:
            raise RecipeError(
                f"decoding.num_captions is {self.num_captions}, more than beam_width {self.beam_width}; "
                "widen the beam or sample"
            )
        if self.rerank not in RERANKS:
            raise RecipeError(f"decoding.rerank is {self.rerank!r}, known are {', '.join(map(repr, RERANKS))}")
        if self.candidates and not self.rerank:
            raise RecipeError(f"decoding.candidates is {self.candidates}, but nothing compares them; set rerank too")
        if not self.sample and self.candidates > self.beam_width:
            raise RecipeError(
                f"decoding.candidates is {self.candidates}, more than beam_width {self.beam_width}; "
                "widen the beam or sample"
            )
        if 0 < self.candidates < self.num_captions:
            raise RecipeError(
                f"decoding.candidates is {self.candidates}, less than num_captions {self.num_captions}; compare more"
            )

    def changed(self, **changes: Any) -> "DecodeOptions":
        """These with changes; where `beam_width` is none of them, the beam is made wide enough for the others.

        Raises `RecipeError` where what comes out is impossible.
        """
        if "beam_width" not in changes and not changes.get("sample", self.sample):
            asked = changes.get("num_captions", self.num_captions), changes.get("candidates", self.candidates)
            wanted = max(self.beam_width, *asked)
            groups = max(changes.get("beam_groups", self.beam_groups), 1)
            changes["beam_width"] = -(-wanted // groups) * groups
        return replace(self, **changes)

    def compared(self) -> "DecodeOptions":
        """Options that find what `rerank` compares."""
        count = self.candidates or max(self.beam_width, self.num_captions)
        return replace(self, rerank="", candidates=0, num_captions=count)
