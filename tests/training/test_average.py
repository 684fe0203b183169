import itertools

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.training.checkpoint import best_checkpoint, latest_checkpoint  # noqa: E402
from showtell.training.learning import average_share, update_average  # noqa: E402
from showtell.training.run import load_best, open_run  # noqa: E402
from tiny_training import tiny_trainer  # noqa: E402


def test_the_average_keeps_its_share_of_each_weight_and_takes_statistics_over():
    average, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        average.weight.fill_(1.0)
        model.weight.fill_(5.0)
        model.running_mean.fill_(7.0)
    update_average(average, model, 0.75)
    assert average.weight.tolist() == [2.0, 2.0]  # 0.75 * 1 + 0.25 * 5
    assert average.running_mean.tolist() == [7.0, 7.0]


def test_the_average_soon_forgets_the_weights_that_a_run_begins_with():
    kept = [average_share(0.999, step) for step in range(20_000)]
    assert kept[0] == pytest.approx(0.1)
    assert all(before <= after for before, after in itertools.pairwise(kept))
    assert kept[-1] == 0.999
    # What is left of the start after 188 steps, an epoch of Flickr8k: with 0.999 alone 83 %.
    assert torch.tensor(kept[:188]).prod() < 1e-6
    assert [average_share(0.5, step) for step in (0, 7, 8, 100)] == pytest.approx([0.1, 8 / 17, 0.5, 0.5])


def test_the_average_is_what_is_validated_and_used_and_training_goes_on_from_the_weights(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.average=0.9", "training.epochs=2")
    assert trainer.train()
    folder = latest_checkpoint(tmp_path / "run")
    assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "average.safetensors"}
    assert not torch.equal(trainer.model.decoder.words.weight, trainer.average.decoder.words.weight)

    model, _, checkpoint = load_best(open_run(tmp_path / "run"))
    assert checkpoint == best_checkpoint(tmp_path / "run")
    if checkpoint == folder:
        assert torch.equal(model.decoder.words.weight, trainer.average.decoder.words.weight)

    again, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.average=0.9", "training.epochs=2", resume=True)
    assert torch.equal(again.model.decoder.words.weight, trainer.model.decoder.words.weight)
    assert torch.equal(again.average.decoder.words.weight, trainer.average.decoder.words.weight)


def test_a_run_without_it_writes_none(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=1")
    assert trainer.train()
    assert not (latest_checkpoint(tmp_path / "run") / "average.safetensors").exists()
