"""From a data set to a run folder and back: what is prepared, kept, left out and handed on to another run."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import DECODERS  # noqa: E402
from showtell.errors import CheckpointError, DataError, RecipeError  # noqa: E402
from showtell.recipe_reader import read_recipe, recipe_from_dict  # noqa: E402
from showtell.training.begin import encoder_of  # noqa: E402
from showtell.training.checkpoint import best_checkpoint, latest_checkpoint  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from showtell.training.run import load_best, open_run, same_but  # noqa: E402
from tiny_training import FEATURES, PIXELS, TINY, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {
    "attend": {"projection": 16, "embedding": 16, "hidden": 16, "attention": 8},
    "init-inject": {"embedding": 16, "hidden": 16, "layers": 2},
    "merge": {"embedding": 16, "picture": 8, "language": 8, "word": 8, "merged": 8, "hidden": 16},
    "show-and-tell": {"embedding": 16, "hidden": 16},
    "up-down": {"embedding": 16, "hidden": 16, "attention": 8},
    "sequence-attend": {"projection": 16, "embedding": 16, "hidden": 16, "attention": 8},
    "topic": {"projection": 16, "embedding": 16, "hidden": 16, "attention": 8, "topics": 2},
    "transformer": {"layers": 1, "hidden": 16, "heads": 2, "feed_forward": 32},
}


@pytest.fixture
def shapes(few_shapes, tmp_path):
    """A copy of the data set that a test may change, as its records and a function that writes them back."""
    folder = tmp_path / "shapes"
    shutil.copytree(few_shapes, folder)
    table = folder / "metadata.jsonl"
    records = [json.loads(line) for line in table.read_text().splitlines()]
    return folder, records, lambda: table.write_text("".join(json.dumps(record) + "\n" for record in records))


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


# What a run folder holds


def test_an_opened_run_is_the_run_that_was_written(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "decoder.dropout=0.25")
    run = open_run(tmp_path / "run")
    assert run.recipe == trainer.recipe
    assert run.vocabulary == trainer.run.vocabulary
    assert run.encoder.identity() == trainer.run.encoder.identity()
    assert run.source == trainer.run.source
    assert (run.fingerprint, run.splits) == (trainer.run.fingerprint, trainer.run.splits)
    assert {name: len(ids) for name, ids in run.splits.items()} == {"train": 48, "val": 6, "test": 6}
    assert {example.id for example in run.source.read().examples} == {i for ids in run.splits.values() for i in ids}


@pytest.mark.parametrize("base", [FEATURES, PIXELS], ids=["features", "pixels"])
def test_the_best_weights_come_back_with_the_encoder_that_learnt_with_them(few_shapes, tmp_path, base):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=1", base=base)
    assert trainer.train()
    model, encoder, checkpoint = load_best(open_run(tmp_path / "run"))
    assert checkpoint.name == "00001-00000"
    assert _equal(_weights(model), _weights(trainer.model))
    assert _equal(_weights(encoder), _weights(trainer.run.encoder))
    assert not model.training
    assert not encoder.training


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("recipe.json", "{", "not a run of `showtell train`"),
        ("recipe.json", None, "not a run of `showtell train`"),
        ("data.json", None, "not a run of `showtell train`"),
        ("data.json", "{}", r"data\.json: damaged \(KeyError\('source'\)\)"),
        ("data.json", '{"source": {"toor": "x"}}', r"data\.json: damaged"),
        ("vocabulary.json", "{}", r"vocabulary\.json: not a readable vocabulary"),
        ("encoder.safetensors", "no tensors", r"encoder\.safetensors: not a readable safetensors file"),
        ("recipe.json", '{"name": "x", "summary": "y", "encoder": {"nam": "z"}}', r"recipe\.json: unknown key"),
    ],
)
def test_a_damaged_run_is_told_with_the_file(few_shapes, tmp_path, file, content, message):
    from showtell.errors import ShowtellError

    tiny_trainer(few_shapes, tmp_path / "run")
    if content is None:
        (tmp_path / "run" / file).unlink()
    else:
        (tmp_path / "run" / file).write_text(content)
    with pytest.raises(ShowtellError, match=message) as caught:
        open_run(tmp_path / "run")
    assert str(tmp_path) in str(caught.value)


# What is left out


def test_a_picture_that_is_missing_or_damaged_is_left_out_and_counted(shapes, tmp_path):
    folder, records, write = shapes
    records[0]["caption"] = "a long caption of very many words that goes on and on and on"
    records[3]["caption"] = "..."
    write()
    (folder / records[1]["file_name"]).unlink()
    (folder / records[2]["file_name"]).write_bytes(b"\x89PNG\r\n\x1a\n, and then no more")
    trainer, said = tiny_trainer(folder, tmp_path / "run", "training.max_words=12", "training.epochs=1")
    assert len(trainer.splits.train) == 45
    left_out = [line for line in said if line.startswith("left out: ")]
    assert len(left_out) == 2
    assert any(records[1]["file_name"] in line and "No such file" in line for line in left_out)
    assert any(records[2]["file_name"] in line for line in left_out)
    assert said[-1] == (
        "1 captions cut to the word limit; 2 captions left out: their picture is missing or damaged; "
        "1 captions left out: no word to learn in them"
    )
    assert all(len(caption) <= 13 for picture in trainer.splits.train for caption in picture.captions)
    assert trainer.train()


def test_no_readable_picture_and_no_training_split_are_errors(shapes, tmp_path):
    folder, records, write = shapes
    for record in records:
        if record["split"] == "train":
            (folder / record["file_name"]).write_bytes(b"")
    with pytest.raises(DataError, match="no training picture can be read; see `showtell data check"):
        tiny_trainer(folder, tmp_path / "run")
    for record in records:
        record["split"] = "val"
    write()
    with pytest.raises(DataError, match=r"no picture in the train split \(60 pictures, splits: val\)"):
        tiny_trainer(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        tiny_trainer(tmp_path / "empty", tmp_path / "other")


def test_without_a_val_split_the_last_epoch_is_the_best(shapes, tmp_path):
    folder, records, write = shapes
    records[:] = [record for record in records if record["split"] == "train"]
    write()
    trainer, said = tiny_trainer(folder, tmp_path / "run")
    assert any("no val split, so the last checkpoint counts as the best" in line for line in said)
    assert trainer.train()
    assert [entry["best"] for entry in trainer.progress.history] == [True, True]
    assert best_checkpoint(tmp_path / "run") == latest_checkpoint(tmp_path / "run")
    assert not any(key.startswith("val") for entry in trainer.progress.history for key in entry)


def test_only_the_wanted_number_of_validation_pictures_is_used(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.validation_pictures=2")
    assert [p.example.id for p in trainer.splits.val] == ["images/val-00000.png", "images/val-00001.png"]


# Going on


def test_settings_of_a_run_that_goes_on_are_kept_for_the_next_time(few_shapes, tmp_path):
    out = tmp_path / "run"
    trainer, _ = tiny_trainer(few_shapes, out, "training.epochs=1")
    assert trainer.train()
    more = prepare(
        Request(data=few_shapes),
        out,
        recipe=None,
        settings=["training.epochs=2", "training.patience=7"],
        resume=True,
        say=print,
    )
    assert open_run(out).recipe.training.epochs == 1  # not before it trains
    assert more.train()
    again = prepare(Request(data=few_shapes), out, recipe=None, resume=True, say=print)
    assert (again.options.epochs, again.options.patience) == (2, 7)
    assert again.progress.epoch == 2
    assert again.train()
    assert len(again.progress.history) == 2


def test_before_the_first_checkpoint_the_decoder_may_change_but_not_what_the_folder_holds(few_shapes, tmp_path):
    out = tmp_path / "run"
    tiny_trainer(few_shapes, out)

    def go(*settings):
        return prepare(Request(data=few_shapes), out, recipe=None, settings=settings, resume=True, say=print)

    for setting, key in (("encoder.layer=layer2", r"encoder\.layer"), ("vocabulary.min_count=2", "min_count")):
        with pytest.raises(CheckpointError, match=f"was trained with another .*{key}"):
            go(setting)
    trainer = go("decoder.hidden=12", "training.epochs=1")
    assert trainer.train()
    assert load_best(open_run(out))[0].decoder.options.hidden == 12
    with pytest.raises(CheckpointError, match=r"was trained with another decoder\.hidden"):
        go("decoder.hidden=16")


def test_only_what_does_not_change_the_weights_so_far_may_change_midway():
    recipe = read_recipe(TINY)
    assert same_but(recipe, read_recipe(TINY, ["training.epochs=99", "training.patience=3", "name=x"])) == []
    changes = ["training.seed=9", "decoder.cell=lstm", "vocabulary.min_count=2", "encoder.size=64"]
    assert same_but(recipe, read_recipe(TINY, changes)) == [
        "decoder.cell",
        "encoder.size",
        "training.seed",
        "vocabulary.min_count",
    ]


# Beginning with another run


@pytest.mark.parametrize("base", [FEATURES, PIXELS], ids=["features", "pixels"])
def test_a_run_from_another_begins_with_its_best_decoder_its_vocabulary_and_its_encoder(shapes, tmp_path, base):
    folder, records, write = shapes
    first, _ = tiny_trainer(folder, tmp_path / "first", "training.epochs=1", base=base)
    assert first.train()
    records[0]["caption"] = "an unheard of zebra"
    write()
    second, _ = tiny_trainer(folder, tmp_path / "second", base=base, start_from=tmp_path / "first")
    assert second.run.vocabulary == first.run.vocabulary
    assert _equal(_weights(second.model), _weights(first.model))
    assert _equal(_weights(second.run.encoder), _weights(first.run.encoder))
    assert second.progress.epoch == 0
    # Its own folder holds all that it needs, and what it needs again if it is killed before its first checkpoint.
    third = prepare(Request(data=folder), tmp_path / "second", recipe=None, resume=True, say=print)
    assert _equal(_weights(third.model), _weights(first.model))
    shutil.rmtree(tmp_path / "first" / "checkpoints")
    assert second.train()
    assert load_best(open_run(tmp_path / "second"))[2].name


def test_a_decoder_that_does_not_fit_is_told_before_anything_is_written(few_shapes, tmp_path):
    first, _ = tiny_trainer(few_shapes, tmp_path / "first", "training.epochs=1")
    assert first.train()
    with pytest.raises(CheckpointError, match=r"\.weight is \(\d+.*, the recipe's model expects .*another recipe"):
        tiny_trainer(few_shapes, tmp_path / "second", "decoder.hidden=17", start_from=tmp_path / "first")
    with pytest.raises(CheckpointError, match="not a run of `showtell train`"):
        tiny_trainer(few_shapes, tmp_path / "second", start_from=tmp_path / "nowhere")
    assert not (tmp_path / "second").exists()


def test_a_random_encoder_is_the_same_for_features_and_for_training(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run")
    torch.rand(3)
    assert encoder_of(Request(data=few_shapes), trainer.recipe).identity() == trainer.run.encoder.identity()


# Other architectures, the whole way


@pytest.mark.parametrize("name", ["init-inject", "merge", "show-and-tell"])
def test_a_grid_for_a_decoder_of_one_vector_is_told_before_anything_is_written(few_shapes, tmp_path, name):
    table = read_recipe(TINY).to_dict() | {"decoder": {"architecture": name}}
    with pytest.raises(RecipeError, match=f"{name} takes one vector for a picture, .* set encoder.output=pooled"):
        prepare(Request(data=few_shapes), tmp_path / "run", recipe=recipe_from_dict(table), say=print)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", DECODERS)
def test_every_architecture_learns_is_stopped_and_goes_on(few_shapes, tmp_path, name):
    table = read_recipe(TINY, FEATURES).to_dict() | {"decoder": {"architecture": name, **SMALL[name]}}
    table["encoder"]["output"] = "pooled" if name in ("init-inject", "merge", "show-and-tell") else "grid"
    recipe = recipe_from_dict(table, ["training.epochs=2", "training.learning_rate=1e-2"])
    whole = prepare(Request(data=few_shapes), tmp_path / "whole", recipe=recipe, say=print)
    assert whole.train()
    losses = [entry["train loss"] for entry in whole.progress.history]
    assert losses[1] < losses[0]
    once = recipe_from_dict(recipe.to_dict(), ["training.epochs=1"])
    assert prepare(Request(data=few_shapes), tmp_path / "parts", recipe=once, say=print).train()
    request, settings = Request(data=few_shapes), ["training.epochs=2"]
    again = prepare(request, tmp_path / "parts", recipe=None, settings=settings, resume=True, say=print)
    assert again.train()
    assert len(again.progress.history) == 2
