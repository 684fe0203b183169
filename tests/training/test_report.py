import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.report import Reporter  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from tiny_training import tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def _train(trainer):
    told = []
    with Reporter(trainer, told.append) as reporter:
        trainer.on_epoch = reporter.epoch
        reporter.begin()
        reporter.end(trainer.train())
    return told


def _events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


@pytest.fixture(scope="module")
def reported(few_shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(folder / "cache"))
        trainer, _ = tiny_trainer(few_shapes, folder / "run")
        return trainer, _train(trainer)


def test_each_epoch_is_a_line_with_its_scores_and_sample_captions(reported):
    trainer, told = reported
    assert told[0].startswith("tiny: 48 training pictures, 6 for validation, ")
    assert (
        f"{len(trainer.run.vocabulary)} words, {sum(p.numel() for p in trainer.model.parameters()):,} parame" in told[0]
    )
    lines = [line for line in told if line.startswith("epoch ")]
    for line, entry in zip(lines, trainer.progress.history, strict=True):
        assert line.startswith(
            f"epoch {entry['epoch']}/2  loss {entry['train loss']:.3f}  {entry['words/s']:,} words/s"
        )
        assert f"val loss {entry['val loss']:.3f}  val CIDEr {entry['val CIDEr']:.1f}  val BLEU-4" in line
        assert line.endswith("  best") == entry["best"]
    samples = [line for line in told if line.startswith("  images/val-")]
    assert len(samples) == 6  # three of each epoch
    assert told[-1].startswith(
        f"best: epoch {int(trainer.progress.best[:5])}; next: showtell evaluate {trainer.run.folder}"
    )


def test_the_board_holds_curves_sample_pictures_with_attention_and_their_captions(reported):
    trainer, told = reported
    events = _events(trainer.run.folder)
    tags = events.Tags()
    assert {"train/loss", "learning/rate", "val/loss", "val/CIDEr", "val/BLEU-4"} <= set(tags["scalars"])
    for tag, key in (("val/CIDEr", "val CIDEr"), ("train/loss", "train loss")):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = [(entry["epoch"], entry[key]) for entry in trainer.progress.history]
        assert found == [(step, pytest.approx(value, rel=1e-5)) for step, value in expected]
    samples = [f"samples/{picture.example.id}" for picture in trainer.splits.val[:3]]
    assert sorted(tags["images"]) == sorted(samples)
    assert [event.step for event in events.Images(samples[0])] == [1, 2]
    for sample in samples:
        texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{sample}/text_summary")]
        said = [line.split(": ", 1)[1] for line in told if line.startswith(f"  {sample.removeprefix('samples/')}: ")]
        assert texts == said


def test_a_sample_picture_has_one_panel_for_itself_and_one_for_each_word(reported):
    from io import BytesIO

    from PIL import Image

    from showtell.attention_map import draw_attention
    from showtell.images import open_picture
    from showtell.training.validation import attended

    trainer, _ = reported
    picture = trainer.splits.val[0]
    caption = attended(
        trainer.model,
        trainer.store,
        [picture],
        trainer.run.vocabulary,
        trainer.recipe.decoding,
        trainer.device,
        trainer.run.encoder.grid,
    )[0]
    expected = draw_attention(open_picture(picture.example.image), caption, trainer.run.encoder.images)
    image = _events(trainer.run.folder).Images(f"samples/{picture.example.id}")[-1]
    assert Image.open(BytesIO(image.encoded_image_string)).size == expected.size


def test_going_on_says_where_and_a_finished_run_that_it_is(few_shapes, tmp_path):
    out = tmp_path / "run"
    first, _ = tiny_trainer(few_shapes, out)
    step = first._step

    def interrupted(batch):
        step(batch)
        if first.progress.epoch == 1:
            raise KeyboardInterrupt

    first._step = interrupted
    with pytest.raises(KeyboardInterrupt):
        _train(first)
    second, _ = tiny_trainer(few_shapes, out, resume=True)
    assert _train(second)[1] == "going on in epoch 2 at step 0 of 3"
    assert [event.step for event in _events(out).Scalars("val/CIDEr")] == [1, 2]
    third, _ = tiny_trainer(few_shapes, out, resume=True)
    assert _train(third)[1:] == [
        "all epochs are done, 2 of 2; for more: --resume --set training.epochs=N",
        f"best: epoch {int(third.progress.best[:5])}; next: showtell evaluate {out} --data DIR --split test",
    ]


def test_an_early_end_says_why(few_shapes, tmp_path, monkeypatch):
    from showtell.training.validation import Validation

    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=9", "training.patience=1")
    captions = {picture.example.id: "a" for picture in trainer.splits.val}
    monkeypatch.setattr("showtell.training.loop.validate", lambda *_: Validation({"loss": 1.0, "CIDEr": 5.0}, captions))
    told = _train(trainer)
    assert len(trainer.progress.history) == 2
    assert told[-2] == "ended early: 1 validations without a better CIDEr; for more: --resume --set training.patience=0"


def test_a_pooled_encoder_has_captions_without_maps(few_shapes, tmp_path):
    small = ("encoder.name=resnet10t", "encoder.pretrained=false", "encoder.layer=layer1", "encoder.size=32")
    recipe = read_recipe("show-and-tell", [*small, "vocabulary.min_count=1", "training.epochs=1"])
    told = _train(prepare(Request(data=few_shapes), tmp_path / "run", recipe=recipe, say=print))
    assert len([line for line in told if line.startswith("  images/val-")]) == 3
    tags = _events(tmp_path / "run").Tags()
    assert tags["images"] == []
    assert any(tag.endswith("text_summary") for tag in tags["tensors"])


def test_a_sample_picture_that_has_gone_ends_nothing(few_shapes, tmp_path):
    import shutil

    shutil.copytree(few_shapes, tmp_path / "shapes")
    trainer, _ = tiny_trainer(tmp_path / "shapes", tmp_path / "run", "training.epochs=1")
    trainer.splits.val[1].example.image.unlink()
    _train(trainer)
    assert len(_events(tmp_path / "run").Tags()["images"]) == 2
