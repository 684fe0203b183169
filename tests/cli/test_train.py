"""features, train, evaluate, export and recipes, run as a user runs them, on a data set of a few shapes."""

import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from command_line import showtell  # noqa: E402
from showtell.data.shapes import make_shapes  # noqa: E402
from showtell.recipe_reader import read_recipe, recipe_from_dict, recipe_names  # noqa: E402
from tiny_training import FEATURES, LEARNING, PIXELS, TINY, flags  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")

SHORT = flags([*FEATURES, "training.epochs=1"])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, train=48, val=6, test=6, size=32, seed=0)
    return folder


@pytest.fixture(scope="module")
def way(shapes, tmp_path_factory):
    """The whole way, each command once: what each said, by name, and the folder of run and bundle."""
    folder = tmp_path_factory.mktemp("way")
    run = folder / "run"
    settings = [*PIXELS, *LEARNING]
    said = {
        "train": showtell(
            *("train", "--recipe", TINY, "--data", shapes, "--out", run, "--threads", 1),
            *flags([*settings, "training.epochs=10"]),
        ),
        "resume": showtell("train", "--data", shapes, "--out", run, "--resume", "--set", "training.epochs=12"),
        "again": showtell("train", "--data", shapes, "--out", run, "--resume"),
        "evaluate": showtell(
            *("evaluate", run, "--data", shapes, "--split", "test", "--json", "--threads", 1),
            *("--out", folder / "captions.jsonl"),
        ),
        "export": showtell("export", run, "--score", "test CIDEr=3.5"),
    }
    return folder, said


@pytest.mark.parametrize("command", ["train", "resume", "again", "evaluate", "export"])
def test_every_command_of_the_way_succeeds(way, command):
    result = way[1][command]
    assert result.code == 0, result.err
    assert "Traceback" not in result.out + result.err


def test_training_tells_each_epoch_and_what_to_do_next(way):
    folder, said = way
    epochs = {
        name: [line.split()[1] for line in result.out.splitlines() if line.startswith("epoch ")]
        for name, result in said.items()
    }
    out = said["train"].out
    assert out.startswith("tiny: 48 training pictures, 6 for validation, ")
    assert epochs["train"] == [f"{i}/10" for i in range(1, 11)]
    assert f"next: showtell evaluate {folder / 'run'} --data DIR --split test" in out
    assert "going on in epoch 11 at step 0 of 6" in said["resume"].out
    assert epochs["resume"] == ["11/12", "12/12"]
    assert epochs["again"] == []
    assert "all epochs are done, 12 of 12; for more: --resume --set training.epochs=N" in said["again"].out


def test_scores_are_json_on_standard_output_and_captions_in_the_file(way, shapes):
    folder, said = way
    scores = json.loads(said["evaluate"].out)
    assert (scores["split"], scores["pictures"]) == ("test", 6)
    assert {"CIDEr", "BLEU-1", "BLEU-4"} <= set(scores["scores"])
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"images/test-0000{i}.png" for i in range(6)]
    assert all(line["path"] == str(shapes / line["id"]) and line["caption"] for line in lines)


def test_the_bundle_and_the_run_say_the_same(way, shapes):
    folder, said = way
    bundle = folder / "run" / "bundle-float32"
    assert said["export"].out.startswith(f"{bundle}: ")
    assert said["export"].out.endswith(f"use it: showtell caption --model {bundle} PICTURE\n")
    assert "captions equal on 100.0% of 6 validation pictures" in said["export"].err
    pictures = sorted((shapes / "images").glob("test-*.png"))
    told = [showtell("caption", "--model", model, "--threads", 1, *pictures) for model in (bundle, folder / "run")]
    assert [result.code for result in told] == [0, 0]
    assert told[0].out == told[1].out
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert told[0].out == "".join(f"{line['path']}\t{line['caption']}\n" for line in lines)
    assert len({line["caption"] for line in lines}) >= 2  # it looks at the picture
    scores = showtell("evaluate", bundle, "--data", shapes, "--json", "--threads", 1)
    assert json.loads(scores.out) == json.loads(said["evaluate"].out)
    assert json.loads((bundle / "manifest.json").read_text())["scores"]["test CIDEr"] == 3.5


