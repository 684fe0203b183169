"""Captions as text: every line stays a line, every path comes back."""

import csv
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from showtell import Caption, Failure, ImageError, ShowtellError
from showtell.writers import WRITERS, write_aside, write_csv, write_jsonl, write_txt

NASTY = [
    "with space.jpg",
    "tab\t.jpg",
    "line\nbreak.jpg",
    'quote",.jpg',
    "写真 ü🦊.jpg",
    os.fsdecode(b"caf\xe9\xff.jpg"),
]


def caption(source: str, text: str = "a dog", score: float = -0.123456) -> Caption:
    return Caption(source, text, tuple(text.split()), -1.0, score)


def written(form: str, results) -> str:
    out = StringIO()
    WRITERS[form](iter(results), out)
    out.getvalue().encode()  # whatever the names, UTF-8 must hold it
    return out.getvalue()


def test_the_formats_are_txt_jsonl_and_csv():
    assert {"txt": write_txt, "jsonl": write_jsonl, "csv": write_csv} == WRITERS


def test_txt_is_path_tab_caption_and_leaves_failures_out():
    results = [caption("a.jpg"), Failure("b.jpg", ImageError("b.jpg: bad")), caption("a.jpg", "a cat")]
    assert written("txt", results) == "a.jpg\ta dog\na.jpg\ta cat\n"


@pytest.mark.parametrize("name", NASTY)
def test_txt_is_one_line_with_one_tab_for_any_name(name):
    text = written("txt", [caption(name)])
    assert text.count("\n") == text.count("\t") == 1
    assert text.endswith("\ta dog\n")


def test_jsonl_has_the_promised_keys():
    rows = [
        json.loads(line) for line in written("jsonl", [caption("a"), Failure("b", ImageError("b: bad"))]).splitlines()
    ]
    assert rows == [{"path": "a", "caption": "a dog", "score": -0.1235}, {"path": "b", "error": "b: bad"}]


@pytest.mark.parametrize("name", NASTY)
def test_jsonl_gives_any_name_back_exactly(name):
    line = written("jsonl", [caption(name)])
    assert line.count("\n") == 1
    assert json.loads(line)["path"] == name


def test_jsonl_keeps_letters_readable():
    assert "写真 ü🦊.jpg" in written("jsonl", [caption("写真 ü🦊.jpg")])


def test_csv_has_the_promised_columns():
    rows = list(csv.DictReader(StringIO(written("csv", [caption("a"), Failure("b", ImageError("b: bad"))]))))
    assert rows == [
        {"path": "a", "caption": "a dog", "score": "-0.1235", "error": ""},
        {"path": "b", "caption": "", "score": "", "error": "b: bad"},
    ]


@pytest.mark.parametrize("name", NASTY[:-1])
def test_csv_gives_names_back(name):
    text = written("csv", [caption(name, 'a dog, "sitting"')])
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert [(row["path"], row["caption"]) for row in rows] == [(name, 'a dog, "sitting"')]


def test_csv_escapes_bytes_that_are_no_utf8():
    assert "caf\\xe9\\xff.jpg" in written("csv", [caption(NASTY[-1])])


@pytest.mark.parametrize("form", WRITERS)
def test_writers_take_a_stream_as_it_comes(form):
    out = StringIO()

    def results():
        yield caption("first")
        assert "first" in out.getvalue()
        yield caption("second")

    WRITERS[form](results(), out)
    assert "second" in out.getvalue()


# Files that appear whole


def test_a_file_appears_at_the_end_and_nothing_stays_beside_it(tmp_path):
    with write_aside(tmp_path / "out.txt") as out:
        out.write("schön\n")
        out.flush()
        assert not (tmp_path / "out.txt").exists()
    assert (tmp_path / "out.txt").read_bytes() == "schön\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_an_old_file_survives_a_failure(tmp_path):
    (tmp_path / "out.txt").write_text("old")

    def interrupted():
        with write_aside(tmp_path / "out.txt") as out:
            out.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "out.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with (
        pytest.raises(ShowtellError, match=r"no/out\.txt: cannot be written"),
        write_aside(tmp_path / "no" / "out.txt"),
    ):
        pass
    with pytest.raises(ShowtellError, match="is a folder, expected a file"), write_aside(tmp_path):
        pass


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(ShowtellError, match=r"cannot be written \(No space left"), write_aside(tmp_path / "out.txt"):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "out.txt").read_text() == "old"


def test_a_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "folder" / "out.txt")
    with write_aside(tmp_path / "link.txt") as out:
        out.write("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "folder" / "out.txt").read_text() == "new"
    assert len(list(tmp_path.rglob("*"))) == 3


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system names no open files")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_may_be_named_as_a_file_and_keeps_its_order(tmp_path, name):
    program = (
        "from showtell.writers import write_aside\n"
        "print('before')\n"
        f"with write_aside({name!r}) as out: out.write('within\\n')\n"
        "print('after')\n"
    )
    with (tmp_path / "out.txt").open("w") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, timeout=120)
    assert (tmp_path / "out.txt").read_text() == "before\nwithin\nafter\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_device_is_written_as_it_comes():
    with write_aside(os.devnull) as out:
        out.write("gone")
