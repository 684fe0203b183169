"""Losses that can be worked out by hand, and steps that are the same however they are parted."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.errors import RecipeError  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.augment import hide_regions, random_crops  # noqa: E402
from showtell.training.learning import dropouts_of, set_dropout  # noqa: E402
from showtell.training.objective import Whole, as_drawn, attention_penalty, with_own_words  # noqa: E402
from showtell.training.sampling import epoch_batches  # noqa: E402
from showtell.training.teacher import distillation_loss  # noqa: E402
from showtell.vocabulary import END, PAD, SPECIALS, START  # noqa: E402
from tiny_training import FEATURES, LEARNING, PIXELS, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


# By hand


def test_the_attention_penalty_is_the_distance_of_each_region_from_one():
    # Caption 0 looks once at region 0 and half-half at the second word; caption 1 is none.
    attention = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]])  # (1, 2, 2, 2)
    penalty = attention_penalty(attention, torch.tensor([[2, 0]]))
    assert penalty.item() == pytest.approx((1 - 1.5) ** 2 + (1 - 0.5) ** 2)


def test_an_even_look_at_every_region_costs_nothing():
    attention = torch.full((2, 1, 4, 4), 0.25)
    assert attention_penalty(attention, torch.tensor([[4], [4]])).item() == 0


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_lesson_is_the_cross_entropy_with_what_the_teachers_hold_likely(temperature):
    logits = torch.tensor([[math.log(9), 0.0]])
    likely = torch.tensor([[0.25, 0.75]])
    first = 9 ** (1 / temperature) / (9 ** (1 / temperature) + 1)
    expected = -(temperature**2) * (0.25 * math.log(first) + 0.75 * math.log(1 - first))
    assert distillation_loss(logits, likely, temperature).tolist() == pytest.approx([expected])


def test_the_lesson_is_least_where_the_learner_agrees():
    likely = torch.tensor([[0.2, 0.5, 0.3]])
    agreeing = distillation_loss(likely.log(), likely, 1.0)
    for other in ([[0.3, 0.4, 0.3]], [[0.1, 0.6, 0.3]], [[1 / 3, 1 / 3, 1 / 3]]):
        assert distillation_loss(torch.tensor(other).log(), likely, 1.0) > agreeing


def test_what_no_caption_holds_neither_wins_nor_loses_where_captions_are_rewarded():
    logits = torch.tensor([[9.0, 9.0, math.log(3), 9.0, 0.0]], requires_grad=True)  # padding, start, end, unknown, word
    log_probs = as_drawn(logits)
    assert log_probs[0, [2, 4]].exp().tolist() == pytest.approx([0.75, 0.25])
    log_probs[0, 4].backward()
    assert logits.grad[0].tolist() == pytest.approx([0, 0, -0.75, 0, 0.75])


# Scheduled sampling

WORDS = 9


def _captions():
    tokens = torch.tensor([[[START, 5, 6, 7], [START, 8, PAD, PAD]]])  # (1, 2, 4)
    lengths = torch.tensor([[4, 2]])
    return tokens, lengths


def test_own_words_stand_where_they_would_have_been_told():
    tokens, lengths = _captions()
    logits = torch.full((6, WORDS), -100.0)
    for place, word in enumerate([4, 5, 6, 7, 8, 4]):  # what is told at each of the words
        logits[place, word] = 100
    assert with_own_words(tokens, lengths, logits, 0.0).tolist() == tokens.tolist()
    mixed = with_own_words(tokens, lengths, logits, 1.0)
    assert mixed.tolist() == [[[START, 4, 5, 6], [START, 8, PAD, PAD]]]


def test_marks_are_never_read_as_own_words():
    torch.manual_seed(0)
    tokens, lengths = _captions()
    logits = torch.zeros(6, WORDS)
    logits[:, END] = 50
    for _ in range(20):
        mixed = with_own_words(tokens, lengths, logits, 1.0)
        assert (mixed[0, 0, 1:] >= len(SPECIALS)).all()
        assert mixed[0, 1, 2:].tolist() == [PAD, PAD]


def test_about_the_share_of_the_words_is_the_models_own():
    torch.manual_seed(1)
    tokens = torch.full((50, 4, 21), 5)
    tokens[:, :, 0] = START
    lengths = torch.full((50, 4), 21)
    logits = torch.full((50 * 4 * 21, WORDS), -100.0)
    logits[:, 8] = 100
    mixed = with_own_words(tokens, lengths, logits, 0.3)
    assert (mixed[:, :, 1:] == 8).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_reading_its_own_words_changes_what_is_learnt_from_the_second_step_on(few_shapes, tmp_path):
    found = {}
    for share in (0.0, 1.0):
        trainer, _ = tiny_trainer(few_shapes, tmp_path / str(share), f"training.scheduled_sampling={share}")
        batches = list(epoch_batches(trainer.splits.train, trainer.options, 0))
        losses = []
        for batch in batches[:3]:
            before = trainer.progress.loss_sum
            trainer._step(batch)
            losses.append(trainer.progress.loss_sum - before)
        found[share] = losses
    assert found[0.0][0] == found[1.0][0]  # it rises from nothing
    assert found[0.0][2] != found[1.0][2]


# A step is one step


def _weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("training.attention_penalty=0.5",),
        ("training.reward={cider = 1.0}", "training.reward_share=0.6"),
        ("decoder.architecture=topic", "decoder.topics=2"),
    ],
    ids=["words", "attention", "reward", "topic"],
)
@pytest.mark.parametrize("base", [("encoder.train=false",), PIXELS], ids=["features", "pixels"])
def test_a_step_in_parts_is_the_whole_step(few_shapes, tmp_path, settings, base):
    found = {}
    for parts in (1, 3):
        common = ("training.batch=8", "training.amp=off", "training.clip_norm=0", "encoder.frozen_norms=true")
        each = (*common, f"training.parts={parts}", *settings)
        trainer, _ = tiny_trainer(few_shapes, tmp_path / str(parts), *each, base=base)
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)  # Adam makes much of small gradients
        trainer._step(next(epoch_batches(trainer.splits.train, trainer.options, 0)))
        found[parts] = (_weights(trainer), trainer.progress)
    for name, weight in found[1][0].items():
        torch.testing.assert_close(weight, found[3][0][name], rtol=1e-4, atol=1e-5, msg=name)
    for part in ("words", "loss_sum", "reward_sum"):
        assert getattr(found[1][1], part) == pytest.approx(getattr(found[3][1], part), rel=1e-4)


def test_more_parts_than_pictures_are_as_many_as_there_are(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.batch=4", "training.parts=9")
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    parts = trainer.objective.parts(trainer.model, batch, 1)
    assert [part.batch.ids for part in parts] == [[name] for name in batch.ids]


def test_every_picture_is_computed_by_one_process_and_idle_ones_count_nothing(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.batch=5", "training.parts=2")
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    for size in (1, 2, 3, 5, 7):
        shares = [trainer.objective.parts(trainer.model, batch, 1, rank, size) for rank in range(size)]
        ids = [name for share in shares for part in share if part.counts for name in part.batch.ids]
        assert sorted(ids) == sorted(batch.ids)
        assert all(share for share in shares)
        assert sum(not part.counts for share in shares for part in share) == max(size - 5, 0)


def test_captions_are_rewarded_as_they_were_told_without_dropout(few_shapes, tmp_path):
    rewarded = ("training.reward={cider = 1.0}", "training.batch=8", "training.amp=off")
    found = []
    for dropout in (0.0, 0.6):
        out = tmp_path / str(dropout)
        trainer, _ = tiny_trainer(few_shapes, out, *rewarded, f"decoder.dropout={dropout}")
        trainer._step(next(epoch_batches(trainer.splits.train, trainer.options, 0)))
        found.append(_weights(trainer))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


# What changes over a run


def test_dropout_follows_its_schedule():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(1, 1), torch.nn.Dropout(0.2))
    dropouts = dropouts_of(model)
    for schedule, done, factor in (
        ("constant", 0.3, 1.0),
        ("rising", 0.0, 0.0),
        ("rising", 0.25, 0.25),
        ("falling", 0.25, 0.75),
        ("falling", 1.0, 0.0),
    ):
        set_dropout(dropouts, schedule, done)
        assert [module.p for module, _ in dropouts] == pytest.approx([0.5 * factor, 0.2 * factor])


def test_a_dropout_that_rises_begins_with_none(few_shapes, tmp_path):
    settings = ("decoder.dropout=0.5", "decoder.region_dropout=0.3")
    found = []
    for more in (("training.dropout_schedule=rising",), ("decoder.dropout=0", "decoder.region_dropout=0")):
        trainer, _ = tiny_trainer(few_shapes, tmp_path / str(len(found)), *settings, *more)
        trainer._step(next(epoch_batches(trainer.splits.train, trainer.options, 0)))
        found.append(trainer.progress.loss_sum)
    assert found[0] == found[1]


# Pictures


def test_a_crop_is_a_part_of_its_picture_brought_back_to_size():
    torch.manual_seed(3)
    ramp = torch.arange(32, dtype=torch.uint8).mul(8)
    pictures = ramp.view(1, 1, 32, 1).expand(6, 32, 32, 3).contiguous()  # brighter to the right, nowhere else
    crops = random_crops(pictures, 0.5)
    assert (crops.shape, crops.dtype) == (pictures.shape, torch.uint8)
    spread = [int(crop[16, -1, 0]) - int(crop[16, 0, 0]) for crop in crops]
    assert all(115 <= width <= 248 for width in spread)  # half of the ramp at least
    assert len(set(spread)) > 3
    for crop in crops:
        assert (crop == crop[:1]).all()  # no row differs from another
        steps = crop[0, :, 0].int().diff()
        assert (steps >= 0).all()
    assert torch.equal(random_crops(pictures, 1.0), pictures)


def test_crops_are_seen_in_training_and_not_in_use(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.crop=0.5", *LEARNING, base=PIXELS)
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    torch.manual_seed(0)
    (part,) = trainer.objective.parts(trainer.model, batch, 1)
    whole, _ = trainer.store.read(batch.rows)
    assert part.inputs.shape == whole.shape
    assert not torch.equal(part.inputs, torch.from_numpy(whole))


# Regions


def test_about_that_share_of_the_real_regions_is_hidden_and_never_all():
    torch.manual_seed(1)
    real = torch.ones(200, 50, dtype=torch.bool)
    real[:, 40:] = False
    seen = hide_regions(real, 0.3)
    assert not (seen & ~real).any()
    assert seen.sum().item() / real.sum().item() == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(seen[0], seen[1])
    assert hide_regions(real, 0.999).any(1).all()
    assert torch.equal(hide_regions(real, 0.0), real)


@pytest.mark.parametrize("base", [FEATURES, PIXELS])
def test_regions_are_hidden_from_captions_told_and_from_learning_alike(few_shapes, tmp_path, base):
    settings = ("training.hide_regions=0.4", "training.reward={cider = 1.0}")
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", *settings, base=base)
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    seen = []
    start = trainer.model.decoder.start

    def watched(regions, mask=None):
        seen.append(mask)
        return start(regions, mask)

    trainer.model.decoder.start = watched
    (part,) = trainer.objective.parts(trainer.model, batch, 1)
    whole = Whole(len(batch.rows), part.words, part.told_words)
    trainer.objective.loss(trainer.model, trainer.learner, part, whole, 0.0)
    told, learnt = seen
    assert 0.4 < told.float().mean().item() < 0.8
    assert torch.equal(told, learnt)


def test_a_hidden_share_of_one_region_is_refused():
    with pytest.raises(RecipeError, match=r"hide_regions needs several regions, encoder\.output=pooled gives one"):
        read_recipe("merge", ["training.hide_regions=0.2"])
    with pytest.raises(RecipeError, match=r"training\.hide_regions is 1\.0, expected 0 or more and less than 1"):
        read_recipe("pocket", ["training.hide_regions=1.0"])
