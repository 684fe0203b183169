"""One file over a network that breaks off, lies and refuses: the right bytes in the end, or one clear line."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fickle_server import Answer, fickle_server
from showtell.data.disk import DiskError, size_text
from showtell.data.download import download
from showtell.data.places import SourceFile
from showtell.errors import DataError

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Onlooker:
    def __init__(self):
        self.lines = []
        self.seen = []

    def progress(self, doing, name, done, total):
        self.seen.append((doing, name, done, total))

    def notice(self, line):
        self.lines.append(line)


@pytest.fixture
def server():
    with fickle_server() as fickle:
        fickle.files["/f.bin"] = CONTENT
        fickle.marks["/f.bin"] = {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        yield fickle


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Case:
    """One file to load, with what is known of it, and what happened."""

    def __init__(self, server, folder):
        self.server, self.folder, self.waits, self.onlooker = server, folder, [], Onlooker()

    def load(self, *answers, addresses=None, timeout=5.0, **known):
        self.server.answers[:] = answers
        addresses = addresses or (f"{self.server.address}/f.bin",)
        file = SourceFile(name="f.bin", part="p", addresses=tuple(addresses), **known)
        return download(file, self.folder, watcher=self.onlooker, sleep=self.waits.append, timeout=timeout)

    def refusal(self, *answers, **known):
        with pytest.raises(DataError) as caught:
            self.load(*answers, **known)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    @property
    def loaded(self):
        return (self.folder / "f.bin").read_bytes()

    @property
    def part(self):
        path = self.folder / "f.bin.part"
        return path.read_bytes() if path.exists() else None

    @property
    def requests(self):
        return [headers.get("Range") for _, headers in self.server.asked]


@pytest.fixture
def case(server, tmp_path):
    return Case(server, tmp_path)


def test_a_file_comes_whole_and_nothing_else_stays(case):
    assert case.load(bytes=len(CONTENT), sha256=SHA256, md5=MD5) == SHA256
    assert case.loaded == CONTENT
    assert [path.name for path in case.folder.iterdir()] == ["f.bin"]
    assert ("loading", "f.bin", len(CONTENT), len(CONTENT)) in case.onlooker.seen
    assert case.waits == []


def test_twenty_cuts_at_random_send_no_byte_twice(case):
    cuts = random.Random(3)
    answers = [Answer(cut=cuts.randrange(1, 12_000)) for _ in range(20)]
    assert case.load(*answers) == SHA256
    assert case.loaded == CONTENT
    assert case.server.times_sent("/f.bin") == [1] * len(CONTENT)
    assert len(case.server.asked) == 21
    assert all(headers["If-Range"] == '"1"' for _, headers in case.server.asked[1:])
    assert set(case.waits) == {0.5}  # bytes came each time


KILLED = """
import sys
from showtell.data.download import download
from showtell.data.places import SourceFile
class Quiet:
    def progress(self, *_): ...
    def notice(self, *_): ...
file = SourceFile(name="f.bin", part="p", addresses=(sys.argv[1],))
download(file, __import__("pathlib").Path(sys.argv[2]), watcher=Quiet(), sleep=lambda _: None)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a kill that cannot be caught")
def test_twenty_interruptions_with_the_client_killed_send_no_byte_twice(case):
    chance = random.Random(4)
    part, address = case.folder / "f.bin.part", f"{case.server.address}/f.bin"
    cuts = 0
    for _ in range(6):  # kills, with cuts between them
        before = part.stat().st_size if part.exists() else 0
        steps = [chance.randrange(1, 15_000) for _ in range(chance.randrange(2, 4))]
        cuts += len(steps)
        case.server.answers[:] = [*(Answer(cut=step) for step in steps[:-1]), Answer(cut=steps[-1], stall=True)]
        with subprocess.Popen([sys.executable, "-c", KILLED, address, str(case.folder)], env=os.environ) as client:
            for _ in range(3000):
                if client.poll() is not None or (part.exists() and part.stat().st_size == before + sum(steps)):
                    break
                threading.Event().wait(0.01)
            client.kill()
            assert client.wait() == -signal.SIGKILL
        assert part.stat().st_size == before + sum(steps)
    rest = [Answer(cut=chance.randrange(1, 5_000)) for _ in range(20 - cuts)]
    assert case.load(*rest) == SHA256
    assert case.loaded == CONTENT
    assert case.server.times_sent("/f.bin") == [1] * len(CONTENT)


