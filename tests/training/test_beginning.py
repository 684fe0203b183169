"""A run that cannot begin: told in one line, before the pictures are looked at, and nothing is left in its place."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.errors import CheckpointError, DataError, RecipeError, ShowtellError  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from showtell.training.run import check_place  # noqa: E402
from tiny_training import FEATURES, TINY, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def _begin(data, out, *settings, resume=False, start_from=None, **asked):
    recipe = read_recipe(TINY, [*FEATURES, *settings])
    said = []
    request = Request(data=data, **asked)
    return prepare(request, out, recipe=recipe, resume=resume, start_from=start_from, say=said.append), said


def _never(*_, **__):
    raise AssertionError("a picture was looked at")


@pytest.fixture(scope="module")
def few_words(few_shapes, tmp_path_factory):
    """A finished run that knows fewer words."""
    folder = tmp_path_factory.mktemp("few") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.getbasetemp() / "beginning-cache"))
        assert tiny_trainer(few_shapes, folder, "training.epochs=1", "training.limit_captions=3")[0].train()
        assert tiny_trainer(few_shapes, folder.with_name("whole"), "training.epochs=1")[0].train()
    return folder


@pytest.mark.parametrize(
    ("settings", "asked", "error", "text"),
    [
        (["vocabulary.min_count=9999"], {}, ShowtellError, "no word occurs 9999 times"),
        (["decoder.architecture=nix"], {}, RecipeError, "architecture is 'nix'"),
        (["encoder.layer=nix"], {}, ShowtellError, "has no layer 'nix'"),
        (["encoder.output=pooled"], {}, RecipeError, "attends to regions, the encoder gives one"),
        ([], {"captions": "none.jsonl"}, DataError, "none.jsonl: cannot be read"),
        ([], {"text": "none.txt"}, DataError, "none.txt: cannot be read"),
        ([], {"word_vectors": "none.vec"}, DataError, "none.vec: cannot be read"),
        ([], {"word_vectors": "wrong.vec"}, DataError, "wrong.vec:1: found 2 numbers, expected 16"),
        ([], {"teachers": "none"}, CheckpointError, "none: no such folder, expected a run"),
        ([], {"teachers": ["whole", "run"]}, CheckpointError, "and not the same; a teacher needs the same vocabulary"),
        ([], {"start_from": "none"}, CheckpointError, "none: not a run of `showtell train` (no such folder)"),
        ([], {"features": "wrong.vec"}, ShowtellError, "wrong.vec is a file, expected a folder"),
        ([], {"data": "none"}, DataError, "none: is not there, expected the folder of a data set"),
    ],
)
def test_it_is_told_before_a_picture_is_looked_at_and_leaves_nothing(
    few_shapes, few_words, tmp_path, monkeypatch, settings, asked, error, text
):
    (tmp_path / "wrong.vec").write_text("red 1 2\n")
    monkeypatch.chdir(tmp_path)
    places = {"run": few_words, "whole": few_words.with_name("whole")}
    given = {"data": few_shapes}
    for option, value in asked.items():
        found = [places.get(name, tmp_path / name) for name in ([value] if isinstance(value, str) else value)]
        given[option] = tuple(found) if option in ("captions", "teachers") else found[0]
    monkeypatch.setattr("showtell.training.features._fill_missing", _never)
    monkeypatch.setattr("showtell.training.store.RowStore.key", _never)
    with pytest.raises(error) as caught:
        _begin(given.pop("data"), tmp_path / "runs" / "new", *settings, **given)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs" / "new").exists()


def test_where_no_picture_can_be_read_the_next_try_needs_no_other_folder(few_shapes, tmp_path):
    shutil.copytree(few_shapes, tmp_path / "data")
    for path in (tmp_path / "data" / "images").glob("train*"):
        path.write_bytes(b"damaged")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="no training picture can be read"):
        _begin(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    shutil.copytree(few_shapes, tmp_path / "data", dirs_exist_ok=True)
    assert _begin(tmp_path / "data", tmp_path / "out", "training.epochs=1")[0].train()


def test_a_run_that_is_stopped_while_its_store_is_filled_goes_on(few_shapes, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("showtell.training.prepare.fill", stopped)
        with pytest.raises(KeyboardInterrupt):
            _begin(few_shapes, tmp_path / "run", "training.epochs=1")
    trainer = prepare(Request(data=few_shapes), tmp_path / "run", recipe=None, resume=True, say=print)
    assert trainer.train()


def test_a_run_that_goes_on_stays_where_it_fails(few_shapes, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ShowtellError("the disk is full")

    trainer, _ = _begin(few_shapes, tmp_path / "run", "training.epochs=1")
    monkeypatch.setattr("showtell.training.prepare.fill", full)
    with pytest.raises(ShowtellError, match="the disk is full"):
        prepare(Request(data=few_shapes), tmp_path / "run", recipe=None, resume=True, say=print)
    assert (tmp_path / "run" / "recipe.json").exists()  # though it has learnt nothing yet
    assert trainer.run.folder == tmp_path / "run"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("images", r"holds images, which is no part of a run; name an --out that is new or empty"),
        ("manifest.json", r"holds manifest\.json, which is no part of a run"),
        (".hidden", r"holds \.hidden, which is no part of a run"),
        ("recipe.json", r"holds a run already; go on with --resume"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(CheckpointError, match=text):
        check_place(tmp_path)
    assert (tmp_path / name).read_text() == "years of work"


def test_what_a_kill_left_is_no_hindrance(tmp_path):
    for name in ("lock", "encoder.safetensors", ".vocabulary.json.4711", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    check_place(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file, expected a folder for the run"):
        check_place(tmp_path / "file")


# What a run goes on with


def test_files_that_have_changed_since_are_told(few_shapes, tmp_path):
    told, text, vectors = tmp_path / "told.jsonl", tmp_path / "lines.txt", tmp_path / "words.vec"
    picture = json.dumps(str(few_shapes / "images" / "train-00000.png"))
    told.write_text(f'{{"path": {picture}, "caption": "a red dot"}}\n')
    text.write_text("a small red circle\n")
    vectors.write_text(f"red{' 1' * 16}\n")
    asked = {"captions": (told,), "text": text, "word_vectors": vectors}
    for option, value in asked.items():
        out = tmp_path / option
        _begin(few_shapes, out, "training.epochs=1", **{option: value})
        file = value[0] if isinstance(value, tuple) else value
        before = file.read_text()
        file.write_text(before.replace("red", "tan"))
        with pytest.raises(CheckpointError, match=rf"{file.name} \(--.*\) has changed since the run began; restore it"):
            _begin(few_shapes, out, "training.epochs=1", resume=True)
        file.write_text(before)
        assert _begin(few_shapes, out, "training.epochs=1", resume=True)[0].train()
        assert latest_checkpoint(out) is not None


def test_vectors_are_not_asked_for_again_where_a_run_has_learnt_and_before_that_they_are(few_shapes, tmp_path):
    vectors = tmp_path / "words.vec"
    vectors.write_text(f"red{' 1' * 16}\n")
    _begin(few_shapes, tmp_path / "run", "training.epochs=1", word_vectors=vectors)
    again, said = _begin(few_shapes, tmp_path / "run", "training.epochs=1", resume=True)
    row = again.model.decoder.embed.weight[again.run.vocabulary.ids["red"]]
    assert (row == row[0]).all()
    assert any("words begin with vectors" in line for line in said)
    assert again.train()
    vectors.unlink()
    assert _begin(few_shapes, tmp_path / "run", "training.epochs=1", resume=True)[0].train()


def test_what_a_run_has_not_begun_with_is_refused(few_shapes, tmp_path, few_words):
    assert _begin(few_shapes, tmp_path / "run", "training.epochs=1")[0].train()
    text = tmp_path / "lines.txt"
    text.write_text("a small red circle\n")
    with pytest.raises(CheckpointError, match="has begun without --text; leave it out"):
        _begin(few_shapes, tmp_path / "run", "training.epochs=1", resume=True, text=text)
    with pytest.raises(CheckpointError, match="has begun without --teacher; leave it out"):
        _begin(few_shapes, tmp_path / "run", "training.epochs=1", resume=True, teachers=(few_words,))
    with pytest.raises(CheckpointError, match="has begun from nothing; leave --from out"):
        _begin(few_shapes, tmp_path / "run", "training.epochs=1", resume=True, start_from=few_words)


def test_settings_can_be_others_before_a_run_has_learnt(few_shapes, tmp_path):
    _begin(few_shapes, tmp_path / "run", "training.batch=48")
    again, _ = _begin(few_shapes, tmp_path / "run", "training.batch=5", "training.epochs=1", resume=True)
    assert again.options.batch == 5
    assert again.train()
