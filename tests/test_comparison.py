"""Runs and bundles side by side: what is read of them, in what they differ, and how their captions are tested."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from showtell.comparison import (
    Contender,
    compare_captions,
    differing_keys,
    learnt_from,
    read_contender,
    unlike,
)
from showtell.data.example import Example
from showtell.decoding.options import DecodeOptions
from showtell.errors import BundleError, CheckpointError, DataError, RecipeError
from showtell.figures.curves import Curves
from showtell.metrics.significance import paired
from tiny_bundle import build_tiny_bundle
from tiny_run import write_run

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


def contender(name, fingerprint=None, learnt=(), **tables):
    recipe = {"name": name, **tables}
    return Contender(
        name=name,
        path=name,
        recipe=recipe,
        curves=Curves(name, (), None),
        validation={},
        takes_regions=False,
        fingerprint=fingerprint,
        learnt_from=frozenset(learnt),
    )


# What is read


def test_a_run_tells_what_it_is_and_what_it_took(tmp_path):
    run = write_run(tmp_path / "run", "training.batch=8", seconds=(60, 90, 30), best=2)
    found = read_contender(run, "mine")
    assert (found.name, found.recipe["name"], found.recipe["training"]["batch"]) == ("mine", "tiny", 8)
    assert (found.epochs, found.curves.best, found.minutes) == (3, 2, 3.0)
    assert found.validation == {"loss": 3.0, "CIDEr": 20.0, "BLEU-4": 4.0}
    assert found.learnt_from == {"a.png", "b.png"}
    data = run / "data.json"
    data.write_text(json.dumps(json.loads(data.read_text()) | {"learnt_before": ["c.png"]}))
    assert read_contender(run, "mine").learnt_from == {"a.png", "b.png", "c.png"}
    assert not found.takes_regions


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "RMSprop"])
def test_parameters_are_those_that_learn(tmp_path, optimizer):
    torch = pytest.importorskip("torch", reason="needs the training extra")
    from showtell.training.checkpoint import Progress, save_checkpoint

    model = torch.nn.ModuleDict({"learns": torch.nn.Linear(3, 5), "stays": torch.nn.Linear(2, 2).requires_grad_(False)})
    stepping = getattr(torch.optim, optimizer)(model.parameters())
    model["learns"](torch.ones(1, 3)).sum().backward()
    stepping.step()
    run = write_run(tmp_path / "run")
    history = [{"epoch": 1, "train loss": 1.0}]
    save_checkpoint(run, Progress(epoch=9, history=history), model, stepping, {})
    assert read_contender(run, "mine").parameters == 3 * 5 + 5


def test_parameters_are_not_told_where_the_optimizer_was_removed_or_is_damaged(tmp_path):
    run = write_run(tmp_path / "run")
    assert read_contender(run, "mine").parameters is None
    for damaged in (b"12345678[]", b"\2\0\0\0\0\0\0\0[]", b""):
        (next((run / "checkpoints").iterdir()) / "optimizer.safetensors").write_bytes(damaged)
        assert read_contender(run, "mine").parameters is None


def test_a_bundle_has_its_recipe_and_scores_but_no_curves(tmp_path):
    scores = {"val CIDEr": 31.5, "val loss": 2.5, "test CIDEr": 99.0}
    folder = build_tiny_bundle(tmp_path / "bundle", scores=scores, recipe={"name": "of another version", "new": 1})
    found = read_contender(folder, "small")
    assert found.recipe == {"name": "of another version", "new": 1}
    assert found.validation == {"CIDEr": 31.5, "loss": 2.5}
    assert (found.epochs, found.minutes, found.parameters, found.curves.history) == (None, None, None, ())


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    with pytest.raises(CheckpointError, match="gone: no such folder, expected a run"):
        read_contender(tmp_path / "gone", "gone")
    young = write_run(tmp_path / "young", seconds=())
    with pytest.raises(CheckpointError, match="young: no finished epoch yet"):
        read_contender(young, "young")
    damaged = write_run(tmp_path / "damaged")
    (damaged / "data.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"data\.json: damaged or missing .*; start a new run"):
        read_contender(damaged, "damaged")
    other = write_run(tmp_path / "other")
    (other / "recipe.json").write_text(json.dumps({"name": "x", "summary": "", "encoder": {"nmae": "y"}}))
    with pytest.raises(RecipeError, match=r"recipe\.json: unknown key 'encoder\.nmae'"):
        read_contender(other, "other")
    bundle = build_tiny_bundle(tmp_path / "bundle")
    (bundle / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(BundleError, match="bundle format 99"):
        read_contender(bundle, "bundle")


# In what they differ


def test_only_keys_that_differ_are_told_table_by_table():
    one = contender("one", encoder={"name": "x", "size": 32}, training={"batch": 8, "seed": 1})
    two = contender("two", encoder={"name": "x", "size": 64}, training={"batch": 8, "seed": 2})
    assert differing_keys([one, two]) == {"encoder.size": [32, 64], "training.seed": [1, 2]}
    assert differing_keys([one, one]) == {}


def test_a_key_of_one_architecture_is_told_only_where_those_that_have_it_differ():
    one = contender("one", decoder={"architecture": "attend", "gate": True, "hidden": 8})
    two = contender("two", decoder={"architecture": "attend", "gate": False, "hidden": 8})
    other = contender("other", decoder={"architecture": "merge", "picture": 4, "hidden": 8})
    assert differing_keys([one, two, other]) == {
        "decoder.architecture": ["attend", "attend", "merge"],
        "decoder.gate": [True, False, None],
    }


def test_runs_of_older_versions_have_the_defaults_of_keys_that_came_later(tmp_path):
    old, new = write_run(tmp_path / "old"), write_run(tmp_path / "new", "training.batch=8")
    table = json.loads((old / "recipe.json").read_text())
    del table["training"]["workers"]
    (old / "recipe.json").write_text(json.dumps(table))
    found = [read_contender(run, run.name) for run in (old, new)]
    # The tests' recipe asks for no workers, the default is two.
    assert differing_keys(found) == {"training.batch": [16, 8], "training.workers": [2, 0]}


def test_the_run_that_one_began_with_is_told(tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", start_from="runs/first")]
    found = [read_contender(run, run.name) for run in runs]
    assert differing_keys(found) == {"--from": ["", "runs/first"]}


def test_other_data_and_other_words_are_told():
    plain = {"vocabulary": {"tokenizer": "words", "min_count": 5}}
    same = [contender("a", "f", **plain), contender("b", "f", **plain), contender("bundle", **plain)]
    assert unlike(same) == []
    (data,) = unlike([*same, contender("c", "g", **plain)])
    assert data.startswith("trained on different data or splits: a, b | c;")
    (rare,) = unlike([same[0], contender("c", "f", vocabulary={"tokenizer": "words", "min_count": 1})])
    assert rare.startswith("vocabulary.min_count differ: the runs' own losses count other words")
    (words,) = unlike([same[0], contender("c", "f", vocabulary={"tokenizer": "keras", "min_count": 5})])
    assert words.startswith("vocabulary.tokenizer differ: the runs' own losses and scores count other words")


def test_pictures_that_a_run_has_learnt_from_are_told():
    runs = [contender("a", learnt="xyz"), contender("b", learnt="pq")]
    assert learnt_from(runs, {"p", "q", "r"}, "val") == [
        "b has learnt from 2 of the 3 pictures of val: its scores there tell what it remembers"
    ]


# Captions


@pytest.fixture
def examples(tmp_path):
    """Six pictures of one colour; half of what people said of them names another."""
    made = []
    for i in range(6):
        colour = list(COLOURS)[i % 3]
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (40, 40), COLOURS[colour]).save(path)
        said = f"a {colour} picture" if i < 3 else "a wall of green bricks here"
        made.append(Example(id=path.name, image=path, captions=(said,), split="val"))
    return made


@pytest.fixture
def bundles(tmp_path):
    """Three: one that tells up to six words, two that stop after two."""
    full = build_tiny_bundle(tmp_path / "full")
    cut = build_tiny_bundle(tmp_path / "cut", decoding=DecodeOptions(beam_width=2, max_words=2))
    shutil.copytree(cut, tmp_path / "again")
    return [read_contender(path, path.name) for path in (full, cut, tmp_path / "again")]


def compare(bundles, examples, metrics=("BLEU-1", "CIDEr"), **options):
    return compare_captions(bundles, lambda _: examples, "val", metrics, threads=1, **options)


def test_each_is_tested_against_the_first_and_p_is_corrected_for_all(bundles, examples):
    found = compare(bundles, examples)
    first, *others = found.scored
    assert (found.pictures, found.split, found.failures, found.tests) == (6, "val", (), 4)
    assert first.differences == {}
    for other in others:
        assert set(other.differences) == {"BLEU-1", "CIDEr"}
        for name, difference in other.differences.items():
            theirs, ours = first.measured.scores[name], other.measured.scores[name]
            assert difference == paired(ours, theirs)
            assert difference.difference == pytest.approx(ours.value - theirs.value)
            # The two others are equal, so their p are: 2 p and then 1 p, not less than the one before.
            assert other.corrected[name] == pytest.approx(min(1, 2 * difference.p))
    assert first.measured.scores["CIDEr"].value > others[0].measured.scores["CIDEr"].value


def test_one_difference_in_each_score_is_not_corrected(bundles, examples):
    other = compare(bundles[:2], examples).scored[1]
    assert other.corrected == {name: found.p for name, found in other.differences.items()}


def test_the_beam_is_each_ones_own_or_the_same_for_all(bundles, examples):
    assert [one.beam for one in compare(bundles[:2], examples).scored] == [3, 2]
    assert [one.beam for one in compare(bundles[:2], examples, beam=1).scored] == [1, 1]


def test_only_pictures_count_that_all_can_read(bundles, examples, tmp_path):
    """Of the second the third picture is missing, of the third the first; the order of the files differs too."""
    gone = tmp_path / "gone.png"
    lists = {
        "full": examples,
        "cut": [*examples[:2], Example(id="2.png", image=gone, captions=("x",), split="val"), *examples[3:]],
        "again": [Example(id="0.png", image=gone, captions=("x",), split="val"), *examples[1:]][::-1],
    }
    found = compare_captions(bundles, lambda one: lists[one.name], "val", ["CIDEr"], threads=1)
    assert found.pictures == 4
    assert [(one.name, failure.source) for one, failure in found.failures] == [("cut", str(gone)), ("again", str(gone))]
    alone = compare(bundles, [examples[i] for i in (1, 3, 4, 5)], ["CIDEr"])
    for one, other in zip(found.scored, alone.scored, strict=True):
        np.testing.assert_allclose(one.measured.scores["CIDEr"].per_picture, other.measured.scores["CIDEr"].per_picture)
    with pytest.raises(DataError, match="no picture that all of them can read"):
        compare_captions(
            bundles[:2], lambda one: examples[:2] if one.name == "full" else examples[2:], "val", ["CIDEr"], threads=1
        )


def test_a_beam_that_one_cannot_have_is_told_before_any_captions(bundles, examples, tmp_path):
    groups = build_tiny_bundle(tmp_path / "groups", decoding=DecodeOptions(beam_width=4, beam_groups=2))
    said = []
    contenders = [bundles[0], read_contender(groups, "groups")]
    with pytest.raises(RecipeError, match=r"^groups: decoding\.beam_width is 3, expected a multiple of beam_groups 2"):
        compare_captions(contenders, lambda _: examples, "val", ["CIDEr"], beam=3, say=said.append)
    assert said == []


def test_only_figures_and_no_score_give_no_test(bundles, examples):
    found = compare(bundles[:2], examples, ["diversity"])
    assert (found.pictures, found.tests) == (6, 0)
    assert math.isclose(found.scored[0].figures["words per caption"], 3)
