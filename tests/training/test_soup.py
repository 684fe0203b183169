"""Averages of weights: of a run's epochs, and of runs that began alike."""

import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from safetensors.torch import load_file  # noqa: E402

from command_line import showtell  # noqa: E402
from showtell.errors import CheckpointError  # noqa: E402
from showtell.training.checkpoint import best_checkpoint, read_weights  # noqa: E402
from showtell.training.run import load_best, open_run  # noqa: E402
from showtell.training.soup import average_runs  # noqa: E402
from tiny_training import LEARNING, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def runs(few_shapes, tmp_path_factory):
    """A run that kept its epochs, and two that began from it."""
    folder = tmp_path_factory.mktemp("soup")
    first, _ = tiny_trainer(few_shapes, folder / "first", *LEARNING, "training.epochs=3", "training.keep=3")
    assert first.train()
    for seed, average in ((1, 0), (2, 0.5)):
        more = (f"training.seed={seed}", f"training.average={average}", "training.epochs=1")
        trainer, _ = tiny_trainer(few_shapes, folder / f"next{seed}", *LEARNING, *more, start_from=folder / "first")
        assert trainer.train()
    return folder


def test_the_epochs_of_a_run_are_averaged(runs, tmp_path):
    used = average_runs([runs / "first"], tmp_path / "mean")
    assert len(used) == 3
    weights = [load_file(checkpoint / "model.safetensors") for checkpoint in used]
    model, _, checkpoint = load_best(open_run(tmp_path / "mean"))
    assert checkpoint.name == "00001-00000"
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, sum(each[name] for each in weights) / 3, rtol=1e-5, atol=1e-7)
    assert not torch.equal(model.decoder.words.weight, weights[0]["decoder.words.weight"])


def test_runs_are_averaged_by_what_they_caption_with(runs, tmp_path):
    both = [runs / "next1", runs / "next2"]
    average_runs(both, tmp_path / "mean")
    one, other = (read_weights(best_checkpoint(run)) for run in both)
    mean = read_weights(best_checkpoint(tmp_path / "mean"))
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, (one[name] + other[name]) / 2, rtol=1e-5, atol=1e-7)
    assert (best_checkpoint(runs / "next2") / "average.safetensors").exists()


def test_runs_count_by_their_shares(runs, tmp_path):
    """Also a run and the one that it began from, whose encoder it may have changed."""
    both = [runs / "next1", runs / "first"]
    average_runs(both, tmp_path / "mean", [3, 1])
    one, other = (read_weights(best_checkpoint(run)) for run in both)
    for name, tensor in read_weights(best_checkpoint(tmp_path / "mean")).items():
        torch.testing.assert_close(tensor, 0.75 * one[name] + 0.25 * other[name], rtol=1e-5, atol=1e-7)


def test_a_run_that_changed_the_encoder_is_kin_to_the_one_that_it_began_from(few_shapes, tmp_path):
    learns = (*LEARNING, "encoder.train=true", "training.epochs=1")
    first, _ = tiny_trainer(few_shapes, tmp_path / "first", *learns)
    assert first.train()
    following, _ = tiny_trainer(few_shapes, tmp_path / "second", *learns, start_from=tmp_path / "first")
    assert following.train()
    average_runs([tmp_path / "second", tmp_path / "first"], tmp_path / "mean", [0.5, 0.5])
    one, other = (read_weights(best_checkpoint(tmp_path / name)) for name in ("second", "first"))
    changed = [name for name in one if name.startswith("encoder.") and not torch.equal(one[name], other[name])]
    mean = read_weights(best_checkpoint(tmp_path / "mean"))
    assert changed
    for name in changed:
        torch.testing.assert_close(
            mean[name], ((one[name] + other[name]) / 2).to(one[name].dtype), rtol=1e-5, atol=1e-7
        )
    after, _ = tiny_trainer(few_shapes, tmp_path / "third", *learns, start_from=tmp_path / "mean")
    assert after.train()
    average_runs([tmp_path / "third", tmp_path / "first"], tmp_path / "cousins")


def test_two_trainings_are_no_kin_though_they_began_alike(runs, few_shapes, tmp_path):
    """The same encoder, words, sizes and seed: but weights that went ways of their own have no useful mean."""
    other, _ = tiny_trainer(few_shapes, tmp_path / "other", *LEARNING, "training.epochs=1")
    assert other.run.encoder.identity() == open_run(runs / "first").encoder.identity()
    assert other.train()
    with pytest.raises(CheckpointError, match=r"other: does not come from one training with .*first; only runs that"):
        average_runs([runs / "first", tmp_path / "other"], tmp_path / "mean")