def test_a_file_that_changed_meanwhile_begins_anew(case):
    case.refusal(Answer(cut=100_000), *[Answer(status=503)] * 6)
    assert case.part == CONTENT[:100_000]
    case.server.files["/f.bin"] = OTHER
    case.server.marks["/f.bin"] = {"ETag": '"2"'}
    case.load()
    assert case.loaded == OTHER
    assert "another file on the server now" in case.onlooker.lines[-1]


def test_a_server_that_does_not_heed_if_range_cannot_mix_two_versions(case):
    case.refusal(Answer(cut=100_000), *[Answer(status=503)] * 6)
    case.server.files["/f.bin"] = OTHER
    case.server.marks["/f.bin"] = {"ETag": '"2"'}
    case.load(Answer(if_range=False))
    assert case.loaded == OTHER


def test_a_weak_mark_is_not_sent_as_a_condition(case):
    case.server.marks["/f.bin"] = {"ETag": 'W/"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert case.load(Answer(cut=1000)) == SHA256
    assert case.server.asked[1][1]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_servers_behind_one_address_may_mark_differently_where_the_sum_is_known(case):
    answers = [Answer(cut=100_000, headers={"ETag": f'"{i}"'}) for i in range(2)]
    assert case.load(*answers, sha256=SHA256) == SHA256
    assert case.server.times_sent("/f.bin") == [1] * len(CONTENT)


def test_a_server_without_marks_or_ranges_harms_nothing(case):
    case.server.marks["/f.bin"] = {}
    blunt = [Answer(cut=cut, ranges=False) for cut in (5_000, 1_000, 90_000, 70_000)]
    assert case.load(*blunt, Answer(ranges=False)) == SHA256
    assert case.loaded == CONTENT


def test_what_was_kept_of_another_file_is_replaced_where_nothing_tells_them_apart(case):
    case.server.marks["/f.bin"] = {}
    changed = CONTENT[:1000] + OTHER[1000:]
    case.refusal(Answer(cut=150_000), *[Answer(status=503)] * 6)
    case.server.files["/f.bin"] = changed
    case.load(Answer(ranges=False))
    assert case.loaded == changed


def test_a_length_that_is_too_short_is_noticed_where_the_size_is_known(case):
    assert case.load(Answer(headers={"Content-Length": "1000"}), bytes=len(CONTENT)) == SHA256
    always = [Answer(headers={"Content-Length": "1000"})] * 6
    shutil.rmtree(case.folder)
    case.folder.mkdir()
    text = case.refusal(*always, bytes=len(CONTENT))
    assert text.startswith("f.bin: cannot be loaded: the server offers 1,000 bytes, expected 300,000; nothing is kept")


def test_a_length_that_is_too_long_is_put_right_by_the_server_itself(case):
    assert case.load(Answer(headers={"Content-Length": "400000"})) == SHA256
    assert case.loaded == CONTENT


def test_no_length_at_all_ends_where_the_file_ends(case):
    assert case.load(Answer(headers={"Content-Length": None})) == SHA256
    assert case.loaded == CONTENT


def test_an_answer_in_chunks_that_breaks_off_is_noticed(case):
    assert case.load(Answer(chunked=True, cut=50_000)) == SHA256
    assert case.loaded == CONTENT
    assert case.requests == [None, "bytes=50000-"]


def test_more_than_the_file_holds_is_thrown_away(case):
    too_much = Answer(chunked=True, body=CONTENT + b"more")
    assert case.load(too_much, bytes=len(CONTENT)) == SHA256
    assert case.loaded == CONTENT


def test_a_range_that_begins_elsewhere_is_not_taken(case):
    wrong = Answer(headers={"Content-Range": f"bytes 7-299999/{len(CONTENT)}"})
    assert case.load(Answer(cut=100), wrong) == SHA256
    assert case.loaded == CONTENT
    assert case.requests == [None, "bytes=100-", None]


def test_416_in_the_middle_of_a_file_does_not_lose_it(case):
    assert case.load(Answer(cut=100_000), Answer(status=416)) == SHA256
    assert case.requests == [None, "bytes=100000-", None]


def test_416_with_a_shorter_length_throws_the_old_file_away(case):
    case.refusal(Answer(cut=250_000), *[Answer(status=503)] * 6)
    case.server.files["/f.bin"] = OTHER[:200_000]
    case.load()
    assert case.loaded == OTHER[:200_000]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(case):
    (case.folder / "f.bin.part").write_bytes(b"x" * 400_000)
    assert case.load(bytes=len(CONTENT)) == SHA256
    assert case.requests == [None]


@pytest.mark.parametrize("notes", ["", "[]", '{"address": 3}', '{"more": 1}', "\0"])
def test_damaged_notes_cost_the_part_and_nothing_more(case, notes):
    (case.folder / "f.bin.part").write_bytes(OTHER[:1000])
    (case.folder / "f.bin.json").write_text(notes)
    assert case.load() == SHA256
    assert case.requests == [None]


def test_busy_servers_are_waited_for_as_they_ask(case):
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=10), usegmt=True)
    answers = [
        Answer(status=429, headers={"Retry-After": "7"}),
        Answer(status=503, headers={"Retry-After": soon}),
        Answer(status=500),
        Answer(status=502, headers={"Retry-After": "whenever"}),
    ]
    assert case.load(*answers) == SHA256
    assert case.waits == [7, 300, 4, 8]
    assert "the server answers 429 (Too Many Requests); trying again in 7 s" in case.onlooker.lines[0]


