import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import AttendOptions  # noqa: E402
from showtell.errors import (  # noqa: E402
    CheckpointError,
    DataError,
    EncoderError,
    RecipeError,
    ShowtellError,
    VocabularyError,
)
from showtell.files import lock  # noqa: E402
from showtell.models.attend import AttendDecoder  # noqa: E402
from showtell.models.captioner import CaptionModel  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.tokenizers import split_words  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.dataset import make_batch  # noqa: E402
from showtell.training.device import choose_device  # noqa: E402
from showtell.training.learning import make_optimizer, set_rates  # noqa: E402
from showtell.training.objective import word_losses  # noqa: E402
from showtell.training.sampling import epoch_batches  # noqa: E402
from showtell.training.validation import validate  # noqa: E402
from showtell.vocabulary import PAD, SPECIALS  # noqa: E402
from tiny_training import PIXELS, TINY, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


# The loss


def test_the_loss_of_two_words_is_that_worked_out_by_hand():
    logits = torch.tensor([[math.log(3), 0.0]])  # probabilities 3/4 and 1/4
    loss, plain = word_losses(logits, torch.tensor([0]), 0.2)
    assert plain.item() == pytest.approx(-math.log(0.75))
    # The true word has 0.8, and 0.2 are spread evenly over both words.
    assert loss.item() == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_torchs_cross_entropy(smoothing):
    torch.manual_seed(0)
    logits, targets = torch.randn(9, 5), torch.randint(0, 5, (9,))
    loss, plain = (each.mean() for each in word_losses(logits, targets, smoothing))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing))
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, targets))
    assert not plain.requires_grad


# Optimizer and schedule


def _model():
    return CaptionModel(AttendDecoder(AttendOptions(projection=2, embedding=2, hidden=2, attention=2), 4, 3, 6))


def _recipe(*settings):
    return read_recipe(TINY, ["training.learning_rate=2", "training.epochs=3", *settings])


def _rate(recipe, step, steps_per_epoch=10):
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=9)
    set_rates(optimizer, recipe, step, steps_per_epoch)
    return tuple(group["lr"] for group in optimizer.param_groups)


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 0.1),
        (4, 0.5),
        (9, 1),
        (10, 1),
        (15, 0.01 + 0.99 * (1 + math.sqrt(0.5)) / 2),
        (20, 0.505),
        (30, 0.01),
        (99, 0.01),
    ],
)
def test_the_rate_rises_in_a_line_and_falls_in_a_cosine_to_one_percent(step, share):
    recipe = _recipe("training.warmup_epochs=1", "encoder.learning_rate=0.25")
    assert _rate(recipe, step) == pytest.approx((2 * share, 2 * share / 4))


def test_a_constant_rate_stays_and_no_warm_up_begins_at_the_top():
    recipe = _recipe("training.schedule=constant", "training.warmup_epochs=0", "encoder.learning_rate=1")
    assert [_rate(recipe, step)[0] for step in (0, 17, 30)] == [2, 2, 2]
    assert _rate(_recipe("training.warmup_epochs=0"), 0)[0] == 2


@pytest.mark.parametrize("warmup", [0.03, 0.15, 0.5, 1, 1.27])
def test_no_rate_is_above_the_highest_of_the_schedule(warmup):
    recipe = _recipe(f"training.warmup_epochs={warmup}")
    rates = [_rate(recipe, step)[0] for step in range(31)]
    assert max(rates) <= 2
    assert min(rates) >= 0.02 - 1e-9
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)],
)
def test_the_recipe_names_the_optimizer(name, kind):
    optimizer = make_optimizer(_model(), _recipe(f"training.optimizer={name}", "training.weight_decay=0.3"))
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]
    assert [group["lr"] for group in optimizer.param_groups] == [2]


# Steps


def _weights(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _first_batch(trainer):
    return next(epoch_batches(trainer.splits.train, trainer.options, 0))


def _gradient_norm(trainer):
    return math.sqrt(sum(float(p.grad.square().sum()) for p in trainer.model.parameters() if p.grad is not None))


def test_gradients_are_scaled_to_the_norm_of_the_recipe(few_shapes, tmp_path):
    norms = {}
    for clip in (0, 0.01, 1e6):
        trainer, _ = tiny_trainer(few_shapes, tmp_path / str(clip), f"training.clip_norm={clip}")
        trainer._step(_first_batch(trainer))
        norms[clip] = _gradient_norm(trainer)
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)
    assert norms[0] == norms[1e6] > 0.1


