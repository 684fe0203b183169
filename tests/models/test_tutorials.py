"""The recipes of the five tutorials have exactly the parameters that the tutorials have."""

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.models import ARCHITECTURES  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402


@pytest.mark.parametrize(
    ("name", "regions", "size", "words", "parameters"),
    [
        ("show-attend-tell", 64, 2048, 5000, 6_602_889),
        ("show-attend-tell-r", 64, 2048, 5000, 6_602_889),
        ("init-inject", 1, 4096, 10_000, 12_645_648),
        ("merge", 1, 2048, 4487, 5_079_047),
        ("show-and-tell", 1, 2048, 7072, 3_192_448),
    ],
)
def test_a_tutorials_recipe_has_its_parameters(name, regions, size, words, parameters):
    options = read_recipe(name).decoder
    decoder = ARCHITECTURES[options.architecture](options, regions, size, words)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == parameters
