import pytest


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory):
    """A generated data set small enough to train on in a second; tests must not change it."""
    from showtell.data.shapes import make_shapes

    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, train=48, val=6, test=6, size=32, seed=0)
    return folder
