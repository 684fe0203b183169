"""A run that is stopped at any moment and goes on ends with the same bits as one that never stopped."""

import multiprocessing
import os
import random
import signal
import time

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.errors import CheckpointError  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training import checkpoint as checkpoint_module  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint, read_state  # noqa: E402
from showtell.training.device import torch_threads  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.request import Request  # noqa: E402

SETTINGS = [
    "encoder.size=32",
    "encoder.layer=layer1",
    "training.epochs=3",
    "training.batch=8",
    "decoder.hidden=16",
    "decoder.projection=16",
    "decoder.dropout=0.3",
    "training.workers=0",
]
FROM_FEATURES = [*SETTINGS, "encoder.train=false", "training.average=0.9", "training.flip=true"]


def _train(data, out, cache, settings, resume=True):
    os.environ["SHOWTELL_CACHE"] = str(cache)
    torch_threads(1)
    trainer = prepare(
        Request(data=data), out, recipe=read_recipe("shapes", settings), resume=resume, say=lambda _: None
    )
    return trainer.train(), trainer


def _bytes(out):
    checkpoint = latest_checkpoint(out)
    return {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}


@pytest.fixture(scope="module", params=[SETTINGS, FROM_FEATURES], ids=["pixels", "features"])
def uninterrupted(request, few_shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finished, trainer = _train(few_shapes, folder / "run", folder / "cache", request.param)
    assert finished
    assert len(trainer.progress.history) == 3
    return folder, request.param


def _until_killed(data, out, cache, settings, slow):
    if slow:  # a save takes so long that many moments fall inside one, however fast the machine
        write = checkpoint_module.write_bytes
        checkpoint_module.write_bytes = lambda path, content: (time.sleep(0.15), write(path, content))
    _train(data, out, cache, settings)


def _is_saving(run):
    folder = run / "checkpoints"
    return folder.is_dir() and any(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_no_bit(uninterrupted, few_shapes, tmp_path):
    folder, settings = uninterrupted
    run = tmp_path / "run"
    settings = [*settings, "training.checkpoint_seconds=0"]  # a save after every step
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["showtell.training.prepare", "timm", "torchvision"])
    moments = random.Random(0)
    kills = inside_a_save = 0
    while True:
        slow = kills < 22
        # Its own cache: some moments fall into the filling of the store.
        worker = context.Process(target=_until_killed, args=(few_shapes, run, tmp_path / "cache", settings, slow))
        worker.start()
        if not slow:
            worker.join(120)
            assert worker.exitcode == 0
            break
        if kills % 2:  # at any moment since the start, or since a save began
            for _ in range(3000):
                if _is_saving(run) or worker.exitcode is not None:
                    break
                time.sleep(0.01)
            worker.join(moments.uniform(0, 0.4))
        else:
            worker.join(moments.uniform(0, 0.8))
        if worker.exitcode is not None:
            assert worker.exitcode == 0
            break
        os.kill(worker.pid, signal.SIGKILL)
        killed_at = time.time()
        worker.join()
        kills += 1
        inside_a_save += _is_saving(run)
        latest = latest_checkpoint(run)
        if latest:
            assert killed_at - (latest / "state.json").stat().st_mtime < 60
    assert kills >= 20
    assert inside_a_save >= 1
    assert _bytes(tmp_path / "run") == _bytes(folder / "run")
    history = read_state(latest_checkpoint(tmp_path / "run"))[0].history
    timed = ("words/s", "seconds")
    expected = read_state(latest_checkpoint(folder / "run"))[0].history
    assert [{k: v for k, v in e.items() if k not in timed} for e in history] == [
        {k: v for k, v in e.items() if k not in timed} for e in expected
    ]


def test_ctrl_c_saves_and_the_rest_is_as_if_it_had_not_happened(uninterrupted, few_shapes, tmp_path):
    folder, settings = uninterrupted
    os.environ["SHOWTELL_CACHE"] = str(folder / "cache")
    torch_threads(1)
    said = []
    recipe = read_recipe("shapes", settings)
    trainer = prepare(Request(data=few_shapes), tmp_path / "run", recipe=recipe, say=said.append)
    step = trainer._step

    def interrupted(batch):
        step(batch)
        if trainer.progress.epoch == 1 and trainer.progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    trainer._step = interrupted
    assert not trainer.train()
    assert "stopped in epoch 2 after 2 of 6 steps" in said[-1]
    assert "--resume" in said[-1]
    finished, _ = _train(few_shapes, tmp_path / "run", folder / "cache", settings)
    assert finished
    assert _bytes(tmp_path / "run") == _bytes(folder / "run")


@pytest.mark.parametrize("sampling", ["order", "replacement", "length"])
def test_every_sampling_goes_on_to_the_same_bits(few_shapes, tmp_path, sampling):
    settings = [*FROM_FEATURES, f"training.sampling={sampling}", "training.limit_captions=30", "training.epochs=2"]
    settings += ["training.count_padding=true", "vocabulary.tokenizer=keras", "vocabulary.unknown=drop"]
    assert _train(few_shapes, tmp_path / "whole", tmp_path / "cache", settings)[0]
    recipe = read_recipe("shapes", settings)
    trainer = prepare(Request(data=few_shapes), tmp_path / "run", recipe=recipe, say=lambda _: None)
    assert trainer.steps == (3 if sampling == "replacement" else 4)
    step = trainer._step

    def interrupted(batch):
        step(batch)
        if (trainer.progress.epoch, trainer.progress.step) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)

    trainer._step = interrupted
    assert not trainer.train()
    assert _train(few_shapes, tmp_path / "run", tmp_path / "cache", settings)[0]
    assert _bytes(tmp_path / "run") == _bytes(tmp_path / "whole")


