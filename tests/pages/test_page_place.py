"""The folder of a page: never half a page, never anything of somebody else's lost, no path of the machine told."""

import os
import signal
import subprocess
import sys

import pytest

from showtell import ShowtellError
from showtell.pages.place import INDEX, MARK, check_place, last_part, whole_folder, without_folders


def make_page(folder, text="old"):
    folder.mkdir()
    (folder / INDEX).write_text(f"<head>{MARK}</head>{text}")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "00000.jpg").write_bytes(b"x")


def write(folder, text="new"):
    with whole_folder(folder) as aside:
        (aside / INDEX).write_text(f"<head>{MARK}</head>{text}")


def test_a_new_folder_an_empty_one_and_an_older_page_are_written(tmp_path):
    (tmp_path / "empty").mkdir()
    make_page(tmp_path / "page")
    (tmp_path / "page" / ".DS_Store").touch()  # a file manager's, nobody misses it
    for place in ("new/inner", "empty", "page"):
        write(tmp_path / place)
        assert [path.name for path in (tmp_path / place).iterdir()] == [INDEX]
        assert "new" in (tmp_path / place / INDEX).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new", "page"]


def test_a_link_to_a_page_stays_a_link(tmp_path):
    make_page(tmp_path / "page")
    (tmp_path / "link").symlink_to("page", target_is_directory=True)
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "new" in (tmp_path / "page" / INDEX).read_text()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: folder.write_text("x"), "is a file, expected the folder of a page; name another"),
        (lambda folder: (folder / "deep").mkdir(parents=True), "exists and is no page of `showtell evaluate`"),
        (lambda folder: (folder.mkdir(), (folder / INDEX).write_text("mine")), "exists and is no page"),
        (lambda folder: (make_page(folder), (folder / "notes.txt").touch()), "holds notes.txt, which is no part"),
        (
            lambda folder: (make_page(folder), (folder / "pictures" / "mine.jpg").touch()),
            "holds pictures/mine.jpg, which is no part of the page; move it away",
        ),
    ],
)
def test_what_is_no_page_is_refused_in_one_line_and_left_alone(tmp_path, make, expected):
    make(tmp_path / "page")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (check_place, write):
        with pytest.raises(ShowtellError) as refused:
            attempt(tmp_path / "page")
        assert expected in str(refused.value)
        assert "\n" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_breaks_off_leaves_the_older_page(tmp_path):
    make_page(tmp_path / "page")

    def break_off():
        with whole_folder(tmp_path / "page") as aside:
            (aside / INDEX).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert "old" in (tmp_path / "page" / INDEX).read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_kill_leaves_no_half_page(tmp_path):
    code = (
        "import os, pathlib, sys\n"
        "from showtell.pages.place import whole_folder\n"
        "with whole_folder(pathlib.Path(sys.argv[1])) as aside:\n"
        "    (aside / 'index.html').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "page")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "page").exists()
    write(tmp_path / "page")
    assert "new" in (tmp_path / "page" / INDEX).read_text()


def test_a_disk_that_fails_is_told_in_one_line(tmp_path):
    def fail():
        with whole_folder(tmp_path / "page"):
            raise OSError(28, "No space left on device")

    with pytest.raises(ShowtellError, match=r"page: cannot be written \(No space left on device\); check folder"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/data", "data"),
        ("C:\\Users\\ann\\data", "data"),
        ("runs/mine", "runs/mine"),
        ("../data", "../data"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_of_an_absolute_path_the_last_part_is_told(text, shown):
    assert last_part(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a link to /home/ann/my pictures/a.jpg, which does not exist", "a link to a.jpg, which does not exist"),
        ("cannot be read ('/home/ann/x')", "cannot be read ('x')"),
        ("/srv/data/x.jpg: is empty", "x.jpg: is empty"),
        ("C:\\Users\\ann\\x.jpg: is empty", "x.jpg: is empty"),
        ("no picture: found text/html, width / height", "no picture: found text/html, width / height"),
        ("https://example.org/a/b.jpg fails", "https://example.org/a/b.jpg fails"),
    ],
)
def test_messages_lose_the_folders_of_the_machine(text, shown):
    assert without_folders(text) == shown
