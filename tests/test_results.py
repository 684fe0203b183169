"""The file of results, the page that shows it, and the script that measures both."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from showtell.recipe import Recipe
from showtell.recipe_reader import read_recipe, recipe_names
from showtell.results import FILE, FLICKR8K, RecipeResults, TrainedRun, read_results, to_json

REPOSITORY = Path(__file__).parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"

RUN = TrainedRun(
    data=FLICKR8K,
    encoder="small to layer3, 16 x 128",
    command="showtell train --recipe merge --data flickr8k --out runs/m",
    epochs=3,
    train_minutes=12.4,
    trained_on="cpu, 1 thread, bf16",
    words=2540,
    parameters=1_234_567,
    beam_width=3,
    scores={"BLEU-1": 60.06, "BLEU-2": 41.0, "BLEU-3": 28.0, "BLEU-4": 19.96, "ROUGE-L": 45.0, "CIDEr": 51.24},
    captions_per_second=41.7,
    decoder_captions_per_second=310.2,
)


@pytest.fixture
def scripts(monkeypatch):
    """The benchmarks' folder, from which its modules are imported."""
    if not BENCHMARKS.is_dir():
        pytest.skip("needs the repository")
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def row_of(page: str, first: str) -> list[str]:
    """The cells behind the first one of the only table row that begins so and tells scores."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(f"| {first} |")]
    (found,) = [row for row in rows if len(row) == 9 and not row[1].isdigit()]
    return found[1:]


def commands_in(text: str) -> list[str]:
    """The commands of a text, each in one line."""
    return text.replace("\\\n", " ").splitlines()


def recipe_of(command: str) -> Recipe:
    """The recipe that a `showtell train` trains."""
    words = shlex.split(command)
    assert words[:3] == ["showtell", "train", "--recipe"]
    return read_recipe(words[3], [words[i + 1] for i, word in enumerate(words) if word == "--set"])


# The file


def test_every_recipe_that_ships_has_its_size():
    assert sorted(read_results()) == recipe_names()


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_the_size_of_a_recipe_is_that_of_its_decoder_behind_its_own_encoder(name):
    pytest.importorskip("torch", reason="needs the training extra")
    from showtell.models import build_decoder
    from showtell.models.build_encoder import build_encoder

    recipe, told = read_recipe(name), read_results()[name]
    encoder = build_encoder(replace(recipe.encoder, pretrained=False))
    decoder = build_decoder(recipe, encoder, told.words)
    assert told.parameters == sum(weight.numel() for weight in decoder.parameters())


def test_results_are_read_as_they_are_written(tmp_path):
    results = {"merge": RecipeResults(words=10, parameters=20, runs=(RUN,))}
    path = tmp_path / "results.json"
    path.write_text(to_json(results), encoding="utf-8")
    assert read_results(path) == results
    assert to_json(read_results()) == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("epochs", 2.5, "epochs is 2.5, expected int"), ("beam", 3, "'beam'"), ("scores", {"CIDEr": "5"}, "score CIDEr")],
)
def test_a_key_of_another_kind_is_named(tmp_path, key, value, told):
    table = json.loads(to_json({"merge": RecipeResults(words=10, parameters=20, runs=(RUN,))}))
    table["recipes"]["merge"]["runs"][0][key] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(TypeError, match=re.escape(told)):
        read_results(path)


def test_the_best_run_is_that_with_the_highest_cider_of_the_same_data():
    better = replace(RUN, scores=RUN.scores | {"CIDEr": 52.0})
    other = replace(RUN, data="Flickr8k val", scores=RUN.scores | {"CIDEr": 90.0})
    results = RecipeResults(words=10, parameters=20, runs=(RUN, better, other))
    assert results.best() is better
    assert results.best("Flickr8k val") is other
    assert results.best("COCO test") is None


def test_commands_of_runs_name_recipes_and_keys_that_there_are():
    for name, entry in read_results().items():
        for run in entry.runs:
            averaging = [command for command in commands_in(run.command) if command.startswith("showtell average ")]
            trainings = [command for command in commands_in(run.command) if command not in averaging]
            assert [recipe_of(command) for command in trainings][-1].name == name


# The page


def test_the_page_shows_the_file(scripts):
    from recipe_tables import with_tables

    page = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert with_tables(page, read_results()) == page, "write it with benchmarks/recipe_results.py --write"


def test_a_row_of_the_page_holds_the_scores_of_a_run_beside_the_published(scripts):
    from recipe_tables import BEGIN, END, with_tables

    page = with_tables(f"# Mine\n{BEGIN}\nold\n{END}\nafter\n", {"merge": RecipeResults(words=1, parameters=2)})
    assert page.startswith(f"# Mine\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    with pytest.raises(ValueError, match="end of tables"):
        with_tables(f"# Mine\n{BEGIN}\n", {})
    page = with_tables(page, {"merge": RecipeResults(words=10, parameters=20, runs=(RUN,))})
    assert row_of(page, "`merge`") == [RUN.encoder, "60.1", "41.0", "28.0", "20.0", "-", "45.0", "51.2"]
    published = row_of(page, "VGG16 Show and Tell, frozen, beam 3²")
    assert published == ["published", "60.8", "42.4", "29.0", "19.8", "19.1", "44.7", "47.8"]
    assert "| `merge` | 3 | 12 | cpu, 1 thread, bf16 | 2,540 | 1,234,567 | 3 | 42 | 310 |" in page


# The script


def test_an_epoch_that_was_resumed_counts_whole(scripts):
    pytest.importorskip("torch", reason="needs the training extra")
    from recipe_results import seconds

    # 1,000 words an epoch; of the second only the last fifth is in the log.
    assert seconds([{"seconds": 10, "words/s": 100}, {"seconds": 2, "words/s": 100}]) == 20
    assert seconds([{"seconds": 10, "words/s": 100}, {"seconds": 20, "words/s": 50}]) == 30
    assert seconds([]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set and two runs on it that call themselves `shapes`; the second began with the first."""
    pytest.importorskip("torch", reason="needs the training extra")
    from showtell.data.shapes import make_shapes
    from tiny_training import LEARNING, tiny_trainer

    folder = tmp_path_factory.mktemp("results")
    data, runs = folder / "shapes", [folder / "first", folder / "second"]
    make_shapes(data, train=24, val=4, test=6, size=32, seed=0)
    settings = ("name=shapes", *LEARNING, "training.epochs=2", "decoding.beam_width=2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(folder / "cache"))
        for out, before in zip(runs, (None, runs[0]), strict=True):
            tiny_trainer(data, out, *settings, start_from=before, base=())[0].train()
    return data, runs


@pytest.mark.slow
def test_what_a_run_reaches_is_kept_and_shown(scripts, trained, tmp_path, monkeypatch):
    import recipe_results
    from recipe_tables import BEGIN, END
    from showtell.captioner import Captioner
    from showtell.data.readers import read_dataset
    from showtell.evaluation import evaluate

    monkeypatch.setattr(recipe_results, "two_cores", lambda: None)  # it would bind all later tests too
    data, (first, second) = trained
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    stale = replace(RUN, epochs=99)
    results.write_text(to_json({"shapes": RecipeResults(words=22, parameters=5, runs=(stale,))}), encoding="utf-8")
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    where = ("--data", data, "--metrics", "bleu,rouge,cider", "--results", results, "--page", page)
    before = results.read_text()
    assert recipe_results.main([*map(str, (first, *where))]) == 0
    assert results.read_text() == before, "only --write keeps anything"
    assert recipe_results.main([*map(str, (first, second, *where, "--write"))]) == 0
    one, two = read_results(results)["shapes"].runs

    assert (one.epochs, two.epochs) == (2, 4)
    assert one.encoder == "resnet10t to layer1, 64 x 64, learns from its first layer on"
    assert one.beam_width == 2
    scores = evaluate(Captioner.load(first), read_dataset(data).examples, "test").measured.scores
    assert one.scores == {name: round(100 * score.value, 2) for name, score in scores.items()}
    cells = [run.encoder for run in (one, two)]
    shown = [line for line in page.read_text().splitlines() if any(f"| {cell} |" in line for cell in cells)]
    for line, run in zip(shown, (one, two), strict=True):
        assert line.split(" | ")[-1].rstrip(" |") == f"{run.scores['CIDEr']:.1f}"
        assert "| - |" in line  # METEOR was not asked for
    assert f"| {one.parameters:,} |" in page.read_text()


def test_the_commands_of_a_run_train_its_recipe(scripts, trained):
    from recipe_results import command
    from showtell.training.run import open_run

    _, (first, second) = trained
    earlier, last = commands_in(command(open_run(second)))
    assert [earlier] == commands_in(command(open_run(first)))
    for line, folder in ((earlier, first), (last, second)):
        told, trained_recipe = recipe_of(line).to_dict(), open_run(folder).recipe.to_dict()
        for table in ("encoder", "decoder", "vocabulary", "training", "decoding"):
            assert told[table] == trained_recipe[table]
    assert "--from runs/first" in last
    assert "--from" not in earlier