def test_what_kin_learnt_from_is_kept(runs, few_shapes, tmp_path):
    """Also of another data set: scores on those pictures tell what is remembered."""
    from showtell.data.shapes import make_shapes

    make_shapes(tmp_path / "more", train=60, val=4, test=1, size=32)
    later, _ = tiny_trainer(few_shapes, tmp_path / "later", *LEARNING, "training.epochs=1", start_from=runs / "first")
    wider, _ = tiny_trainer(tmp_path / "more", tmp_path / "wider", *LEARNING, start_from=runs / "first")
    own = set(later.run.splits["train"])
    new = set(wider.run.splits["train"]) - own
    assert own
    assert new
    assert later.train()
    assert wider.train()
    back, _ = tiny_trainer(few_shapes, tmp_path / "back", *LEARNING, "training.epochs=1", start_from=later.run.folder)
    assert back.run.learnt_before == ()
    after, _ = tiny_trainer(few_shapes, tmp_path / "after", *LEARNING, start_from=wider.run.folder)
    assert set(open_run(after.run.folder).learnt_before) == new
    average_runs([later.run.folder, wider.run.folder], tmp_path / "mean")
    assert set(open_run(tmp_path / "mean").learnt_before) == new


def test_kin_are_kin_wherever_their_folders_are(runs, tmp_path):
    for name in ("first", "next1"):
        shutil.copytree(runs / name, tmp_path / "elsewhere" / name)
    average_runs([tmp_path / "elsewhere" / "next1", tmp_path / "elsewhere" / "first"], tmp_path / "mean", [1, 1])
    average_runs([tmp_path / "mean", runs / "next2"], tmp_path / "more")


@pytest.mark.parametrize("shares", [[1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")]])
def test_shares_that_are_none_are_told(runs, tmp_path, shares):
    with pytest.raises(
        CheckpointError, match=r"^shares .* for 2 runs, expected a number above 0 for each of two or more"
    ):
        average_runs([runs / "next1", runs / "next2"], tmp_path / "mean", shares)
    assert not (tmp_path / "mean").exists()


def test_the_command_says_what_went_in_and_the_mean_can_be_exported(runs, few_shapes, tmp_path):
    done = showtell("average", runs / "next1", runs / "next2", "--out", tmp_path / "mean")
    assert done.code == 0
    assert "next1: 00001-00000" in done.err
    done = showtell("average", runs / "next1", runs / "next2", "--out", tmp_path / "other", "--shares", "a,b")
    assert "--shares a,b: expected a number for each RUN" in done.err
    done = showtell("average", runs / "first", "--out", tmp_path / "other", "--shares", "1")
    assert "shares 1.0 for 1 run, expected a number above 0 for each of two or more" in done.err
    done = showtell("evaluate", tmp_path / "mean", "--data", few_shapes, "--split", "val")
    assert done.code == 0, done.err
    done = showtell("train", "--resume", "--data", few_shapes, "--out", tmp_path / "mean")
    assert done.code != 0
    assert f"mean: is an average, without an optimizer to go on with; begin a run with --from {tmp_path}" in done.err
    done = showtell("plot", tmp_path / "mean", "--out", tmp_path / "curves.png")
    assert "mean: is an average, which has no curves; name the runs that it was made from" in done.err
    done = showtell("compare", tmp_path / "mean", runs / "next1")
    assert "mean: is an average, which has no curves; name its run, or add --data DIR" in done.err
    done = showtell("compare", tmp_path / "mean", runs / "next1", "--data", few_shapes, "--split", "val")
    assert done.code == 0, done.err


def test_what_cannot_be_averaged_is_told(runs, few_shapes, tmp_path):
    with pytest.raises(CheckpointError, match=r"next1: has kept 1 of its best epochs, expected 2 or more"):
        average_runs([runs / "next1"], tmp_path / "mean")
    with pytest.raises(CheckpointError, match=r"nothing: no such folder, expected a run"):
        average_runs([runs / "first", tmp_path / "nothing"], tmp_path / "mean")
    other, _ = tiny_trainer(few_shapes, tmp_path / "other", *LEARNING, "training.epochs=1", "encoder.train=true")
    assert other.train()
    moved, _ = tiny_trainer(
        few_shapes, tmp_path / "moved", *LEARNING, "training.epochs=1", "encoder.train=true", start_from=runs / "first"
    )
    assert moved.train()
    after, _ = tiny_trainer(few_shapes, tmp_path / "after", *LEARNING, "training.epochs=1", start_from=moved.run.folder)
    assert after.train()
    for name, message in (
        ("other", r"other: does not come from one training with .*first"),
        ("moved", r"first, .*moved: have encoders that differ, or of which only some learnt"),
        ("after", r"first, .*after: have encoders that differ, or of which only some learnt"),
    ):
        with pytest.raises(CheckpointError, match=message):
            average_runs([runs / "first", tmp_path / name], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    with pytest.raises(CheckpointError, match="exists already"):
        average_runs([runs / "first"], tmp_path)
