"""What each recipe reaches on a test split, beside what was published: scores, sizes, times.

    python benchmarks/recipe_results.py RUN... --data DIR            measure and print
    python benchmarks/recipe_results.py RUN... --data DIR --write    and keep it
    python benchmarks/recipe_results.py --write                      write the tables anew from the file of results

Each RUN, a folder of `showtell train`, is exported; the bundle captions the split with the recipe's own decoding, and
the captions are scored as the COCO caption evaluation does. Captions a second are measured on the split's first
pictures, on two cores: from files, and from regions that are ready. `--write` puts all this into the package's
results.json, where the runs given replace what the file has of their recipes, and into the tables of docs/recipes.md.
The exit code is 1 where a run cannot be measured, or METEOR, which needs Java, is missing.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from common import REPOSITORY, two_cores
from recipe_tables import with_tables
from showtell.captioner import Captioner
from showtell.data.readers import read_dataset
from showtell.errors import RecipeError, ShowtellError
from showtell.evaluation import evaluate
from showtell.metrics.measure import metric_names
from showtell.recipe import Recipe
from showtell.recipe_reader import read_recipe, recipe_names, toml_value
from showtell.region_files import remembered_folder
from showtell.results import FILE, TrainedRun, read_results, to_json
from showtell.training.checkpoint import best_checkpoint, latest_checkpoint, read_state
from showtell.training.run import Run, open_run

ROUNDS = 3  # of measuring the rates; the median counts
PICTURES = 64  # in each
BATCH = 16


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    two_cores()
    results = read_results(options.results)
    failed = False
    replaced: set[str] = set()
    for folder in options.runs:
        try:
            name, run = measure(folder, options.data, options.called, options.split, options.metrics)
        except ShowtellError as error:  # one run must not cost the others
            print(f"{folder}: {error}", file=sys.stderr)
            failed = True
            continue
        kept = results[name].runs if name in replaced else ()
        results[name] = replace(results[name], runs=(*kept, run))
        replaced.add(name)
        failed = failed or len(run.scores) < len(options.metrics)
        print(to_json({name: replace(results[name], runs=(run,))}))
        if options.write:  # after each: an hour of measuring is not lost with the last run
            options.results.write_text(to_json(results), encoding="utf-8")
    if options.write:
        page = options.page.read_text(encoding="utf-8")
        options.page.write_text(with_tables(page, results), encoding="utf-8")
    return 1 if failed else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folder of a finished `showtell train`")
    parser.add_argument("--data", type=Path, help="folder of the data set that all runs were trained on")
    parser.add_argument("--called", default="Flickr8k", help="its name in the results (Flickr8k)")
    parser.add_argument("--split", default="test", help="train, val or test (the default)")
    parser.add_argument("--metrics", type=metric_names, default="bleu,meteor,rouge,cider", help="all that papers print")
    parser.add_argument("--write", action="store_true", help="keep what was measured, and write the tables")
    parser.add_argument("--results", type=Path, default=FILE, help="the file of results (the package's)")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "recipes.md", help="the page of the tables")
    options = parser.parse_args(arguments)
    if bool(options.runs) != bool(options.data) or not (options.runs or options.write):
        parser.error("name runs and --data, or --write alone")
    return options


def measure(folder: Path, data: Path, called: str, split: str, metrics: Sequence[str]) -> tuple[str, TrainedRun]:
    """Score and time a run on a split of the data set that is `called` so; its recipe's name and what was measured."""
    run = open_run(folder)
    if run.recipe.name not in recipe_names():
        raise RecipeError(f"a run of {run.recipe.name!r}, expected one of {', '.join(recipe_names())}")
    examples = read_dataset(data, regions=remembered_folder(folder)).examples
    captioner = Captioner.load(folder, threads=2)
    evaluation = evaluate(captioner, examples, split, metrics)
    for reason in [f"{f.source}: {f.error}" for f in evaluation.failures] + [*evaluation.measured.missing.values()]:
        print(f"{folder}: {reason}", file=sys.stderr)
    whole, decoding = rates(captioner, [example.image for example, _ in evaluation.captions[:PICTURES]])
    facts = read_state(best_checkpoint(folder))[1]
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    return run.recipe.name, TrainedRun(
        data=f"{called} {split}",
        encoder=encoder(run),
        command=command(run),
        epochs=sum(len(history) for history in histories(run)),
        train_minutes=round(sum(map(seconds, histories(run))) / 60, 1),
        trained_on=f"{facts['device']}, {threads}, {'bf16' if facts['bf16'] else 'float32'}",
        words=len(run.vocabulary),
        parameters=sum(weight.numel() for weight in run.model().parameters() if weight.requires_grad),
        beam_width=captioner.decoding.beam_width,
        scores={name: round(100 * score.value, 2) for name, score in evaluation.measured.scores.items()},
        captions_per_second=round(whole, 1),
        decoder_captions_per_second=round(decoding, 1),
    )


