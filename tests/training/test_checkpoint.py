import errno
import json

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from torch import nn  # noqa: E402

from showtell.errors import CheckpointError  # noqa: E402
from showtell.training import checkpoint as module  # noqa: E402
from showtell.training.checkpoint import (  # noqa: E402
    Progress,
    best_checkpoint,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    save_checkpoint,
)


def _trained(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def _names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_model_optimizer_and_progress_come_back_exactly(tmp_path):
    model, optimizer = _trained()
    progress = Progress(epoch=2, step=5, loss_sum=0.1 + 0.2, words=7, best_score=1.5, history=[{"epoch": 1}])
    path = save_checkpoint(tmp_path, progress, model, optimizer, {"threads": 1})
    other, other_optimizer = _trained(1)
    load_model(path, other)
    load_optimizer(path, other_optimizer)
    found, facts = read_state(path)
    assert found == progress
    assert facts == {"threads": 1}
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_latest_and_the_best_are_kept_and_no_other(tmp_path):
    model, optimizer = _trained()
    progress = Progress()
    for epoch, best in ((1, "00001-00000"), (2, "00001-00000"), (3, "00001-00000")):
        progress.epoch, progress.best = epoch, best
        save_checkpoint(tmp_path, progress, model, optimizer, {})
    assert _names(tmp_path) == ["00001-00000", "00003-00000"]
    assert latest_checkpoint(tmp_path).name == "00003-00000"
    assert best_checkpoint(tmp_path).name == "00001-00000"


@pytest.mark.parametrize("writes_before", [0, 1, 2])
def test_a_full_disk_leaves_the_last_good_checkpoint_and_says_so(tmp_path, monkeypatch, writes_before):
    model, optimizer = _trained()
    save_checkpoint(tmp_path, Progress(epoch=1), model, optimizer, {})
    real, calls = module.write_bytes, []

    def full(path, content):
        calls.append(path)
        if len(calls) > writes_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(module, "write_bytes", full)
    with pytest.raises(
        CheckpointError, match=r"No space left on device.*last good checkpoint is 00001-00000.*--resume"
    ):
        save_checkpoint(tmp_path, Progress(epoch=2), model, optimizer, {})
    assert _names(tmp_path) == ["00001-00000"]
    load_model(latest_checkpoint(tmp_path), model)


def test_what_a_kill_left_of_a_save_is_ignored_and_replaced(tmp_path):
    model, optimizer = _trained()
    save_checkpoint(tmp_path, Progress(epoch=1), model, optimizer, {})
    aside = tmp_path / "checkpoints" / ".00002-00000"
    aside.mkdir()
    (aside / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(tmp_path).name == "00001-00000"
    save_checkpoint(tmp_path, Progress(epoch=2), model, optimizer, {})
    assert _names(tmp_path) == ["00002-00000"]


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    model, optimizer = _trained()
    path = save_checkpoint(tmp_path, Progress(), model, optimizer, {})
    wider = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 9))
    with pytest.raises(CheckpointError, match=r"1\.bias is \(2,\), the recipe's model expects \(9,\)"):
        load_model(path, wider)
    with pytest.raises(CheckpointError, match=r"1\.bias is \(2,\), the recipe's model expects absent"):
        load_model(path, nn.Sequential(nn.Linear(3, 4)))


def test_damage_is_told_with_the_file(tmp_path):
    model, optimizer = _trained()
    path = save_checkpoint(tmp_path, Progress(), model, optimizer, {})
    (path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged or missing"):
        load_model(path, model)
    (path / "state.json").write_text(json.dumps({"progress": {"unknown": 1}}))
    with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
        read_state(path)
    with pytest.raises(CheckpointError, match=r"no checkpoint; train first"):
        best_checkpoint(tmp_path / "nothing")


def test_a_checkpoint_of_the_same_step_is_never_taken_away(tmp_path, monkeypatch):
    # To write it anew it would have to go for a moment, in which a kill could come.
    model, optimizer = _trained()
    path = save_checkpoint(tmp_path, Progress(epoch=1), model, optimizer, {})
    before = {file.name: (file.stat().st_ino, file.read_bytes()) for file in path.iterdir()}
    monkeypatch.setattr(module.shutil, "rmtree", lambda folder, **_: pytest.fail(f"{folder} removed"))
    assert save_checkpoint(tmp_path, Progress(epoch=1), model, optimizer, {}) == path
    assert {file.name: (file.stat().st_ino, file.read_bytes()) for file in path.iterdir()} == before


def test_the_latest_is_the_highest_number_and_no_stray_file(tmp_path):
    for name in ("00002-00003", "00002-99999", "00002-100000", "00001-500000", ".00009-00000", "notes", "9"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert latest_checkpoint(tmp_path).name == "00002-100000"
