"""`showtell recipes`: the list, and what is asked of one recipe. Its TOML is tested with training."""

import csv
import json
import re
import sys

import click
import pytest
from click.testing import CliRunner

from showtell.cli.recipes import command
from showtell.errors import DataError, EncoderError
from showtell.recipe_reader import read_recipe, recipe_names
from showtell.results import FLICKR8K, RecipeResults, TrainedRun, read_results

TRAINED = {
    "data": FLICKR8K,
    "encoder": "",
    "command": "",
    "epochs": 1,
    "train_minutes": 1.0,
    "trained_on": "",
    "words": 1,
    "parameters": 1,
    "beam_width": 1,
    "captions_per_second": 1.0,
    "decoder_captions_per_second": 1.0,
}


def recipes(*arguments):
    """Run the command; an error of showtell or of usage is raised."""
    return CliRunner().invoke(command, [*map(str, arguments)], standalone_mode=False, catch_exceptions=False).output


def table() -> dict[str, list[str]]:
    """The list as cells by recipe: paper, parameters, CIDEr, BLEU-4; summaries put together at the end."""
    head, *lines = recipes().split("\n\n")[0].splitlines()
    assert head.split() == ["recipe", "what", "it", "is", "paper", "parameters", "CIDEr", "BLEU-4"]
    start, paper, rows = head.index("what"), head.index("paper"), {}
    for line in lines:
        if line[:start].strip():
            name = line[:start].strip()
            rows[name] = [*line[paper:].split(), line[start:paper].strip()]
        else:
            rows[name][-1] += " " + line.strip()
    return rows


# The list


def test_every_recipe_is_listed_with_what_it_is_its_paper_and_its_size():
    rows = table()
    assert list(rows) == recipe_names()
    for name, (paper, size, _, _, summary) in rows.items():
        recipe = read_recipe(name)
        assert summary == recipe.summary
        assert paper == recipe.paper
        assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", paper)
        assert int(size.replace(",", "")) == read_results()[name].parameters


def test_scores_are_those_of_the_best_run_and_a_dash_where_there_is_none(monkeypatch):
    low, high = (TrainedRun(**TRAINED, scores={"CIDEr": c, "BLEU-4": b}) for c, b in ((50.04, 21.0), (51.26, 19.94)))
    measured = {"merge": RecipeResults(words=5, parameters=1234, runs=(low, high))}
    monkeypatch.setattr("showtell.results.read_results", lambda: measured)
    rows = table()
    assert rows["merge"][1:4] == ["1,234", "51.3", "19.9"]
    assert rows["topic"][1:4] == ["-", "-", "-"]


def test_the_list_fits_a_terminal():
    assert max(map(len, recipes().splitlines())) <= 120


def test_the_paper_of_a_recipe_is_that_of_its_decoder():
    pytest.importorskip("torch", reason="needs the training extra")
    from showtell.models import ARCHITECTURES

    for name in recipe_names():
        recipe = read_recipe(name)
        module = sys.modules[ARCHITECTURES[recipe.decoder.architecture].__module__]
        assert recipe.paper in module.__doc__, name


# One recipe


@pytest.fixture
def elsewhere(tmp_path):
    """A table of captions, its pictures in a folder elsewhere, and a split file; all in one folder."""
    pytest.importorskip("torch", reason="needs the training extra")
    from PIL import Image

    pictures = tmp_path / "photos"
    pictures.mkdir()
    (tmp_path / "data").mkdir()
    names = [f"p{i}.png" for i in range(4)]
    for i, name in enumerate(names):
        Image.new("RGB", (40, 40), (60 * i, 0, 0)).save(pictures / name)
    with (tmp_path / "data" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *((name, f"a red picture {name[1]}") for name in names)])
    (tmp_path / "data" / "other.jsonl").write_text(json.dumps({"image": names[0], "caption": "from the other file"}))
    splits = {"train": names[1:], "val": names[:1]}
    (tmp_path / "splits.json").write_text(json.dumps({"format": 1, "splits": splits}))
    return tmp_path


def test_values_are_of_pictures_that_lie_elsewhere_and_of_a_split_file(elsewhere):
    from tiny_training import TINY

    where = ("--images", elsewhere / "photos", "--splits", elsewhere / "splits.json")
    out = recipes(TINY, "--values", elsewhere / "data", *where)
    assert "p1.png, word by word" in out  # p0 is not for training
    assert re.search(r"pictures +uint8 +\(2, 32, 32, 3\)", out)
    with pytest.raises(DataError, match="none of the 4 pictures"):
        recipes(TINY, "--values", elsewhere / "data", *where[2:])
    with pytest.raises(DataError, match="no picture in the train split"):
        recipes(TINY, "--values", elsewhere / "data", *where[:2])