def rates(captioner: Captioner, images: Sequence[Path]) -> tuple[float, float]:
    """Captions a second: from files, and from regions that are ready."""
    whole, decoding = [], []
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    pixels = [np.stack([captioner.read(image) for image in batch]) for batch in batches]
    regions = [captioner.encode(batch) for batch in pixels]
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in captioner.stream(images, batch=BATCH):
            pass
        whole.append(time.perf_counter() - began)
        began = time.perf_counter()
        for batch in regions:
            captioner.decode(batch)
        decoding.append(time.perf_counter() - began)
    return len(images) / median(whole), len(images) / median(decoding)


def before(run: Run) -> Run | None:
    """The run with whose weights this one began."""
    return open_run(Path(run.start_from)) if run.start_from else None


def histories(run: Run) -> list[list[dict[str, float]]]:
    """The log of each epoch, of this run and of those that it began with, in the order of training."""
    earlier, latest = before(run), latest_checkpoint(run.folder)
    own = read_state(latest)[0].history if latest else []
    return [*(histories(earlier) if earlier else []), own]


def seconds(history: Sequence[dict[str, float]]) -> float:
    """Seconds of training. An epoch that was stopped and resumed has logged those since, so its speed counts."""
    words = max((epoch["seconds"] * epoch["words/s"] for epoch in history), default=0)  # of a whole epoch
    return sum(words / max(epoch["words/s"], 1) for epoch in history)


def encoder(run: Run) -> str:
    """The encoder in words: "inception_v3 to Mixed_7a, 64 x 1280"."""
    options = run.recipe.encoder
    network = f"{options.name} to {options.layer}" if options.layer else options.name
    learnt = f", learns from {options.train_from or 'its first layer'} on" if options.train else ""
    return f"{network}, {run.encoder.region_count} x {run.encoder.region_size}{learnt}"


def command(run: Run) -> str:
    """The lines that train such a run, after those that train what it began with."""
    earlier = before(run)
    parts = [f"showtell train --recipe {run.recipe.name} --data flickr8k --out runs/{run.folder.name}"]
    changes = settings(run.recipe)
    if earlier:
        parts.append(f"--from runs/{earlier.folder.name}")
    if run.source.regions:  # no network stands before the files, and their sizes are their own
        parts.append("--regions DIR")
        changes = [change for change in changes if not change.startswith("encoder.") or "encoder.output=" in change]
    elif run.recipe.encoder.pretrained and not earlier:
        parts.append("--encoder-weights FILE")
    parts += [f"--set {shlex.quote(change)}" for change in changes]
    return (f"{command(earlier)}\n" if earlier else "") + " \\\n    ".join(parts)


def settings(recipe: Recipe) -> list[str]:
    """`key=value` for each key that differs from the recipe of this name that ships."""
    shipped = read_recipe(recipe.name).to_dict()
    return [
        f"{table}.{key}={value if isinstance(value, str) else toml_value(value)}"
        for table, values in recipe.to_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if shipped[table].get(key) != value
    ]


if __name__ == "__main__":
    sys.exit(main())
