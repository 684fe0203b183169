"""What all tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import showtell  # noqa: F401 - before any test imports ONNX Runtime, which then tells nothing of itself

# Where several processes test at once, threads that wait must not keep a processor busy: torch and its like read this
# as they are loaded, here and in the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

settings.register_profile("showtell", deadline=None, derandomize=True)  # the same examples on any machine, slow or not
settings.load_profile("showtell")

sys.path.insert(0, str(Path(__file__).parent))  # for the builders beside this file, under any import mode


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """Folder of a bundle that says "a red picture" of a red picture; see tiny_bundle.py. Tests must not change it."""
    pytest.importorskip("onnx")
    from tiny_bundle import build_tiny_bundle

    return build_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def captioner(tiny_bundle):
    """A captioner that runs the tiny bundle."""
    from showtell import Captioner

    return Captioner.load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of features for one file of tests alone, and one thread, as sums depend on how many there are."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory):
    """A generated data set small enough to train on in a second; tests must not change it."""
    from showtell.data.shapes import make_shapes

    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, train=48, val=6, test=6, size=32, seed=0)
    return folder
