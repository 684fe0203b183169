"""The tables of docs/recipes.md, made of the package's results.json and of what others have published."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from showtell.recipe import EncoderOptions
from showtell.recipe_reader import read_recipe
from showtell.results import FLICKR8K, RecipeResults, TrainedRun

BEGIN = "<!-- tables: written by benchmarks/recipe_results.py --write -->"
END = "<!-- end of tables -->"
METRICS = {"B1": "BLEU-1", "B2": "BLEU-2", "B3": "BLEU-3", "B4": "BLEU-4"} | {
    name: name for name in ("METEOR", "ROUGE-L", "CIDEr")
}
# On Flickr8k's test split, by one model whose encoder was trained on ImageNet, without other captions; as published.
PUBLISHED: dict[str, Sequence[float | None]] = {
    "Show and Tell (Vinyals et al. 2015)¹": (63, 41, 27, None, None, None, None),
    "Show, Attend and Tell, soft (Xu et al. 2015)¹": (67.0, 44.8, 29.9, 19.5, 18.9, None, None),
    "Show, Attend and Tell, hard (Xu et al. 2015)¹": (67.0, 45.7, 31.4, 21.3, 20.3, None, None),
    "VGG16 Show and Tell, frozen, beam 3²": (60.8, 42.4, 29.0, 19.8, 19.1, 44.7, 47.8),
    "ResNet50 + LSTM, fine-tuned": (62.7, 45.1, 31.9, 22.1, 21.4, 47.8, 55.1),
    "ResNet101 + LSTM-1024, fine-tuned": (63.0, 45.4, 31.9, 22.0, 21.9, 48.1, 58.6),
    "ResNet152 adaptive attention, fine-tuned, beam 5³": (65.9, 48.0, 33.9, 23.5, 20.7, 47.6, 58.9),
}


def with_tables(page: str, results: Mapping[str, RecipeResults]) -> str:
    """The page with the tables of `results` between its two marks. Raises `ValueError` where a mark is missing."""
    parts = re.split(f"({re.escape(BEGIN)}|{re.escape(END)})", page)
    if [parts[1:2], parts[3:4], len(parts)] != [[BEGIN], [END], 5]:
        raise ValueError(f"expected one {BEGIN!r} and one {END!r} behind it")
    return f"{parts[0]}{BEGIN}\n\n{tables(results)}\n{END}{parts[4]}"


def tables(results: Mapping[str, RecipeResults]) -> str:
    """All tables, as Markdown."""
    runs = [(name, run) for name, entry in sorted(results.items()) for run in entry.runs]
    parts = ["### Sizes", "", *_table(("recipe", "encoder", "words", "decoder's parameters"), _sizes(results)), ""]
    parts += ["### Scores", "", *_table(("model", "encoder", *METRICS), [*_scores(runs), *_published()]), ""]
    if runs:
        head = ("recipe", "epochs", "minutes", "on", "words", "parameters that learnt", "beam")
        parts += ["### Cost", "", *_table((*head, "captions/s", "from ready regions"), _costs(runs)), ""]
        parts += ["### Commands", "", "```text", *(run.command for _, run in runs), "```", ""]
    return "\n".join(parts)


def _sizes(results: Mapping[str, RecipeResults]) -> Iterator[Sequence[str]]:
    for name, entry in sorted(results.items()):
        yield f"`{name}`", _encoder(read_recipe(name).encoder), f"{entry.words:,}", f"{entry.parameters:,}"


def _encoder(options: EncoderOptions) -> str:
    layer = f" to `{options.layer}`" if options.layer else ""
    return f"`{options.name}`{layer}, {options.output}, {f'{options.size} px' if options.size else 'its own size'}"


def _scores(runs: Iterable[tuple[str, TrainedRun]]) -> Iterator[Sequence[str]]:
    for name, run in runs:
        yield _name(name, run), run.encoder, *(_points(run.scores.get(metric)) for metric in METRICS.values())


def _published() -> Iterator[Sequence[str]]:
    for name, scores in PUBLISHED.items():
        yield name, "published", *("-" if score is None else str(score) for score in scores)


def _costs(runs: Iterable[tuple[str, TrainedRun]]) -> Iterator[Sequence[str]]:
    for name, run in runs:
        cost = str(run.epochs), f"{run.train_minutes:.0f}", run.trained_on, f"{run.words:,}", f"{run.parameters:,}"
        rates = (f"{rate:.{0 if rate >= 10 else 1}f}" for rate in _rates(run))
        yield _name(name, run), *cost, str(run.beam_width), *rates


def _rates(run: TrainedRun) -> tuple[float, float]:
    return run.captions_per_second, run.decoder_captions_per_second


def _name(name: str, run: TrainedRun) -> str:
    return f"`{name}`" + ("" if run.data == FLICKR8K else f" ({run.data})")


def _points(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
