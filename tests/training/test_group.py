"""Two processes that train one run together, as torchrun starts them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from safetensors.torch import load_file  # noqa: E402

from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.group import Group  # noqa: E402
from tiny_training import FEATURES, TINY, flags  # noqa: E402

STEADY = (*FEATURES, "training.amp=off", "training.batch=7", "training.learning_rate=1e-2")


def test_a_process_that_torchrun_did_not_start_is_alone():
    group = Group(torch.device("cpu"))
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert group.sum([1, 2.5]) == [1, 2.5]
    assert group.gather("x") == ["x"]
    with group.in_turn():
        pass
    model = torch.nn.Linear(1, 1)
    assert group.learner(model) is model


def test_errors_of_a_process_alone_stay_what_they_are():
    group = Group(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="mine"), group.together():
        raise RuntimeError("mine")


def test_memory_that_runs_out_is_nobody_elses_doing():
    group = Group(torch.device("cpu"))
    group.size = 2
    with pytest.raises(torch.OutOfMemoryError, match="mine"), group.together():
        raise torch.OutOfMemoryError("mine")


# With torchrun


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {**os.environ, "SHOWTELL_CACHE": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}


def _command(processes, data, out, *settings, resume=False):
    start = ["--resume"] if resume else ["--recipe", TINY, *flags(settings)]
    alone = [sys.executable, "-m", "showtell"]
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    train = ["train", "--data", str(data), "--out", str(out), *start]
    return [*(alone if processes == 1 else [*together, "showtell"]), *train]


def _train(environment, processes, data, out, *settings, resume=False):
    command = _command(processes, data, out, *settings, resume=resume)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def _history(run):
    return json.loads((latest_checkpoint(run) / "state.json").read_text())["progress"]["history"]


def _weights(run):
    return load_file(latest_checkpoint(run) / "model.safetensors")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(few_shapes, tmp_path, environment):
    rewarded = ("training.reward={cider = 1.0}", "training.reward_share=0.5", "training.average=0.9")
    settings = (*STEADY, "training.epochs=3", "training.parts=2", *rewarded)
    for processes in (1, 2):
        done = _train(environment, processes, few_shapes, tmp_path / str(processes), *settings)
        assert done.stdout.count("epoch 3/3") == 1  # one of them tells
    # 48 pictures in batches of 7: in the last step of an epoch one process has 3 and the other 3, else 4 and 3.
    one, two = (_history(tmp_path / str(processes)) for processes in (1, 2))
    for mine, theirs in zip(one, two, strict=True):
        for name in ("train loss", "val loss"):
            assert mine[name] == pytest.approx(theirs[name], abs=1e-4)
        assert mine["train reward"] == pytest.approx(theirs["train reward"], rel=2e-2)


@pytest.mark.slow
def test_batch_norms_that_each_process_would_estimate_for_itself_are_refused(few_shapes, tmp_path, environment):
    command = _command(2, few_shapes, tmp_path / "run", "encoder.frozen_norms=false")
    empty = {**environment, "SHOWTELL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=empty, capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "encoder.frozen_norms is false, but each of 2 processes would estimate batch norms" in done.stderr
    assert not (tmp_path / "run" / "recipe.json").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]  # told before any picture is read


@pytest.mark.slow
def test_a_group_that_was_stopped_goes_on_bit_for_bit(few_shapes, tmp_path, environment):
    settings = (*STEADY, "decoder.dropout=0.3", "training.epochs=30", "training.validate_every=30")
    _train(environment, 2, few_shapes, tmp_path / "whole", *settings)
    command = _command(2, few_shapes, tmp_path / "parts", *settings)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _wait_for(lambda: latest_checkpoint(tmp_path / "parts") is not None, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=100)[0]
    assert "all is saved, go on with --resume" in said
    stopped = latest_checkpoint(tmp_path / "parts").name
    assert stopped < "00030"
    _train(environment, 2, few_shapes, tmp_path / "parts", resume=True)
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_last_checkpoint_is_good(few_shapes, tmp_path, environment):
    settings = (*STEADY, "training.epochs=400", "training.validate_every=400", "training.checkpoint_seconds=0.5")
    command = _command(2, few_shapes, tmp_path / "run", *settings)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _wait_for(lambda: latest_checkpoint(tmp_path / "run") is not None, process)
    ranks = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, timeout=10).stdout.split()
    assert len(ranks) >= 2
    os.kill(int(ranks[-1]), signal.SIGKILL)
    said = process.communicate(timeout=100)[0]
    assert process.returncode != 0
    for rank in ranks:
        assert not _alive(int(rank)), said
    epoch = int(latest_checkpoint(tmp_path / "run").name[:5])
    more = [*_command(1, few_shapes, tmp_path / "run", resume=True), "--set", f"training.epochs={epoch + 1}"]
    done = subprocess.run(more, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "processes was 2, is 1" in done.stderr


def _wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
