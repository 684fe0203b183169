"""Rewards and advantages that can be worked out by hand, and a model that learns what is rewarded."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.metrics.bleu import bleu  # noqa: E402
from showtell.metrics.cider import CiderD, cider_d  # noqa: E402
from showtell.models import build_decoder  # noqa: E402
from showtell.recipe import TrainingOptions  # noqa: E402
from showtell.recipe_reader import read_recipe, recipe_names  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.dataset import Picture, make_batch  # noqa: E402
from showtell.training.objective import Whole  # noqa: E402
from showtell.training.sampling import epoch_batches  # noqa: E402
from showtell.training.self_critical import Critic, HeldDropout, self_critical_loss  # noqa: E402
from showtell.vocabulary import END, START, Vocabulary  # noqa: E402
from tiny_training import LEARNING, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")

CAPTIONS = [["a red dog runs", "a dog runs"], ["two cats sit still"], ["a man on a horse"]]
VOCABULARY = Vocabulary.build([caption for of_picture in CAPTIONS for caption in of_picture], min_count=1)


class _Example:
    def __init__(self, name):
        self.id = name


def _pictures():
    return [
        Picture(_Example(str(i)), i, tuple((*VOCABULARY.encode(caption), END) for caption in captions))
        for i, captions in enumerate(CAPTIONS)
    ]


def _options(**changes):
    return TrainingOptions(**{"reward": {"cider": 1.0}, "max_words": 6, **changes})


class Talker:
    """Tells words of its own choice by chance, the same for every picture: `probabilities` (V,)."""

    def __init__(self, probabilities):
        self.log_probs = torch.tensor(probabilities).log()

    def start(self, regions):
        return {}, {"nothing": torch.zeros(len(regions), 1, 1)}

    def step(self, tokens, state, memory):
        shape = (*tokens.shape, len(self.log_probs))
        return self.log_probs.expand(shape), dict(state), torch.ones(*tokens.shape, 1)


def _talker(**words):
    shares = np.full(len(VOCABULARY), 1e-9)
    for word, share in words.items():
        shares[END if word == "end" else VOCABULARY.ids[word]] = share
    return Talker(shares)


def test_a_reward_is_the_score_of_the_caption_with_its_end_mark():
    marked = [[f"{caption} <end>" for caption in captions] for captions in CAPTIONS]
    told = ["a dog runs", "two cats", "a man on a"]
    ids = [VOCABULARY.encode(caption) for caption in told]
    ended = [f"{caption} <end>" for caption in told]
    cider, four = cider_d(ended, marked)[1], bleu(ended, marked)[1][:, 3]
    pictures = ["0", "1", "2"]
    np.testing.assert_allclose(Critic(_pictures(), VOCABULARY, _options()).rewards(ids, pictures), cider)
    mixed = Critic(_pictures(), VOCABULARY, _options(reward={"cider": 0.5, "bleu": 2.0}))
    np.testing.assert_allclose(mixed.rewards(ids, pictures), 0.5 * cider + 2 * four)
    # Whose picture it is decides.
    assert mixed.rewards([ids[0]], ["1"]) < mixed.rewards([ids[0]], ["0"])


def test_a_caption_that_breaks_off_earns_less_than_with_the_end_mark_left_out():
    critic = Critic(_pictures(), VOCABULARY, _options())
    whole, broken = (VOCABULARY.encode(caption) for caption in ("a dog runs", "a red dog runs a"))
    plain = CiderD(CAPTIONS).scores(["a dog runs", "a red dog runs a"], [0, 0])
    counted = critic.rewards([whole, broken], ["0", "0"])
    assert counted[1] / counted[0] < plain[1] / plain[0]


@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_advantages_count_from_the_baseline(baseline):
    critic = Critic(_pictures(), VOCABULARY, _options(baseline=baseline, samples=4))
    batch = make_batch(_pictures())
    talker = _talker(a=0.3, dog=0.3, cats=0.2, end=0.2)
    told = critic.told(talker, torch.zeros(3, 1, 2), batch, seed=5)
    assert told.batch.ids == batch.ids
    assert told.batch.lengths.shape == (3, 4)
    assert (np.diff(told.batch.lengths, axis=1) <= 0).all()  # longest first
    captions = [
        [
            tuple(word for word in targets[:length].tolist() if word != END)
            for targets, length in zip(*pair, strict=True)
        ]
        for pair in zip(told.batch.targets, told.batch.lengths, strict=True)
    ]
    rewards = np.array(
        [critic.rewards(of_picture, [name] * 4) for name, of_picture in zip("012", captions, strict=True)]
    )
    assert told.reward == pytest.approx(rewards.mean())
    if baseline == "others":
        expected = rewards - (rewards.sum(1, keepdims=True) - rewards) / 3
        np.testing.assert_allclose(told.advantages.sum(1), 0, atol=1e-9)
    else:  # greedy: "a a a a a a", as the likeliest word is always the same
        greedy = [critic.rewards([[VOCABULARY.ids["a"]] * 6], [name])[0] for name in "012"]
        expected = rewards - np.array(greedy)[:, None]
    np.testing.assert_allclose(told.advantages, expected, atol=1e-12)


def test_an_end_that_came_by_force_is_not_learnt():
    critic = Critic(_pictures(), VOCABULARY, _options(samples=20, max_words=2))
    told = critic.told(_talker(a=0.4, dog=0.3, end=0.3), torch.zeros(3, 1, 2), make_batch(_pictures()), seed=1)
    for targets, length in zip(told.batch.targets.reshape(60, -1), told.batch.lengths.flatten(), strict=True):
        words = targets[:length].tolist()
        assert (words[-1] == END) == (len([word for word in words if word != END]) < 2)
    assert {1, 2} == set(told.batch.lengths.flatten().tolist())


def test_the_seed_decides_what_is_told():
    critic, batch = Critic(_pictures(), VOCABULARY, _options(samples=3)), make_batch(_pictures())
    talker = _talker(a=0.4, dog=0.4, end=0.2)
    first, same, other = (critic.told(talker, torch.zeros(3, 1, 2), batch, seed).batch.tokens for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert (first[:, :, 0] == START).all()


def test_the_loss_of_two_captions_is_that_worked_out_by_hand():
    # Picture 0: captions of 2 and 1 words, picture 1: one of 1 word and none.
    log_probs = torch.tensor([0.5, 0.25, 0.2, 0.1]).log()
    advantages = torch.tensor([[1.0, -2.0], [3.0, 9.0]])
    loss = self_critical_loss(log_probs, advantages, torch.tensor([[2, 1], [1, 0]]))
    assert loss.item() == pytest.approx(-(math.log(0.5 * 0.25) - 2 * math.log(0.2) + 3 * math.log(0.1)))


REWARDED = ("training.reward={ cider = 1.0 }", "training.epochs=2")
LONG = ("training.epochs=12", "training.learning_rate=3e-3", "training.schedule=constant", "training.validate_every=12")


def _history(folder):
    return json.loads((latest_checkpoint(folder) / "state.json").read_text())["progress"]["history"]


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_what_is_rewarded_is_told_more(few_shapes, tmp_path, baseline):
    first, _ = tiny_trainer(few_shapes, tmp_path / "first", *LEARNING, "training.epochs=2")
    assert first.train()
    settings = (*LEARNING, *REWARDED, *LONG, f"training.baseline={baseline}")
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", *settings, start_from=tmp_path / "first")
    assert trainer.train()
    history = _history(tmp_path / "run")
    assert all("train loss" not in entry for entry in history)
    rewards = [entry["train reward"] for entry in history]
    assert sum(rewards[-3:]) > 1.1 * sum(rewards[:3])


def test_a_rewarded_run_goes_on_bit_for_bit(few_shapes, tmp_path, monkeypatch):
    settings = (*LEARNING, *REWARDED, "training.reward_share=0.7")
    whole, _ = tiny_trainer(few_shapes, tmp_path / "whole", *settings)
    assert whole.train()
    assert {"train loss", "train reward"} <= _history(tmp_path / "whole")[0].keys()

    broken, _ = tiny_trainer(few_shapes, tmp_path / "broken", *settings)
    step, done = broken._step, []

    def until_the_fourth(batch):
        if len(done) == 3:
            broken._save()
            raise KeyboardInterrupt
        done.append(step(batch))

    monkeypatch.setattr(broken, "_step", until_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    again, _ = tiny_trainer(few_shapes, tmp_path / "broken", *settings, resume=True)
    assert again.train()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    timed = {"words/s", "seconds"}
    for mine, theirs in zip(_history(tmp_path / "whole"), _history(tmp_path / "broken"), strict=True):
        assert {k: v for k, v in mine.items() if k not in timed} == {k: v for k, v in theirs.items() if k not in timed}


@pytest.mark.parametrize("name", recipe_names())
@torch.no_grad()
def test_under_held_dropout_a_caption_is_as_likely_when_learnt_as_when_told(name):
    recipe = read_recipe(name)
    torch.manual_seed(0)
    regions = torch.randn(3, 1 if recipe.encoder.output in ("pooled", "flat") else 4, 6)
    encoder = SimpleNamespace(region_count=regions.shape[1], region_size=6)
    decoder = build_decoder(recipe, encoder, 30).eval()
    for module in decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    tokens = torch.randint(4, 30, (3, 2, 5))
    tokens[:, :, 0] = START
    lengths = torch.full((3, 2), 5)
    held = HeldDropout(decoder)
    with held.on():
        memory, state = decoder.start(regions)
        state = {name: value.repeat_interleave(2, 1) for name, value in state.items()}
        told = []
        for t in range(5):
            log_probs, state, _ = decoder.step(tokens[:, :, t], state, memory)
            told.append(log_probs)
        learnt = decoder(regions, tokens, lengths).logits.log_softmax(1)
    torch.testing.assert_close(learnt, torch.stack(told, 2).flatten(0, 2), rtol=1e-4, atol=1e-4)
    whole = decoder(regions, tokens, lengths).logits.log_softmax(1)
    assert not torch.allclose(learnt, whole, atol=1e-2)  # and it was dropped
    with HeldDropout(decoder).on():
        assert not torch.allclose(learnt, decoder(regions, tokens, lengths).logits.log_softmax(1), atol=1e-2)


def test_held_dropout_hides_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Dropout(0.0)).eval()
    with HeldDropout(model).on():
        found = model(torch.ones(4, 1000))
        assert torch.equal(found, model(torch.ones(4, 1000)))
    assert (found == found[0]).all()
    assert (found == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert found.mean().item() == pytest.approx(1, abs=0.07)
    assert torch.equal(model(torch.ones(2, 8)), torch.ones(2, 8))  # gone afterwards


def test_rewarded_captions_are_told_and_learnt_under_the_same_dropout(few_shapes, tmp_path):
    settings = ("training.reward={cider = 1.0}", "training.reward_dropout=true", "decoder.dropout=0.5")
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", *settings)
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    seen = []
    dropout = trainer.model.decoder.dropout
    dropout.register_forward_hook(lambda module, inputs, output: seen.append(module._forward_hooks.copy()))
    (part,) = trainer.objective.parts(trainer.model, batch, 1)
    masks = dict(part.dropout._masks)
    assert any((mask == 0).any() for mask in masks.values())
    trainer.objective.loss(
        trainer.model, trainer.learner, part, Whole(len(batch.rows), part.words, part.told_words), 0.0
    )
    assert part.dropout._masks.keys() == masks.keys()
    assert all(torch.equal(part.dropout._masks[key], mask) for key, mask in masks.items())
    assert len(seen) > 2
    assert all(len(hooks) == 2 for hooks in seen)  # the dropout, in telling and in learning, and the one that looks on
    assert trainer.train()
