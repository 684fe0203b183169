"""Going through captions a word at a time, with a next word that can be worked out by hand."""

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.models.decoder import mean_region, word_by_word  # noqa: E402

LENGTHS = torch.tensor([[4, 2], [3, 0], [1, 1]])  # (B, K), longest first both ways


def _told(lengths):
    """Every word adds its number to the state of its caption, and the picture's number times ten."""
    sizes = []

    def next_word(inputs, state, memory):
        sizes.append(tuple(inputs.shape[:2]))
        assert state["sum"].shape[:2] == inputs.shape[:2]
        assert memory["picture"].shape[0] == inputs.shape[0]
        total = state["sum"] + inputs + memory["picture"].unsqueeze(1)
        return {"sum": total}, (total, -total)

    inputs = torch.arange(1.0, 6.0).view(1, 1, 5, 1).expand(*lengths.shape, 5, 1)
    memory = {"picture": 10 * torch.arange(len(lengths)).float().unsqueeze(1)}
    kept = word_by_word(next_word, inputs, {"sum": torch.zeros(len(lengths), 1, 1)}, memory, lengths)
    return kept, sizes


def test_every_word_goes_on_from_the_one_before_and_only_what_is_still_told_is_computed():
    (total, negative), sizes = _told(LENGTHS)
    assert sizes == [(3, 2), (2, 2), (2, 1), (1, 1)]
    assert total.shape == (3, 2, 5, 1)
    assert total[0, 0, :, 0].tolist() == [1, 3, 6, 10, 0]
    assert total[1, 0, :3, 0].tolist() == [11, 23, 36]
    assert total[2, 1, :1, 0].tolist() == [21]
    assert torch.equal(negative, -total)


def test_what_is_told_does_not_depend_on_the_order_of_the_pictures():
    (sorted_, _), _ = _told(LENGTHS)
    (other, _), sizes = _told(LENGTHS[[0, 2, 1]])
    assert sizes == [(3, 2), (3, 2), (3, 1), (1, 1)]  # more is computed, nothing else changes
    assert other[0, 0, :4].tolist() == sorted_[0, 0, :4].tolist()
    assert other[2, 0, :3, 0].tolist() == [21, 43, 66]  # the third picture now


def test_the_mean_region_is_that_of_the_real_ones():
    regions = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [torch.inf, torch.nan]]])
    real = torch.tensor([[True, True, False]])
    assert mean_region(regions, real).tolist() == [[[2.0, 4.0]]]
    assert mean_region(regions[:, :2], None).tolist() == [[[2.0, 4.0]]]
