"""Whether a place can be written, told before the work whose result goes there."""

import os
import sys
from pathlib import Path

import pytest

from showtell.errors import CheckpointError, ShowtellError
from showtell.files import check_writable, lock


def test_a_place_that_is_not_there_yet_can_be_written_and_is_not_made(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ShowtellError, match=r"file/x/y: .*file is a file, expected a folder; name another place"):
        check_writable(tmp_path / "file" / "x" / "y")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system has no /proc")
def test_a_disk_that_nobody_may_write_is_told():
    with pytest.raises(ShowtellError, match=r"^/proc/showtell: cannot be written \(.+\); check permissions and space"):
        check_writable(Path("/proc/showtell"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    for place in (tmp_path / "closed", tmp_path / "closed" / "x"):
        with pytest.raises(ShowtellError, match=r"cannot be written \(Permission denied\); check permissions"):
            check_writable(place)


def test_links_that_lead_to_each_other_are_told(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ShowtellError, match="a: cannot be written"):
        check_writable(tmp_path / "a")


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match=r"file/lock: cannot be written \(.+\); check permissions and space"):
        lock(tmp_path / "file" / "lock", "another process is at it")
