"""Raw captions and references -> every figure that is printed of them. What `score` and `evaluate` share.

N pictures, B candidates: as many where each picture has one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from showtell.errors import DataError, ShowtellError
from showtell.metrics.diversity import diversity
from showtell.metrics.documents import Documents
from showtell.metrics.oracle import best_of
from showtell.metrics.repetition import repeats
from showtell.metrics.score import DEFAULT, METRICS, Score, score
from showtell.metrics.tokenizer import tokenize_all

DIVERSITY = "diversity"
# In the order in which papers print them.
_ORDER = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "CIDEr-plain", "SPICE")
# What --metrics takes beside the full names.
_SHORT = {"bleu": _ORDER[:4], "rouge": ("ROUGE-L",), DIVERSITY: (DIVERSITY,)}
_JAVA = ("METEOR", "SPICE")


@dataclass(frozen=True)
class Measured:
    """What was measured of one set of candidates."""

    scores: dict[str, Score]  # by name, over N pictures; of several candidates the best
    of_candidates: dict[str, Score]  # the same over all B candidates
    figures: dict[str, float]  # other than scores: shares in %, words, counts
    missing: dict[str, str] = field(default_factory=dict)  # metric that was asked for -> why it is not there


def metric_names(text: str | None) -> tuple[str, ...]:
    """Names of `METRICS`, and "diversity", from a list parted by commas; None gives the default ones.

    Case does not matter, and "bleu" is all four. Raises `DataError` on an unknown name.
    """
    if text is None:
        return DEFAULT
    known = {name.lower(): (name,) for name in METRICS} | _SHORT
    names: set[str] = set()
    for word in text.split(","):
        if word.strip().lower() not in known:
            short = [name for name in known if not name.startswith("bleu-") and name != "rouge-l"]
            raise DataError(f"{word.strip()!r} is not known, expected some of {', '.join(sorted(short))}")
        names.update(known[word.strip().lower()])
    return tuple(name for name in (*_ORDER, DIVERSITY) if name in names)


def tokenize_references(references: Sequence[Sequence[str]]) -> list[list[str]]:
    """Raw references of each picture -> their words as the scores take them."""
    words = iter(tokenize_all(chain.from_iterable(references)))
    return [[next(words) for _ in captions] for captions in references]


def measure(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = DEFAULT,
    documents: Documents | None = None,
    *,
    training: Iterable[str] | None = None,
    spice_models: Path | None = None,
) -> Measured:
    """Score raw `candidates`, one or more for each of N pictures, against `references` of `tokenize_references`.

    `metrics` are those of `metric_names`. `training` are raw captions that the candidates may repeat. A metric that
    needs Java and cannot run is in `Measured.missing` and costs no other; otherwise raises what `score` raises.
    """
    sizes = [len(captions) for captions in candidates]
    words = tokenize_all(chain.from_iterable(candidates))
    pictures = [picture for picture, size in enumerate(sizes) for _ in range(size)]
    names = [name for name in metrics if name != DIVERSITY]
    missing: dict[str, str] = {}
    found = score(words, references, [n for n in names if n not in _JAVA], documents, pictures=pictures)
    for name in names:
        if name in _JAVA:
            try:
                found |= score(words, references, [name], pictures=pictures, spice_models=spice_models)
            except ShowtellError as error:
                missing[name] = str(error)
    found = {name: found[name] for name in names if name in found}
    best = {name: best_of(one, sizes) for name, one in found.items()} if max(sizes) > 1 else found
    figures = diversity_figures(words, training) if DIVERSITY in metrics else {}
    return Measured(best, found, figures, missing)


def diversity_figures(captions: Sequence[str], training: Iterable[str] | None = None) -> dict[str, float]:
    """How varied tokenized captions are, by the name that is printed; `training` are raw captions."""
    known = None if training is None else set(tokenize_all(training))
    found = diversity(captions, known)
    figures = {f"distinct-{n}, %": 100 * share for n, share in enumerate(found.distinct, start=1)}
    figures["different captions, %"] = 100 * found.distinct_captions
    if found.novel is not None:
        figures["novel captions, %"] = 100 * found.novel
    figures["repeating captions, %"] = 100 * sum(repeats(text.split()) for text in captions) / len(captions)
    figures["words used"] = found.vocabulary
    figures["words per caption"] = found.mean_length
    return figures
