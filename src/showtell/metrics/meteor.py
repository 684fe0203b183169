"""METEOR 1.5 by its own Java program, fed safely and put together here. N pictures.

Denkowski, Lavie: "Meteor Universal: Language Specific Translation Evaluation for Any Target Language", WMT 2014, with
its parameters for English; the penalty is that of Banerjee, Lavie: "METEOR: An Automatic Metric for MT Evaluation with
Improved Correlation with Human Judgments", 2005. Java aligns candidate and reference, which gives counts; the formula
on counts, or on sums of them, is below, so that scores of other choices of the pictures need no Java.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from showtell.errors import JavaError
from showtell.metrics.jvm import JavaProcess, find_program
from showtell.metrics.ngrams import check_count, check_references
from showtell.metrics.score import Score, from_statistics

ALPHA = 0.85  # how much recall counts against precision
BETA = 0.2  # exponent of the penalty
GAMMA = 0.6  # the greatest penalty
DELTA = 0.75  # weight of a content word; a function word has the rest
MATCHERS = (1.0, 0.6, 0.8, 0.6)  # weights of exact, stem, synonym and paraphrase matches
TIMEOUT = 300.0  # seconds without an answer, the loading of Meteor's tables with the first included

_NUMBERS = 23  # in an answer: 4 lengths, 4 counts for each of 4 matchers, chunks, matched words of both
_LINE_ENDS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class MeteorProcess(JavaProcess):
    """Meteor, started once for any number of sets: `with MeteorProcess() as meteor: meteor.score(...)`."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        """`timeout` in seconds for one picture. Raises `MissingExtraError` where Java or Meteor is not there."""
        java, jar = find_program("METEOR", "meteor/meteor-1.5.jar")
        # Meteor looks for its table beside itself, and fails to where a folder has a space in its name, unless told.
        table = jar.with_name("data") / "paraphrase-en.gz"
        options = ["-stdio", "-l", "en", "-norm", "-a", str(table)]
        super().__init__("METEOR", [java, "-Xmx2G", "-jar", str(jar), "-", "-", *options], timeout)

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
        """METEOR of one candidate for each picture; see `meteor`."""
        statistics = self.statistics(candidates, references)
        return from_statistics("METEOR", statistics, combine, combine(statistics))

    def statistics(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """What `combine` needs of each picture (N, 6), of the reference that gives the candidate its best score."""
        check_references(references)
        check_count(len(candidates), len(references))
        lines = [_line(candidate, texts) for candidate, texts in zip(candidates, references, strict=True)]
        return _weigh(np.array([_numbers(place, answer) for place, answer in enumerate(self.ask(lines), start=1)]))


def meteor(candidates: Sequence[str], references: Sequence[Sequence[str]], *, timeout: float = TIMEOUT) -> Score:
    """METEOR of one candidate for each picture against the picture's references, white-space tokens, 0..1.

    The score of a set is that of the sums of its counts, so it is no mean. In every text `|||`, with which Meteor parts
    its input, is left out, and a line end counts as a space. Java has `timeout` seconds for each picture.
    Raises `MissingExtraError` where Java or Meteor is not installed, `JavaError` where Meteor fails or takes too long,
    `DataError` where there is no picture, a picture has no reference, or the candidates are more or fewer.
    """
    check_references(references)
    check_count(len(candidates), len(references))
    with MeteorProcess(timeout) as process:
        return process.score(candidates, references)


def combine(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """METEOR (...,) of sums (..., 6) over pictures.

    The six: weighted matches in candidate and in reference, weighted lengths of both, chunks, and matched words.
    """
    candidate_matches, reference_matches, candidate_length, reference_length, chunks, matched = np.moveaxis(sums, -1, 0)
    precision = _ratio(candidate_matches, candidate_length)
    recall = _ratio(reference_matches, reference_length)
    mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    score: NDArray[np.float64] = mean * (1 - GAMMA * _ratio(chunks, matched) ** BETA)
    return score


def _line(candidate: str, references: Sequence[str]) -> str:
    return " ||| ".join(["SCORE", *map(_clean, references), _clean(candidate)])


def _clean(text: str) -> str:
    return _LINE_ENDS.sub(" ", text.replace("|||", ""))


def _numbers(place: int, answer: str) -> list[float]:
    try:
        numbers = [float(number) for number in answer.split()]
    except ValueError:
        numbers = []
    if len(numbers) != _NUMBERS:
        raise JavaError(f"METEOR: candidate {place}: Meteor answered {answer[:80]!r}, expected {_NUMBERS} numbers")
    return numbers


def _weigh(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Meteor's numbers (N, 23) as the six that `combine` needs (N, 6)."""
    lengths, function_words = numbers[:, 0:2], numbers[:, 2:4]  # (N, 2): of candidate, of reference
    by_matcher = numbers[:, 4:20].reshape(-1, 4, 2, 2)  # (N, matcher, content or function, candidate or reference)
    by_word = np.einsum("nmwt,m->nwt", by_matcher, np.array(MATCHERS))  # (N, content or function, 2)
    matches = DELTA * by_word[:, 0] + (1 - DELTA) * by_word[:, 1]  # (N, 2)
    weighted = DELTA * (lengths - function_words) + (1 - DELTA) * function_words  # (N, 2)
    chunks, matched = numbers[:, 20], numbers[:, 21:23]  # (N,), (N, 2)
    # A candidate that is its reference in one piece has no penalty, and adds none to the set's; no paper says so.
    whole = (chunks == 1) & (matched == lengths).all(1)
    return np.column_stack([matches, weighted, np.where(whole, 0, chunks), matched.mean(1)])


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero where nothing is divided by nothing: no words, no matches."""
    ratio: NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0
    )
    return ratio