def test_waits_grow_and_end(case):
    text = case.refusal(Answer(cut=1000), *[Answer(status=503)] * 9)
    assert case.waits == [0.5, 1, 2, 4, 8, 16]
    assert text == (
        "f.bin: cannot be loaded: the server answers 503 (Service Unavailable); 1,000 of 300,000 bytes are kept, the "
        "same command goes on from there"
    )
    assert case.load() == SHA256
    assert case.server.times_sent("/f.bin") == [1] * len(CONTENT)


def test_a_wrong_address_is_told_at_once(case):
    text = case.refusal(Answer(status=404))
    assert "the server answers 404 (Not Found) for http://127.0.0.1" in text
    assert "nothing is kept yet" in text
    assert case.waits == []


def test_a_silent_server_counts_as_cut(case):
    assert case.load(Answer(cut=1000, stall=True), timeout=0.2) == SHA256
    assert "the connection to 127.0.0.1 fails (timed out)" in case.onlooker.lines[0]


def test_nobody_there_is_told(case):
    text = case.refusal(addresses=["http://127.0.0.1:9/f.bin"])
    assert "the connection to 127.0.0.1 fails (" in text
    assert case.waits == [1, 2, 4, 8, 16]


def test_redirects_are_followed_with_the_range_and_to_http_alone(case):
    moved = Answer(status=302, headers={"Location": f"{case.server.address}/f.bin"})
    assert case.load(moved, Answer(cut=1000), moved) == SHA256
    assert case.requests == [None, None, "bytes=1000-", "bytes=1000-"]
    shutil.rmtree(case.folder)
    case.folder.mkdir()
    text = case.refusal(Answer(status=302, headers={"Location": "ftp://127.0.0.1/f.bin"}))
    assert "leads on to 'ftp://127.0.0.1/f.bin', which is neither http nor https" in text
    assert "file:///etc/hostname" in case.refusal(Answer(status=302, headers={"Location": "file:///etc/hostname"}))
    assert case.part is None


