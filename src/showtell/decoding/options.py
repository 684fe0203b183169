"""What a user may ask of decoding. Light: numpy is not needed to read a recipe or answer --help."""

from dataclasses import dataclass

from showtell.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How sentences are searched. Beam search unless `sample` is set; beam width 1 is greedy.

    Raises `RecipeError` where a value is impossible.
    """

    beam_width: int = 3  # hypotheses kept per picture
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

    def __post_init__(self) -> None:
        for name, value, lowest in (
            ("beam_width", self.beam_width, 1),
            ("num_captions", self.num_captions, 1),
            ("min_words", self.min_words, 0),
            ("max_words", self.max_words, 1),
            ("no_repeat_ngram", self.no_repeat_ngram, 0),
            ("top_k", self.top_k, 0),
            ("seed", self.seed, 0),
        ):
            if value < lowest:
                raise RecipeError(f"decoding.{name} is {value}, expected {lowest} or more")
        if self.min_words > self.max_words:
            raise RecipeError(f"decoding.min_words is {self.min_words}, more than max_words {self.max_words}")
        if not self.temperature > 0:
            raise RecipeError(f"decoding.temperature is {self.temperature}, expected more than 0")
        if not 0 < self.top_p <= 1:
            raise RecipeError(f"decoding.top_p is {self.top_p}, expected more than 0 and at most 1")
        if not self.sample and self.num_captions > self.beam_width:
            raise RecipeError(
                f"decoding.num_captions is {self.num_captions}, more than beam_width {self.beam_width}; "
                "widen the beam or sample"
            )