def test_scores_are_a_table_without_json_and_damaged_pictures_cost_the_exit_code(way, shapes, tmp_path):
    folder, _ = way
    shutil.copytree(shapes, tmp_path / "shapes")
    (tmp_path / "shapes" / "images" / "test-00003.png").write_bytes(b"no picture")
    bundle = folder / "run" / "bundle-float32"
    result = showtell("evaluate", bundle, "--data", tmp_path / "shapes", "--threads", 1)
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0] == "5 pictures of test, 1 could not be read"
    assert [line.split()[0] for line in lines[3:]][:6] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert len(result.err.splitlines()) == 1
    assert "test-00003.png" in result.err


def test_features_fill_the_store_that_training_then_finds_full(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOWTELL_CACHE", str(tmp_path / "cache"))
    result = showtell("features", "--recipe", TINY, "--data", shapes, *flags(FEATURES))
    assert result.code == 0, result.err
    assert result.out.startswith(f"60 pictures in {tmp_path / 'cache' / 'features'}")

    monkeypatch.setattr("showtell.images.to_pixels", lambda *_: pytest.fail("made again"))
    trained = showtell("train", "--recipe", TINY, "--data", shapes, "--out", tmp_path / "run", *SHORT)
    assert trained.code == 0, trained.err


def test_a_part_of_the_captions_is_trained_on_and_its_features_alone_are_made(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOWTELL_CACHE", str(tmp_path / "cache"))
    part = ("--limit-captions", 20, "--seed", 3)
    filled = showtell("features", "--recipe", TINY, "--data", shapes, *part, *flags(FEATURES))
    assert filled.code == 0, filled.err
    assert filled.out.startswith("32 pictures in ")  # 20 of the train split, and all of val and test

    monkeypatch.setattr("showtell.images.to_pixels", lambda *_: pytest.fail("another part"))
    train = ("train", "--data", shapes, "--out", tmp_path / "run")
    result = showtell(*train, "--recipe", TINY, *part, *SHORT)
    assert result.code == 0, result.err
    assert "20 of 48 training captions, of 20 of 48 pictures\n" in result.err
    assert result.out.startswith("tiny: 20 training pictures, 6 for validation, ")
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["training"]["limit_captions"], recipe["training"]["seed"]) == (20, 3)
    again = showtell(*train, "--resume", *part, "--set", "training.epochs=2")
    assert again.code == 0, again.err
    assert "epoch 2/2" in again.out
    _one_line(showtell(*train, "--resume", "--limit-captions", 21), "was trained with another training.limit_captions")
    _one_line(showtell(*train, "--recipe", TINY, "--limit-captions", 0), "0 is not in the range x>=1", code=2)


def test_features_name_a_folder_and_each_picture_that_cannot_be_read(shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / "shapes")
    (tmp_path / "shapes" / "images" / "train-00001.png").unlink()
    (tmp_path / "shapes" / "images" / "test-00001.png").write_bytes(b"")
    arguments = ("features", "--recipe", TINY, "--data", tmp_path / "shapes", "--features", tmp_path / "store")
    result = showtell(*arguments, *flags(FEATURES))
    assert result.code == 1
    assert result.out == f"58 pictures in {tmp_path / 'store'}\n"
    assert len(result.err.splitlines()) == 2
    assert all(name in result.err for name in ("train-00001.png", "test-00001.png"))


def test_from_another_run_training_begins_where_that_one_was_best(way, shapes, tmp_path):
    folder, said = way
    settings = flags([*PIXELS, *LEARNING, "training.epochs=1", "training.learning_rate=1e-6"])
    result = showtell(
        "train", "--recipe", TINY, "--data", shapes, "--out", tmp_path / "run", "--from", folder / "run", *settings
    )
    assert result.code == 0, result.err
    first = float(said["train"].out.split("loss ")[1].split()[0])
    assert float(result.out.split("loss ")[1].split()[0]) < 0.6 * first


# What is wrong is one line


def _one_line(result, *expected, code=1):
    assert result.code == code
    assert result.out == ""
    lines = result.err.splitlines()
    if code == 2:
        lines = [line for line in lines if not line.startswith(("Usage:", "Try ")) and line]
    assert len(lines) == 1, result.err
    for text in expected:
        assert text in lines[0]
    assert "Traceback" not in result.err
    assert "unexpected" not in result.err


@pytest.fixture
def train(shapes, tmp_path):
    def run(*arguments, recipe=TINY, data=shapes, out=tmp_path / "run"):
        chosen = ["--recipe", recipe] if recipe else []
        return showtell("train", *chosen, "--data", data, "--out", out, *arguments)

    return run


def test_a_misspelt_recipe_or_setting_is_told(train, tmp_path):
    _one_line(train(recipe="shaps"), "no recipe 'shaps' (did you mean 'shapes'?); known are ")
    _one_line(train("--set", "training.epoch=3"), "unknown key 'training.epoch' (did you mean 'epochs'?)")
    _one_line(train("--set", "training.epochs=many"), "training.epochs is 'many', expected int")
    _one_line(train("--set", "decoder.cell=rnn"), "decoder.cell is 'rnn', known are lstm, gru")
    _one_line(train("--set", "training.epochs"), "expected key=value, such as training.batch=64")
    _one_line(train("--set", "encoder.name=resnet10"), "timm knows no model 'resnet10'; near are resnet10t")
    _one_line(train(*flags(FEATURES), "--set", "encoder.layer=layer8"), "resnet10t has no layer 'layer8'; near are")
    assert not (tmp_path / "run").exists()


def test_without_recipe_or_with_a_wrong_option_the_usage_is_told(train, tmp_path):
    _one_line(train(recipe=None), "name a recipe with --recipe (see `showtell recipes`), or go on with", code=2)
    _one_line(train("--device", "tpu"), "'tpu' is not one of 'auto', 'cpu', 'cuda'", code=2)
    _one_line(showtell("train", "--recipe", TINY, "--out", tmp_path / "run"), "Missing option '--data'", code=2)
    _one_line(train("--reciep", "x"), "No such option '--reciep'", code=2)
    _one_line(train("--resume", recipe=None), "no run to resume; start one with --recipe NAME")


def test_a_data_set_that_is_empty_missing_or_without_splits_is_told(train, tmp_path):
    (tmp_path / "empty").mkdir()
    _one_line(train(data=tmp_path / "empty"), str(tmp_path / "empty"))
    _one_line(train(data=tmp_path / "gone"), str(tmp_path / "gone"))
    _one_line(showtell("features", "--recipe", TINY, "--data", tmp_path / "gone"), str(tmp_path / "gone"))
    make_shapes(tmp_path / "tests", train=0, val=0, test=3, size=32)
    _one_line(train(data=tmp_path / "tests"), "no picture in the train split (3 pictures, splits: test)")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_trained_over_nor_continued_as_another(train, shapes, tmp_path):
    assert train(*SHORT).code == 0
    _one_line(train(*SHORT), "holds a run already; go on with --resume, begin with it by --from, or name another")
    _one_line(train("--resume", "--set", "decoder.hidden=17", recipe=None), "was trained with another decoder.hidden")
    _one_line(train("--resume", recipe="pocket"), "was trained with another decoder.attention, decoder.cell")
    make_shapes(tmp_path / "other", train=10, val=2, test=2, size=32, seed=3)
    _one_line(train("--resume", recipe=None, data=tmp_path / "other"), "the data set has changed since the run began")


def test_a_damaged_checkpoint_is_told_and_a_finished_run_survives(train, tmp_path):
    assert train(*SHORT).code == 0
    model = tmp_path / "run" / "checkpoints" / "00001-00000" / "model.safetensors"
    content = model.read_bytes()
    model.write_bytes(content[:1000])
    _one_line(train("--resume", recipe=None), "model.safetensors: damaged or missing", "delete this checkpoint")
    _one_line(showtell("export", tmp_path / "run"), "model.safetensors: damaged or missing")
    model.write_bytes(content)
    assert train("--resume", recipe=None).code == 0


def test_from_something_that_is_no_run_is_told(train, tmp_path):
    _one_line(train("--from", tmp_path), "not a run of `showtell train`")


def test_a_missing_training_extra_is_named(train, monkeypatch, tmp_path):
    from showtell.cli import options

    monkeypatch.setattr(options, "find_spec", lambda name: None if name == "timm" else object())
    expected = "needs PyTorch and timm: pip install 'showtell[train]'"
    _one_line(train(*SHORT), "`showtell train` " + expected)
    _one_line(showtell("features", "--recipe", TINY, "--data", tmp_path), "`showtell features` " + expected)
    _one_line(showtell("export", tmp_path), "`showtell export` " + expected)


def test_what_evaluate_and_export_cannot_use_is_told(way, shapes, tmp_path):
    bundle = way[0] / "run" / "bundle-float32"
    _one_line(showtell("evaluate", tmp_path, "--data", shapes), "no bundle", str(tmp_path))
    _one_line(showtell("evaluate", bundle, "--data", shapes, "--split", "tset"), "split 'tset'; the data set's splits")
    _one_line(showtell("evaluate", bundle, "--data", tmp_path / "gone"), "gone")
    _one_line(showtell("evaluate", bundle), "Missing option '--data'", code=2)
    _one_line(showtell("export", tmp_path / "gone"), "gone: not a run of `showtell train`")
    _one_line(showtell("export", way[0] / "run", "--weights", "int4"), "'int4' is not one of", code=2)
    for score in ("CIDEr", "5", "=5", "CIDEr=high"):
        _one_line(showtell("export", way[0] / "run", "--score", score), f"'{score}': expected NAME=NUMBER", code=2)


# Recipes


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_shown_as_toml_that_is_the_same_recipe(name, tmp_path):
    changes = ["--set", "training.batch=7", "--set", 'encoder.arguments={a = 1, "b c" = "ü 🐕"}']
    result = showtell("recipes", name, *changes)
    assert result.code == 0
    expected = read_recipe(name, changes[1::2])
    assert recipe_from_dict(tomllib.loads(result.out)) == expected
    path = tmp_path / "mine.toml"
    path.write_text(result.out, encoding="utf-8")
    assert read_recipe(str(path)) == expected


def test_an_unknown_recipe_and_a_setting_of_none_are_told():
    _one_line(showtell("recipes", "pockt"), "no recipe 'pockt' (did you mean 'pocket'?)")
    _one_line(
        showtell("recipes", "--set", "training.batch=3"),
        "--set, --shapes and --values are of one recipe: name it",
        code=2,
    )


# As a process


@pytest.mark.slow
def test_ctrl_c_ends_a_process_cleanly_and_the_run_goes_on(shapes, tmp_path):
    command = [sys.executable, "-m", "showtell", "train", "--data", str(shapes), "--out", str(tmp_path / "run")]
    settings = flags([*FEATURES, "training.epochs=4000", "training.batch=4"])
    process = subprocess.Popen(
        [*command, "--recipe", TINY, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch 1/"):
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert "all is saved, go on with --resume" in err
    done = int(err.split("stopped in epoch ")[1].split()[0])
    again = showtell("train", *command[4:], "--resume", "--set", f"training.epochs={done + 1}")
    assert again.code == 0, again.err
    assert f"going on in epoch {done} at step" in again.out
