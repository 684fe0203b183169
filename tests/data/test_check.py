"""The check: numbers that can be counted by hand, and every fault that a data set can have."""

import json
from pathlib import Path

import pytest
from PIL import Image

from showtell.data.check import Spread, VocabularySize, check_dataset
from showtell.data.readers import read_dataset
from showtell.data.report import format_report


def picture(path: Path, colour: str, size: tuple[int, int] = (4, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    picture(tmp_path / "a.png", "red", (4, 3))
    picture(tmp_path / "b.png", "green", (8, 5))
    picture(tmp_path / "c.png", "blue", (6, 4))
    lines = ["a.png,A dog.,train", "a.png,A dog runs,train", "b.png,A cat!,train", "c.png,zebra,test"]
    (tmp_path / "t.csv").write_text("image,caption,split\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_numbers_are_those_counted_by_hand(sound: Path) -> None:
    seen: list[int] = []
    report = check_dataset(read_dataset(sound), thresholds=(1, 2, 3), progress=seen.append)
    assert report.pictures == {"train": 2, "val": 0, "test": 1, "none": 0}
    assert report.captions == {"train": 3, "val": 0, "test": 1, "none": 0}
    assert report.captions_per_picture == Spread(1, pytest.approx(4 / 3), 1, 2)
    assert report.captions_histogram == {1: 2, 2: 1}
    assert report.caption_words == Spread(1, 2.0, 2.0, 3)  # 2, 3, 2 and 1 words
    # Of the training captions: a 3 times, dog 2, runs 1, cat 1: 7 words.
    assert report.vocabulary == (
        VocabularySize(1, 4, 1.0),
        VocabularySize(2, 2, 5 / 7),
        VocabularySize(3, 1, 3 / 7),
    )
    assert report.decoded == 3
    assert report.width == Spread(4, 6, 6, 8)
    assert report.height == Spread(3, 4, 4, 5)
    assert report.total_bytes == sum((sound / name).stat().st_size for name in ("a.png", "b.png", "c.png"))
    assert report.problems == ()
    assert sum(seen) == 3


def test_every_fault_is_found(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", "red")
    (tmp_path / "copy.png").write_bytes((tmp_path / "good.png").read_bytes())
    (tmp_path / "again.png").write_bytes((tmp_path / "good.png").read_bytes())
    picture(tmp_path / "cut.jpg", "green", (64, 64))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-40])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "zero.jpg").write_bytes(b"")
    picture(tmp_path / "bare.png", "blue")
    rows = [
        ("good.png", "A", "train"),
        ("copy.png", "B", "test"),
        ("again.png", "B", "train"),
        ("cut.jpg", "C", "train"),
        ("text.jpg", "D", "train"),
        ("zero.jpg", "E", "train"),
        ("gone.jpg", "F", "train"),
        ("bare.png", " ", "train"),
        ("good.png", "G", "val"),
    ]
    (tmp_path / "t.csv").write_text("image,caption,split\n" + "".join(",".join(row) + "\n" for row in rows))
    report = check_dataset(read_dataset(tmp_path))
    found = sorted((problem.kind, problem.where) for problem in report.problems)
    assert found == [
        ("empty caption", "t.csv:9"),
        ("missing picture", "gone.jpg"),
        ("no caption", "bare.png"),
        ("two splits", "again.png (train)"),  # by content
        ("two splits", "good.png"),  # by name
        ("undecodable picture", "cut.jpg"),
        ("undecodable picture", "text.jpg"),
        ("undecodable picture", "zero.jpg"),
    ]
    by_content = next(problem.what for problem in report.problems if problem.where == "again.png (train)")
    assert by_content == "same file as copy.png (test), good.png (val)"
    assert len(report.errors) == 7
    assert report.decoded == 4


def test_the_same_file_twice_in_one_split_is_only_noted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "red")
    picture(tmp_path / "b.png", "red")
    (tmp_path / "t.csv").write_text("image,caption,split\na.png,A,train\nb.png,B,train\n")
    report = check_dataset(read_dataset(tmp_path))
    assert [(problem.kind, problem.is_error) for problem in report.problems] == [("same picture", False)]


def test_a_picture_lost_after_reading_is_a_fault_and_no_crash(sound: Path) -> None:
    dataset = read_dataset(sound)
    (sound / "a.png").unlink()
    report = check_dataset(dataset)
    assert [(problem.kind, problem.where) for problem in report.problems] == [("undecodable picture", "a.png")]
    assert "no such file" in report.problems[0].what


def test_the_report_reads_as_a_table(sound: Path) -> None:
    lines = format_report(check_dataset(read_dataset(sound))).splitlines()
    assert lines[0].endswith("format csv, read from t.csv")
    rows = {line.split("  ")[0]: line.split()[1:] for line in lines if line}
    assert rows["pictures"] == ["3", "2", "1"]
    assert rows["captions"] == ["4", "3", "1"]
    assert "problems: none" in lines


def test_long_lists_of_problems_are_cut_and_say_so(sound: Path) -> None:
    (sound / "t.csv").write_text("image,caption\na.png,A\n" + "".join(f"no{i:02}.png,B\n" for i in range(25)))
    text = format_report(check_dataset(read_dataset(sound)), shown=10)
    assert "error: missing picture (25)" in text
    assert "no09.png" in text
    assert "no10.png" not in text
    assert "... and 15 more; --all shows them" in text
    assert "no24.png" in format_report(check_dataset(read_dataset(sound)), shown=0)


def test_names_cannot_break_a_line_of_the_report(sound: Path) -> None:
    (sound / "t.csv").write_text('image,caption,split\na.png,A,train\n"x\ny.png",B,train\n')
    assert "x\\ny.png" in format_report(check_dataset(read_dataset(sound)))


def test_the_report_goes_through_json(sound: Path) -> None:
    report = check_dataset(read_dataset(sound))
    content = json.loads(json.dumps(report.as_dict()))
    assert content["pictures"]["train"] == 2
    assert content["vocabulary"][0] == {"threshold": 1, "words": 4, "covered": 1.0}
    assert content["errors"] == 0