def test_values_are_of_the_format_that_is_named(elsewhere):
    from tiny_training import TINY

    (elsewhere / "splits.json").write_text(json.dumps({"format": 1, "splits": {"train": ["p0.png"]}}))
    where = ("--images", elsewhere / "photos", "--splits", elsewhere / "splits.json")
    assert "picture" in recipes(TINY, "--values", elsewhere / "data", *where).split("word by word")[1]
    told = recipes(TINY, "--values", elsewhere / "data", *where, "--format", "jsonl").split("word by word")[1]
    assert "picture" not in told
    assert re.search(r"<start> +from .* from +the ", told, re.DOTALL)


def test_a_picture_that_cannot_be_read_is_passed_over(elsewhere):
    from tiny_training import TINY

    where = ("--images", elsewhere / "photos", "--splits", elsewhere / "splits.json")
    (elsewhere / "photos" / "p1.png").write_bytes(b"no picture")
    assert "p2.png, word by word" in recipes(TINY, "--values", elsewhere / "data", *where)
    for name in ("p2.png", "p3.png"):
        (elsewhere / "photos" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 3 training pictures can be read; .*p1\.png"):
        recipes(TINY, "--values", elsewhere / "data", *where)


def test_values_are_of_the_weights_that_are_named(elsewhere):
    from safetensors.torch import save_file

    from showtell.models.build_encoder import build_encoder
    from tiny_training import TINY

    encoder = build_encoder(read_recipe(TINY).encoder)
    weights = {name: value * 0 for name, value in encoder.network.state_dict().items()}
    save_file(weights, elsewhere / "zero.safetensors")
    (elsewhere / "zero.json").write_text(json.dumps({"timm_name": "resnet10t"}))
    where = ("--images", elsewhere / "photos", "--splits", elsewhere / "splits.json")
    given = (TINY, "--values", elsewhere / "data", *where, "--encoder-weights", elsewhere / "zero.safetensors")
    with pytest.raises(EncoderError, match="timm_name"):
        recipes(*given)
    out = recipes(*given, "--encoder-config", elsewhere / "zero.json")
    assert re.search(r"regions .* mean 0\.000, deviation 0\.000", out)


def test_values_are_of_region_files(elsewhere):
    import numpy as np

    (elsewhere / "regions").mkdir()
    for i, rows in enumerate((3, 2, 3, 1)):  # of the first training picture one region is not there
        np.savez(elsewhere / "regions" / f"p{i}.npz", features=np.full((rows, 5), 0.5, np.float32))
    small = [part for key in ("embedding", "hidden", "attention") for part in ("--set", f"decoder.{key}=4")]
    small += ["--set", "vocabulary.min_count=1"]
    where = ("--splits", elsewhere / "splits.json", "--regions", elsewhere / "regions")
    out = recipes("up-down", *small, "--values", elsewhere / "data", *where)
    assert "p1.png, word by word" in out
    assert re.search(r"regions +float32 +\(2, 3, 5\)", out)
    assert "nan" not in out
    assert "region 2," not in out.split("word by word")[1]  # nothing looks where nothing is


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images", "x"], "--images goes with --values DATA"),
        (["merge", "--shapes", "--encoder-config", "x.json"], "--encoder-config goes with --values DATA"),
        (["merge", "--words", "5"], "--words goes with --shapes"),
        (["merge", "--values", "d", "--words", "5"], "--words goes with --shapes"),
        (["--values", "d"], "name it"),
    ],
)
def test_options_that_would_do_nothing_are_wrong_usage(arguments, told):
    with pytest.raises(click.UsageError, match=told):
        recipes(*arguments)


def test_what_needs_the_training_extra_says_so(monkeypatch, tmp_path):
    from showtell.cli import options
    from showtell.errors import MissingExtraError

    monkeypatch.setattr(options, "find_spec", lambda name: None)
    for arguments in (("merge", "--shapes"), ("merge", "--values", tmp_path)):
        with pytest.raises(MissingExtraError, match=f"`showtell recipes {arguments[1]}` needs PyTorch"):
            recipes(*arguments)
