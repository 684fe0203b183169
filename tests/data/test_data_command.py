"""`showtell data`: what goes to standard output, what is written, and the exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from showtell.cli.data import command
from showtell.errors import DataError


def call(*arguments: str | Path) -> Result:
    """Run the command as the top level does: the return value is the exit code, errors come out as they are."""
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=True)
    if isinstance(result.exception, DataError):
        raise result.exception
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(10):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    (folder / "t.csv").write_text("image,caption\n" + "".join(f"{i}.png,Number {i}\n" for i in range(10)))
    return folder


def test_check_answers_0_for_notes_and_1_for_errors(data: Path) -> None:
    result = call("check", data)
    assert result.return_value == 0
    assert "problems: none" in result.stdout
    assert "no picture is in a split" in result.stdout
    (data / "3.png").write_bytes(b"")
    result = call("check", data)
    assert result.return_value == 1
    assert "3.png" in result.stdout
    assert result.stderr == ""


def test_check_as_json_is_json_alone(data: Path) -> None:
    result = call("check", data, "--json")
    assert json.loads(result.stdout)["pictures"]["none"] == 10


def test_split_is_stored_and_obeyed_by_check(data: Path) -> None:
    result = call("split", data, "--seed", "1")
    assert result.return_value == 0
    assert result.stdout == f"{data / 'splits.json'}: train 8, val 1, test 1 pictures\n"
    assert json.loads(call("check", data, "--json").stdout)["pictures"] == {"train": 8, "val": 1, "test": 1, "none": 0}


def test_split_elsewhere_leaves_the_data_set_alone(data: Path, tmp_path: Path) -> None:
    before = sorted(data.iterdir())
    call("split", data, "--fractions", "0.5,0.3,0.2", "--out", tmp_path / "mine.json")
    assert sorted(data.iterdir()) == before
    report = json.loads(call("check", data, "--splits", tmp_path / "mine.json", "--json").stdout)
    assert report["pictures"] == {"train": 5, "val": 3, "test": 2, "none": 0}


def test_split_does_not_replace_a_stored_one_unasked_and_can_replace_a_damaged_one(data: Path) -> None:
    (data / "splits.json").write_text("damaged")
    with pytest.raises(DataError, match="there is a split already; --force replaces it"):
        call("split", data)
    assert (data / "splits.json").read_text() == "damaged"
    assert call("split", data, "--force").return_value == 0
    assert json.loads((data / "splits.json").read_text())["format"] == 1


def test_split_does_not_replace_a_published_split_unasked(data: Path, tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,Number {i},train\n" for i in range(10))
    (data / "t.csv").write_text("image,caption,split\n" + rows)
    with pytest.raises(DataError, match="has splits of its own; --out FILE writes yours elsewhere"):
        call("split", data)
    assert not (data / "splits.json").exists()
    assert call("split", data, "--out", tmp_path / "mine.json").return_value == 0
    assert call("split", data, "--force").return_value == 0
    assert (data / "splits.json").exists()


@pytest.mark.parametrize("fractions", ["0.8,0.2", "a,b,c", "0.8,0.1,0.2", "1.1,-0.1,0"])
def test_fractions_that_are_none_are_wrong_usage(data: Path, fractions: str) -> None:
    result = CliRunner().invoke(command, ["split", str(data), "--fractions", fractions])
    assert result.exit_code == 2
    assert f"--fractions {fractions}: expected" in result.stderr


def test_make_shapes_then_check(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    result = call("make-shapes", out, "--train", "6", "--val", "2", "--test", "2", "--size", "32", "--seed", "1")
    assert result.return_value == 0
    assert result.stdout == f"{out}: train 6, val 2, test 2 pictures of 32 x 32\n"
    assert call("check", out).return_value == 0


def test_reading_and_the_command_never_import_torch() -> None:
    code = (
        "import sys, showtell.cli.data\n"
        "assert not {'numpy', 'PIL', 'tqdm'} & set(sys.modules), 'heavy imports before the command runs'\n"
        "import showtell.data.readers, showtell.data.report, showtell.data.shapes\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