def test_a_finished_run_goes_on_with_more_epochs(few_shapes, tmp_path):
    settings = [*FROM_FEATURES, "training.epochs=1", "training.schedule=constant"]
    _train(few_shapes, tmp_path / "short", tmp_path / "cache", settings)
    trainer = prepare(
        Request(data=few_shapes),
        tmp_path / "short",
        recipe=None,
        settings=["training.epochs=2"],
        resume=True,
        say=lambda _: None,
    )
    assert trainer.train()
    assert [entry["epoch"] for entry in trainer.progress.history] == [1, 2]
    _train(few_shapes, tmp_path / "long", tmp_path / "cache", [*settings, "training.epochs=2"])
    assert _bytes(tmp_path / "short") == _bytes(tmp_path / "long")


def test_what_cannot_go_on_is_told(few_shapes, tmp_path):
    settings = [*FROM_FEATURES, "training.epochs=1"]
    _train(few_shapes, tmp_path / "run", tmp_path / "cache", settings)

    def go(data=few_shapes, recipe=None, resume=True, changes=()):
        return prepare(Request(data=data), tmp_path / "run", recipe=recipe, settings=changes, resume=resume, say=print)

    with pytest.raises(CheckpointError, match=r"holds a run already; go on with --resume"):
        go(recipe=read_recipe("shapes", settings), resume=False)
    with pytest.raises(CheckpointError, match=r"was trained with another decoder\.hidden"):
        go(changes=["decoder.hidden=17"])
    with pytest.raises(CheckpointError, match=r"was trained with another training\.limit_captions, training\.sampling"):
        go(changes=["training.limit_captions=20", "training.sampling=length"])
    with pytest.raises(CheckpointError, match=r"was trained with another .*decoder\.cell"):
        go(recipe=read_recipe("shapes", [*settings, "decoder.cell=lstm"]))
    from showtell.data.shapes import make_shapes

    make_shapes(tmp_path / "other", train=10, val=2, test=2, size=32, seed=1)
    with pytest.raises(CheckpointError, match=r"the data set has changed since the run began"):
        go(data=tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"no run to resume; start one with --recipe"):
        prepare(Request(data=few_shapes), tmp_path / "none", recipe=None, resume=True, say=print)