def test_another_address_goes_on_where_the_sum_is_known(case):
    case.server.files["/mirror/f.bin"] = CONTENT
    addresses = [f"{case.server.address}/f.bin", f"{case.server.address}/mirror/f.bin"]
    assert case.load(Answer(cut=100_000), Answer(status=404), addresses=addresses, sha256=SHA256) == SHA256
    assert case.requests == [None, "bytes=100000-", "bytes=100000-"]


def test_another_address_begins_anew_where_nothing_vouches_for_it(case):
    case.server.files["/mirror/f.bin"] = OTHER
    addresses = [f"{case.server.address}/f.bin", f"{case.server.address}/mirror/f.bin"]
    case.load(Answer(cut=100_000), Answer(status=404), addresses=addresses)
    assert case.loaded == OTHER


def test_an_address_with_another_file_is_given_up_for_the_next(case):
    case.server.files["/mirror/f.bin"] = CONTENT
    case.server.files["/f.bin"] = OTHER
    addresses = [f"{case.server.address}/f.bin", f"{case.server.address}/mirror/f.bin"]
    assert case.load(addresses=addresses, md5=MD5) == SHA256
    assert "trying another address" in case.onlooker.lines[0]


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_a_wrong_sum_keeps_nothing(case, known):
    text = case.refusal(**known)
    assert "sends another file than expected: its " in text
    assert text.endswith("nothing of it is kept; name another address with --sources")
    assert list(case.folder.iterdir()) == []
    assert len(case.server.asked) == 1  # it came in one piece: it would come so again


def test_pieces_that_do_not_fit_are_loaded_once_more(case):
    (case.folder / "f.bin.part").write_bytes(OTHER[:1000])
    assert case.load(sha256=SHA256) == SHA256
    assert case.requests == ["bytes=1000-", None]
    assert "once more from the beginning" in case.onlooker.lines[0]


def test_a_whole_part_is_only_checked(case):
    (case.folder / "f.bin.part").write_bytes(CONTENT)
    assert case.load(bytes=len(CONTENT), sha256=SHA256) == SHA256
    assert case.server.asked == []


def test_a_file_put_there_by_hand_is_checked_and_never_removed(case):
    (case.folder / "f.bin").write_bytes(CONTENT)
    assert case.load(sha256=SHA256) == SHA256
    (case.folder / "f.bin").write_bytes(OTHER)
    assert "is not the file that is expected: its sha256 is" in case.refusal(sha256=SHA256)
    assert case.loaded == OTHER
    assert case.server.asked == []


def test_an_encoded_answer_is_not_taken_for_the_file(case):
    assert case.load(Answer(headers={"Content-Encoding": "gzip"})) == SHA256
    assert case.server.asked[0][1]["Accept-Encoding"] == "identity"


def test_a_disk_without_room_is_told_before_anything_is_written(case, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 9 * 10**5, 10**5))
    with pytest.raises(DiskError, match=r"f\.bin needs 300 kB and 100 kB are free; make room"):
        case.load()
    assert case.part is None


def test_a_full_disk_is_told_and_what_came_is_kept(case, monkeypatch):
    from showtell.data import transfer

    write, room = transfer._write_all, [3]

    def full(out, chunk):
        room[0] -= 1
        if not room[0]:
            raise OSError(28, "No space left on device")
        write(out, chunk)

    monkeypatch.setattr(transfer, "_write_all", full)
    with pytest.raises(DiskError, match="No space left on device"):
        case.load()
    kept = len(case.part)
    assert 0 < kept < len(CONTENT)
    assert json.loads((case.folder / "f.bin.json").read_text())["bytes"] == len(CONTENT)
    monkeypatch.undo()
    assert case.load() == SHA256
    assert case.requests == [None, f"bytes={kept}-"]


def test_sizes_are_said_as_people_say_them():
    said = [size_text(count) for count in (0, 999, 1000, 252_872_794, 13_510_573_713, 3_000_000, 2 * 10**13)]
    assert said == ["0 bytes", "999 bytes", "1 kB", "253 MB", "13.5 GB", "3 MB", "20,000 GB"]
