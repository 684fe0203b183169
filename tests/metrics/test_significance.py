"""Intervals and paired tests against every possible draw of tiny sets, and against what they promise on many sets."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.errors import DataError
from showtell.metrics import significance
from showtell.metrics.score import from_statistics, mean_score, score
from showtell.metrics.significance import confidence, holm, paired


def ratio(sums):
    return sums[..., 0] / (sums[..., 1] + 1)


def ratio_score(statistics):
    """A score that is no mean, as BLEU is none."""
    statistics = np.asarray(statistics, np.float64)
    return from_statistics("ratio", statistics, ratio, ratio(statistics))


def all_resamples(statistics, combine):
    """The score of every possible draw with replacement, each as likely as any other."""
    count = len(statistics)
    return np.array([combine(statistics[list(rows)].sum(0)) for rows in itertools.product(range(count), repeat=count)])


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_interval_is_that_of_all_possible_draws(level):
    generator = np.random.default_rng(1)
    for found in (mean_score("m", generator.random(6)), ratio_score(generator.integers(1, 9, (6, 2)))):
        every = all_resamples(found.statistics, found.combine)
        expected = np.quantile(every, [(1 - level) / 2, (1 + level) / 2])
        spread = every.std()
        np.testing.assert_allclose(confidence(found, level, 20_000), expected, atol=0.15 * spread)  # draws are discrete


def test_p_is_that_of_all_possible_swaps():
    generator = np.random.default_rng(2)
    for make in (lambda: mean_score("m", generator.random(8)), lambda: ratio_score(generator.integers(1, 9, (8, 2)))):
        a, b = make(), make()
        gains = b.statistics - a.statistics
        masks = np.array(list(itertools.product((0, 1), repeat=8)))
        moved = masks @ gains
        every = a.combine(a.statistics.sum(0) + moved) - b.combine(b.statistics.sum(0) - moved)
        expected = np.mean(np.abs(every) >= abs(a.value - b.value) - 1e-12)
        found = paired(a, b, samples=20_000)
        assert found.difference == a.value - b.value
        assert found.p == pytest.approx(expected, abs=0.015)


def test_two_pictures_by_hand():
    # Swapping both or none gives a difference of 1 in size, swapping one gives 0: half of all swaps.
    found = paired(mean_score("m", [1, 1]), mean_score("m", [0, 0]), samples=4000)
    assert found.difference == 1
    assert found.p == pytest.approx(0.5, abs=0.03)
    assert (found.low, found.high) == (1, 1)  # whichever pictures are drawn
    # Draws of (0, 1) are 0, 1/2, 1/2, 1.
    assert confidence(mean_score("m", [0, 1]), 0.95) == (0, 1)
    assert confidence(mean_score("m", [0, 1]), 0.4) == (0.5, 0.5)


def test_p_is_never_zero_and_equal_candidates_have_p_one():
    a, b = mean_score("m", np.ones(50)), mean_score("m", np.zeros(50))
    assert paired(a, b, samples=999).p == 1 / 1000
    same = paired(a, a, samples=99)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    one = mean_score("m", [0.3])
    assert confidence(one) == (0.3, 0.3)
    assert paired(one, mean_score("m", [0.1]), samples=99).p == 1  # a swap turns the sign only


def test_ninety_five_percent_of_intervals_hold_the_truth():
    generator = np.random.default_rng(3)
    hits = 0
    for seed in range(400):
        low, high = confidence(mean_score("m", generator.gamma(2, 0.5, 120)), samples=400, seed=seed)  # mean 1, skewed
        hits += low <= 1 <= high
    assert 0.915 <= hits / 400 <= 0.975


def test_p_is_uniform_where_there_is_no_difference_and_small_where_there_is():
    generator = np.random.default_rng(4)
    null, clear = [], []
    for seed in range(400):
        common = generator.random(60)  # both captioners find the same pictures hard
        a, b = (mean_score("m", common + 0.2 * generator.standard_normal(60)) for _ in range(2))
        null.append(paired(a, b, samples=199, resamples=2, seed=seed).p)
        better = mean_score("m", a.per_picture + 0.15)
        clear.append(paired(better, b, samples=199, resamples=2, seed=seed).p)
    for share in (0.05, 0.25, 0.5, 0.75):
        assert np.mean(np.array(null) <= share) == pytest.approx(share, abs=0.06)
    assert np.mean(np.array(clear) <= 0.05) > 0.95


def test_pairing_sees_what_the_intervals_of_each_do_not():
    generator = np.random.default_rng(5)
    a = mean_score("m", generator.random(500))
    b = mean_score("m", a.per_picture + 0.01 + 0.02 * generator.standard_normal(500))
    low, high = confidence(a)
    assert low < b.value < high
    found = paired(a, b)
    assert found.p < 0.001
    assert found.low < found.difference < found.high < 0


def test_the_same_seed_gives_the_same_and_the_size_of_chunks_changes_nothing(monkeypatch):
    generator = np.random.default_rng(6)
    a, b = (ratio_score(generator.integers(1, 9, (40, 2))) for _ in range(2))
    interval, test = confidence(a, samples=300, seed=7), paired(a, b, samples=300, seed=7)
    assert confidence(a, samples=300, seed=7) == interval
    assert confidence(a, samples=300, seed=8) != interval
    monkeypatch.setattr(significance, "_CELLS", 1000)
    np.testing.assert_allclose(confidence(a, samples=300, seed=7), interval)
    small = paired(a, b, samples=300, seed=7)
    np.testing.assert_allclose([small.low, small.high], [test.low, test.high])


def test_memory_does_not_grow_with_samples():
    import tracemalloc

    a, b = mean_score("m", np.linspace(0, 1, 3000)), mean_score("m", np.linspace(0, 0.9, 3000))
    tracemalloc.start()
    confidence(a, samples=2000)
    paired(a, b, samples=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # all at once would be 2000 x 3000 x 8 bytes = 48 MB for each of several arrays


def test_scores_of_captions_can_be_resampled_whatever_they_are():
    references = [["a dog runs in the park", "the dog runs"], ["a cat sleeps on a bed", "one cat"], ["a red ball"]] * 4
    good = ["a dog runs in the park", "a cat sleeps", "a ball"] * 4
    bad = ["a cat", "a dog runs on a bed", "ball ball"] * 4
    ours, theirs = score(good, references), score(bad, references)
    for name, found in ours.items():
        low, high = confidence(found, samples=200)
        assert low <= found.value <= high
        assert paired(found, theirs[name], samples=999).p < 0.01


def test_different_metrics_or_pictures_are_refused():
    with pytest.raises(DataError, match="a of 2 pictures and b of 2, expected the same metric of the same pictures"):
        paired(mean_score("a", [0, 1]), mean_score("b", [0, 1]))
    with pytest.raises(DataError, match="a of 2 pictures and a of 3, expected the same metric"):
        paired(mean_score("a", [0, 1]), mean_score("a", [0, 1, 1]))


def test_corrected_p_by_hand():
    # Smallest first: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04; the last not less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=8))
def test_correction_rejects_what_its_step_by_step_procedure_rejects(chances):
    """Holm's own words: from the smallest on, reject while p is at most level / (how many are left)."""
    level, rejected = 0.05, set()
    for left, (chance, i) in zip(
        range(len(chances), 0, -1), sorted((p, i) for i, p in enumerate(chances)), strict=True
    ):
        if chance * left > level:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(holm(chances)) if p <= level} == rejected
