"""From addresses to a data set in its folder, whatever was there, whatever ends it midway, whatever comes."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections import namedtuple
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from fickle_server import Answer, fickle_server
from showtell.data import obtain as module
from showtell.data.disk import DiskError
from showtell.data.obtain import obtain, placed_before
from showtell.data.places import DataSource, SourceFile
from showtell.errors import DataError
from showtell.files import lock

FILES = {"in/a.txt": b"one", "in/deeper/b.txt": b"two", "c.txt": b"three"}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Onlooker:
    def __init__(self):
        self.lines = []

    def progress(self, doing, name, done, total): ...

    def notice(self, line):
        self.lines.append(line)


class Case:
    def __init__(self, server, folder):
        self.server, self.folder, self.waits, self.onlooker = server, folder / "set", [], Onlooker()
        self.files = []

    def offer(self, name, content, **known):
        self.server.files[f"/{name}"] = content
        self.files = [file for file in self.files if file.name != name]
        address = f"{self.server.address}/{name}"
        self.files.append(SourceFile(name=name, part=name.partition(".")[0], addresses=(address,), **known))

    def load(self, *answers, **options):
        self.server.answers[:] = answers
        self.source = DataSource(name="set", title="", parts=(), files=tuple(self.files))
        return obtain(
            self.source, self.source.all_parts, self.folder, watcher=self.onlooker, sleep=self.waits.append, **options
        )

    @property
    def found(self):
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and ".download" not in path.parts
        }

    @property
    def state(self):
        return sorted(path.name for path in (self.folder / ".download").iterdir() if path.name != "lock")

    @property
    def asked(self):
        return [path for path, _ in self.server.asked]


@pytest.fixture
def case(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sync", lambda: None)  # of the whole machine, which may be busy
    with fickle_server() as server:
        case = Case(server, tmp_path)
        case.offer("one.zip", zipped(FILES))
        yield case


def test_a_data_set_comes_into_place_and_is_not_loaded_again(case):
    first = case.load()
    assert first.failures == []
    assert case.found == FILES
    assert case.state == ["one.zip.done"]
    assert (first.placed["one.zip"].files, first.placed["one.zip"].bytes) == (3, 11)
    assert case.load() == first
    assert case.asked == ["/one.zip"]
    assert case.onlooker.lines[-1] == "one.zip: is here already"


def test_the_found_sum_is_told_where_none_is_known(case):
    content = zipped(FILES)
    sha256 = hashlib.sha256(content).hexdigest()
    assert case.load().placed["one.zip"].sha256 == sha256
    assert f"one.zip: sha256 is {sha256}; none is known to compare it with" in case.onlooker.lines
    case.offer("two.zip", zipped({"d.txt": b""}), sha256=hashlib.sha256(zipped({"d.txt": b""})).hexdigest())
    case.onlooker.lines.clear()
    case.load()
    assert not [line for line in case.onlooker.lines if "sha256" in line]


def test_several_archives_share_folders(case):
    case.offer("two.tar.gz", b"")
    with tarfile.open(case.folder.with_name("t"), "w:gz") as archive:
        for name in ("in/z.txt", "in/deeper/z.txt"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"z"))
    case.server.files["/two.tar.gz"] = case.folder.with_name("t").read_bytes()
    case.offer("plain.txt", b"as it is", to="more/here")
    assert case.load().failures == []
    added = {"in/z.txt": b"z", "in/deeper/z.txt": b"z", "more/here/plain.txt": b"as it is"}
    assert case.found == FILES | added
    case.load()
    assert len(case.asked) == 3


def test_archives_stay_on_request(case):
    case.offer("plain.txt", b"as it is")
    case.load(keep_archives=True)
    assert case.state == ["one.zip", "one.zip.done", "plain.txt", "plain.txt.done"]
    assert case.found == FILES | {"plain.txt": b"as it is"}


def test_what_was_lost_since_is_loaded_again(case):
    case.load()
    (case.folder / "in/a.txt").unlink()
    case.load()
    assert case.found == FILES
    assert len(case.asked) == 2
    (case.folder / "c.txt").write_text("cut")
    assert "c.txt: is there already and is another one; move it away" in case.load().failures[0]
    (case.folder / "c.txt").unlink()
    assert case.load().failures == []
    assert case.found == FILES
    assert case.state == ["one.zip.done"]


def test_lost_pictures_of_a_large_folder_are_noticed(case):
    many = {f"pictures/{i:03}.jpg": b"x" for i in range(120)}
    case.offer("many.zip", zipped(many))
    placed = case.load().placed["many.zip"]
    assert placed.kept == {"pictures/": 120}
    (case.folder / "pictures/007.jpg").unlink()
    assert placed_before(case.files[-1], case.folder) is None
    case.load()
    assert case.found == FILES | many


def test_a_table_that_says_something_else_now_loads_anew(case):
    case.load()
    same, other = case.files[0], replace(case.files[0], take=("c.txt",))
    assert placed_before(same, case.folder) is not None
    assert placed_before(other, case.folder) is None
    assert placed_before(replace(same, sha256="0" * 64), case.folder) is None
    assert placed_before(replace(same, addresses=("http://mirror.example/one.zip",)), case.folder) is not None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"placed": 3}', '{"placed": {"more": 1}, "file": {}}', "null"])
def test_damaged_notes_of_what_is_done_load_anew(case, text):
    case.load()
    (case.folder / ".download/one.zip.done").write_text(text)
    assert case.load().failures == []
    assert case.found == FILES


class KilledError(BaseException):
    pass


STEPS = ["download", "_stage", "_check_layout", "write_text", "sync", "replace", "rmtree", "unlink", "sync_folder"]


@pytest.mark.parametrize("step", STEPS)
def test_an_end_at_any_moment_leaves_no_half_and_the_same_call_goes_on(case, monkeypatch, step):
    """The end comes before or after the first, second ... use of each step that changes the disk."""
    place = {"sync": os, "replace": Path, "unlink": Path, "rmtree": shutil}.get(step, module)
    wanted, true, ends = FILES | {"plain.txt": b"as it is"}, getattr(place, step), 0
    case.offer("plain.txt", b"as it is")
    for after, time in product((True, False), range(1, 6)):
        case.folder = case.folder.with_name(f"{after}{time}")
        count = [0]

        def fails(*arguments, after=after, time=time, count=count, **options):
            count[0] += 1
            if count[0] != time:
                return true(*arguments, **options)
            if after:
                true(*arguments, **options)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(place, step, fails)
            try:
                case.load()
            except KilledError:
                ends += 1
                # Whole files alone, and each under its own name.
                assert case.found.items() <= wanted.items()
        assert case.load().failures == []
        assert case.found == wanted
        assert case.state == ["one.zip.done", "plain.txt.done"], (after, time)
    assert ends >= 4


def test_what_is_the_users_own_is_never_replaced(case):
    case.folder.mkdir()
    (case.folder / "in").mkdir()
    (case.folder / "in/a.txt").write_text("mine")
    (case.folder / "c.txt").write_bytes(FILES["c.txt"])
    before = case.found
    result = case.load()
    assert result.placed == {}
    assert result.failures == [
        f"{case.folder / 'in/a.txt'}: is there already and is another one; move it away, or name another folder, and "
        "run the same command again"
    ]
    assert case.found == before
    (case.folder / "in/a.txt").unlink()
    assert case.load().failures == []
    assert case.found == FILES
    assert case.asked == ["/one.zip"]  # what was unpacked had been kept


@pytest.mark.parametrize("link", ["in", "c.txt", "in/deeper"])
def test_nothing_is_written_through_links_that_lie_there(case, link):
    elsewhere = case.folder.with_name("elsewhere")
    elsewhere.mkdir()
    (case.folder / link).parent.mkdir(parents=True)
    (case.folder / link).symlink_to(elsewhere)
    assert "is a link, and nothing is written through links" in case.load().failures[0]
    assert list(elsewhere.iterdir()) == []


def test_a_link_above_the_folder_of_a_file_is_seen_too(case):
    elsewhere = case.folder.with_name("elsewhere")
    elsewhere.mkdir()
    case.folder.mkdir()
    (case.folder / "to").symlink_to(elsewhere)
    case.files = [replace(case.files[0], to="to/below")]
    assert "to: is a link" in case.load().failures[0]
    assert list(elsewhere.iterdir()) == []


def test_a_damaged_archive_is_told_thrown_away_and_loaded_anew(case):
    damaged = bytearray(zipfile_of_text := zipped({"a.txt": b"x" * 1000}))
    damaged[200] ^= 1
    case.offer("one.zip", bytes(damaged))
    result = case.load()
    assert "one.zip: is damaged (" in result.failures[0]
    assert case.found == {}
    assert case.state == []
    case.offer("one.zip", zipfile_of_text)
    assert case.load().failures == []


def test_a_hostile_archive_leaves_no_trace(case):
    outside = case.folder.with_name("victim.txt")
    outside.write_text("untouched")
    case.offer("one.zip", zipped({"a.txt": b"1", "../victim.txt": b"evil"}))
    assert "the name '../victim.txt' leads out of the folder by .." in case.load().failures[0]
    assert outside.read_text() == "untouched"
    assert case.found == {}
    assert case.state == []


def test_a_bomb_is_held_against_the_table(case):
    case.offer("one.zip", zipped({"a": bytes(5000)}), unpacked=1000)
    assert "more than 1,000 bytes would come out" in case.load().failures[0]
    assert case.found == {}


def test_an_archive_of_another_data_set_is_told(case):
    case.files = [replace(case.files[0], gives=("val2014/",))]
    assert "one.zip: does not hold val2014/, but in/a.txt" in case.load().failures[0]
    case.files = [replace(case.files[0], gives=(), take=("nothing*",))]
    assert "one.zip: holds nothing that is wanted (nothing*)" in case.load().failures[0]
    assert case.found == {}


def test_one_failure_does_not_keep_the_others_away(case):
    case.offer("two.zip", zipped({"d.txt": b"4"}))
    result = case.load(Answer(status=404))
    assert len(result.failures) == 1
    assert "one.zip: cannot be loaded: the server answers 404" in result.failures[0]
    assert case.found == {"d.txt": b"4"}
    assert case.load().failures == []
    assert case.found == FILES | {"d.txt": b"4"}


def test_room_is_looked_for_before_anything_is_loaded(case, monkeypatch):
    usage = namedtuple("usage", "total used free")
    case.files = [
        replace(case.files[0], bytes=5 * 10**9),
        replace(case.files[0], name="two.zip", roughly=7 * 10**9, unpacked=8 * 10**9),
    ]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 2 * 10**10 - 1))
    with pytest.raises(DiskError, match=r"needs 20 GB and 20 GB are free; make room or name a folder on another disk"):
        case.load()  # 5 + 8 come out, and 7 lie beside them for a while
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 2 * 10**10))
    with pytest.raises(DiskError, match="needs 25 GB and 20 GB are free"):
        case.load(keep_archives=True)
    assert case.asked == []


def test_two_processes_do_not_load_into_one_folder(case):
    with (
        lock(case.folder / ".download/lock", "taken"),
        pytest.raises(DataError, match="is being loaded into"),
    ):
        case.load()
    assert case.load().failures == []


def test_a_folder_that_cannot_be_made_is_told(case):
    case.folder.write_text("a file")
    with pytest.raises(DiskError, match="cannot be written"):
        case.load()


def test_notes_are_plain_json(case):
    case.load()
    entry = json.loads((case.folder / ".download/one.zip.done").read_text())
    assert entry["placed"]["kept"] == {name: len(content) for name, content in FILES.items()}
