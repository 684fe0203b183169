import json
from pathlib import Path

import numpy as np
import pytest

from showtell.errors import FeatureError
from showtell.training import store as store_module
from showtell.training.store import RowStore

IDENTITY = {"name": "an encoder", "weights": "abc"}


def _rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2, 3)).astype(np.float32)


def _open(folder, identity=IDENTITY):
    return RowStore(folder, identity, (2, 3), "float16")


def test_rows_come_back_as_they_went_in_across_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 40)  # rows of 12 bytes: three a shard
    values = _rows(8)
    mask = np.arange(16).reshape(8, 2) % 3 > 0
    with _open(tmp_path / "s") as store:
        store.append([f"k{i}" for i in range(5)], values[:5], mask[:5])
        store.append([f"k{i}" for i in range(5, 8)], values[5:], mask[5:])
    again = _open(tmp_path / "s")
    order = [7, 0, 3, 3, 5]
    found, found_mask = again.read([again.rows[f"k{i}"] for i in order])
    assert np.array_equal(found, values[order].astype(np.float16))
    assert np.array_equal(found_mask, mask[order])
    assert len(list((tmp_path / "s").glob("shard-*.bin"))) == 3


def test_what_a_kill_left_behind_the_index_is_written_over(tmp_path):
    values = _rows(3)
    with _open(tmp_path) as store:
        store.append(["a"], values[:1])
    with (tmp_path / "shard-00000.bin").open("ab") as file:
        file.write(b"half a row that no index line promises")
    with (tmp_path / "index.jsonl").open("a") as file:
        file.write('{"key": "b", "ro')
    with _open(tmp_path) as store:
        assert store.rows == {"a": 0}
        store.append(["b", "c"], values[1:])
    again = _open(tmp_path)
    assert np.array_equal(again.read([0, 1, 2])[0], values.astype(np.float16))


def test_another_encoder_is_refused_by_name_of_the_difference(tmp_path):
    _open(tmp_path)
    with pytest.raises(FeatureError, match=r"another encoder \(differs in weights\).*--features"):
        _open(tmp_path, {**IDENTITY, "weights": "xyz"})


def test_a_value_that_is_not_finite_in_float16_is_an_error(tmp_path):
    values = _rows(2)
    values[1, 0, 0] = 1e6  # finite in float32, infinite in float16
    with _open(tmp_path) as store, pytest.raises(FeatureError, match="not finite in float16"):
        store.append(["a", "b"], values)
    assert _open(tmp_path).rows == {}


def test_a_file_is_hashed_again_only_when_size_or_time_changed(tmp_path, monkeypatch):
    picture = tmp_path / "p"
    picture.write_bytes(b"one")
    with _open(tmp_path / "s") as store:
        first = store.key(picture)
        store.flush_files()
    store = _open(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr(type(picture), "read_bytes", lambda _: pytest.fail("hashed again"))
        assert store.key(picture) == first
    picture.write_bytes(b"other")
    assert store.key(picture) != first


def test_a_shard_shorter_than_its_index_is_an_error(tmp_path):
    with _open(tmp_path) as store:
        store.append(["a", "b"], _rows(2))
    with (tmp_path / "shard-00000.bin").open("r+b") as file:
        file.truncate(15)
    with pytest.raises(FeatureError, match="15 bytes, its index promises 24"):
        _open(tmp_path)


def test_a_shard_cut_short_while_the_store_is_open_is_an_error(tmp_path):
    with _open(tmp_path) as store:
        store.append(["a", "b"], _rows(2))
    with (tmp_path / "shard-00000.bin").open("r+b") as file:
        file.truncate(15)
    assert np.array_equal(store.read([0])[0], _rows(2)[:1].astype(np.float16))
    with pytest.raises(FeatureError, match=r"shard-00000\.bin: ends in row 1 after 3 of 12 bytes"):
        store.read([0, 1])
    (tmp_path / "shard-00000.bin").unlink()
    with pytest.raises(FeatureError, match=r"shard-00000\.bin: cannot be read \(No such file"):
        store.read([0])


def test_rows_of_many_shards_need_no_file_open_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 12)  # one row a shard
    values = _rows(12)
    with _open(tmp_path) as store:
        store.append([f"k{i}" for i in range(12)], values)
    opened, most = [], 0
    real = type(tmp_path).open

    def counted(path, *given, **named):
        nonlocal most
        opened.append(real(path, *given, **named))
        most = max(most, sum(not file.closed for file in opened))
        return opened[-1]

    monkeypatch.setattr(type(tmp_path), "open", counted)
    assert np.array_equal(store.read(range(12))[0], values.astype(np.float16))
    assert len(opened) == 24
    assert most == 1


MAPS = Path("/proc/self/maps")  # Linux tells which files a process has mapped


@pytest.mark.skipif(not MAPS.exists(), reason="needs /proc")
def test_reading_maps_no_file_into_memory(tmp_path):
    with _open(tmp_path) as store:
        store.append(["a"], _rows(1))
    held = store.read([0])
    assert str(tmp_path) not in MAPS.read_text()
    assert held[1].all()


def test_a_damaged_index_is_an_error(tmp_path):
    with _open(tmp_path) as store:
        store.append(["a"], _rows(1))
    index = tmp_path / "index.jsonl"
    index.write_text("no json\n" + index.read_text())
    with pytest.raises(FeatureError, match=r"index\.jsonl: damaged"):
        _open(tmp_path)


def test_the_identity_on_disk_is_readable(tmp_path):
    _open(tmp_path)
    assert json.loads((tmp_path / "identity.json").read_text()) == {**IDENTITY, "shape": [2, 3], "dtype": "float16"}


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    values = _rows(3)
    with _open(tmp_path) as store:
        store.append(["a"], values[:1])
        with monkeypatch.context() as patch:
            patch.setattr(store, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(FeatureError, match=r"No space left on device.*what is done stays done"):
                store.append(["b", "c"], values[1:])
    with _open(tmp_path) as again:
        assert again.rows == {"a": 0}
        again.append(["b", "c"], values[1:])
        assert np.array_equal(again.read([0, 1, 2])[0], values.astype(np.float16))