def test_a_frozen_encoder_has_no_part_in_the_model_and_a_learning_one_its_own_group(few_shapes, tmp_path):
    frozen, _ = tiny_trainer(few_shapes, tmp_path / "frozen")
    assert frozen.model.encoder is None
    assert len(frozen.optimizer.param_groups) == 1
    learning, _ = tiny_trainer(few_shapes, tmp_path / "learning", base=PIXELS)
    decoder, encoder = learning.optimizer.param_groups
    assert {id(p) for p in decoder["params"]} == {id(p) for p in learning.model.decoder.parameters()}
    assert {id(p) for p in encoder["params"]} == {id(p) for p in learning.model.encoder.parameters()}


@pytest.mark.parametrize("frozen_norms", ["true", "false"])
def test_layers_before_train_from_stay_as_they_are(few_shapes, tmp_path, frozen_norms):
    trainer, _ = tiny_trainer(
        few_shapes,
        tmp_path / "run",
        "encoder.train_from=layer1.0.conv2",
        f"encoder.frozen_norms={frozen_norms}",
        "training.learning_rate=0.05",
        "encoder.learning_rate=1",
        base=PIXELS,
    )
    before = _weights(trainer.model.encoder.network)
    for batch in list(epoch_batches(trainer.splits.train, trainer.options, 0))[:2]:
        trainer._step(batch)
    after = _weights(trainer.model.encoder.network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    learnt = {name for name in before if name.startswith(("layer1.0.conv2.", "layer1.0.bn2."))}
    statistics = {name for name in learnt if "running" in name or "num_batches" in name}
    assert statistics
    assert changed == (learnt - statistics if frozen_norms == "true" else learnt)


def test_a_layer_that_is_not_there_is_told_before_anything_is_written(few_shapes, tmp_path):
    with pytest.raises(EncoderError, match=r"has no layer 'layer9' with weights; it has conv1\.0, .*layer1\.0\.bn2"):
        tiny_trainer(few_shapes, tmp_path / "run", "encoder.train_from=layer9", base=PIXELS)
    with pytest.raises(EncoderError, match=r"resnet10t has no layer 'layer7'"):
        tiny_trainer(few_shapes, tmp_path / "run", "encoder.layer=layer7", base=PIXELS)
    assert not (tmp_path / "run").exists()


def test_only_the_named_parts_of_the_decoder_learn(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", 'training.only=["words", "cell.recurrent"]')
    before = _weights(trainer.model)
    trainer._step(_first_batch(trainer))
    changed = {name for name, weight in _weights(trainer.model).items() if not torch.equal(weight, before[name])}
    assert {name.split(".")[1] for name in changed} == {"words", "cell"}
    learning = sum(len(group["params"]) for group in trainer.optimizer.param_groups)
    assert learning == len([name for name in before if name.startswith(("decoder.words.", "decoder.cell.rec"))])


def test_a_part_that_is_not_there_is_told_before_anything_is_written(few_shapes, tmp_path):
    with pytest.raises(RecipeError, match=r"training\.only names 'word', the decoder's parts are .*words"):
        tiny_trainer(few_shapes, tmp_path / "run", 'training.only=["word"]')
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_training_and_leaves_the_weights(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run")
    trainer.model.decoder.words.bias.data[0] = torch.nan
    before = _weights(trainer.model)
    with pytest.raises(ShowtellError, match=r"the loss is nan in epoch 1 at step 0.*lower training\.learning_rate"):
        trainer.train()
    after = _weights(trainer.model)
    assert all(torch.equal(before[name], after[name]) for name in before if not before[name].isnan().any())
    assert latest_checkpoint(tmp_path / "run") is None


@pytest.mark.parametrize("counted", [False, True])
def test_padding_counts_in_the_loss_only_where_the_recipe_says_so(few_shapes, tmp_path, counted):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", f"training.count_padding={str(counted).lower()}")
    batch = _first_batch(trainer)
    real = int((batch.targets != PAD).sum())
    assert real < batch.targets.size  # there is padding to count
    losses, told = 0.0, 0
    values, _ = trainer.store.read(batch.rows)
    with torch.no_grad():
        memory, state = trainer.model.decoder.start(torch.from_numpy(values).float())
        for t in range(batch.tokens.shape[2]):  # single steps, on past the end marks
            tokens, targets = (torch.from_numpy(ids[:, :, t]) for ids in (batch.tokens, batch.targets))
            log_probs, state, _ = trainer.model.decoder.step(tokens, state, memory)
            chosen = torch.ones_like(targets, dtype=torch.bool) if counted else targets != PAD
            losses -= float(log_probs.gather(2, targets.unsqueeze(2)).squeeze(2)[chosen].sum())
            told += int(chosen.sum())
    trainer._step(batch)
    assert trainer.progress.words == told == (batch.targets.size if counted else real)
    assert trainer.progress.loss_sum == pytest.approx(losses, rel=1e-4)


def test_a_handful_of_pictures_is_learnt_by_heart(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(
        few_shapes,
        tmp_path / "run",
        "training.learning_rate=5e-3",
        "training.schedule=constant",
        "decoder.hidden=64",
        base=PIXELS,
    )
    few = trainer.splits.train[:8]
    losses = []
    for _ in range(80):
        trainer.progress.loss_sum, trainer.progress.words = 0.0, 0
        trainer._step(make_batch(few))
        losses.append(trainer.progress.loss_sum / trainer.progress.words)
    assert losses[0] > 2
    assert losses[-1] < 0.02
    # Told without teacher forcing, and with the encoder as it is in use.
    found = validate(trainer.model, trainer.store, few, trainer.run.vocabulary, trainer.recipe.decoding, trainer.group)
    right = [found.captions[picture.example.id] == picture.example.captions[0] for picture in few]
    assert sum(right) >= 7


def test_every_step_depends_on_its_number_alone(few_shapes, tmp_path):
    # Dropout of a step is the same whatever was drawn before: nothing random is carried along.
    found = []
    for draws in (0, 5):
        trainer, _ = tiny_trainer(few_shapes, tmp_path / str(draws), "decoder.dropout=0.5")
        torch.rand(draws)
        np.random.default_rng().random()
        trainer._step(_first_batch(trainer))
        found.append(_weights(trainer.model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


# Runs


def test_training_stops_where_patience_ends(few_shapes, tmp_path, monkeypatch):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=9", "training.patience=2")
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])

    def scored(*_):
        from showtell.training.validation import Validation

        return Validation({"loss": 1.0, "CIDEr": next(scores)}, {})

    monkeypatch.setattr("showtell.training.loop.validate", scored)
    assert trainer.train()
    assert [entry["val CIDEr"] for entry in trainer.progress.history] == [0.1, 0.5, 0.4, 0.3]
    assert [entry["best"] for entry in trainer.progress.history] == [True, True, False, False]
    assert trainer.progress.best == "00002-00000"
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == {"00002-00000", "00004-00000"}


def test_validation_may_be_rarer_than_epochs_and_always_comes_last(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=5", "training.validate_every=2")
    assert trainer.train()
    validated = [entry["epoch"] for entry in trainer.progress.history if "val CIDEr" in entry]
    assert validated == [2, 4, 5]


def test_a_limit_leaves_a_part_to_train_on_and_the_whole_to_validate_on(few_shapes, tmp_path):
    trainer, said = tiny_trainer(few_shapes, tmp_path / "run", "training.limit_captions=5")
    assert said == ["5 of 48 training captions, of 5 of 48 pictures"]
    assert (len(trainer.splits.train), len(trainer.splits.val)) == (5, 6)
    used = {word for picture in trainer.splits.train for c in picture.example.captions for word in split_words(c)}
    assert set(trainer.run.vocabulary.words[len(SPECIALS) :]) == used
    assert trainer.train()
    other, _ = tiny_trainer(few_shapes, tmp_path / "other", "training.limit_captions=5", "training.seed=2")
    assert {p.example.id for p in other.splits.train} != {p.example.id for p in trainer.splits.train}
    assert other.run.fingerprint == trainer.run.fingerprint  # it is the same data set


def test_what_gives_no_step_or_no_word_is_told_before_anything_is_written(few_shapes, tmp_path):
    with pytest.raises(DataError, match=r"training\.batch is 49, expected at most the 48 training captions"):
        tiny_trainer(few_shapes, tmp_path / "run", "training.sampling=replacement", "training.batch=49")
    with pytest.raises(VocabularyError, match=r"no word occurs 99 times in the training captions"):
        tiny_trainer(few_shapes, tmp_path / "run", "vocabulary.min_count=99")
    assert not (tmp_path / "run").exists()


def test_two_processes_cannot_train_one_run_or_fill_one_store(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run")
    with (
        lock(tmp_path / "run" / "lock", "held"),
        pytest.raises(CheckpointError, match=r"run: another process is training this run; wait for it or stop it"),
    ):
        trainer.train()
    with (
        trainer.store,
        pytest.raises(CheckpointError, match=r"another process is filling this feature store; wait for it or stop it"),
    ):
        tiny_trainer(few_shapes, tmp_path / "other", "training.flip=true")
    assert trainer.train()  # both locks are free again


def test_a_full_store_is_only_read(few_shapes, tmp_path):
    """Also while another process holds its lock."""
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run")
    with trainer.store:
        other, _ = tiny_trainer(few_shapes, tmp_path / "other")
    assert other.store.rows == trainer.store.rows
    assert other.train()


def test_a_missing_cuda_device_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(ShowtellError, match="--device cuda: torch finds no CUDA device; use --device cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
