"""`showtell caption`, run as a user runs it, on the tiny bundle."""

import csv
import io
import json
import os
import struct
import sys
import threading
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from showtell.cli import main
from showtell.errors import ShowtellError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, colour=RED, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path, arguments.pop("format", "PNG"), **arguments)
    return path


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def showtell(tiny_bundle, monkeypatch, capsys):
    """Runs `showtell caption --model TINY ...` and gives exit code, standard output and standard error."""

    def run(*arguments, model=tiny_bundle, stdin: bytes = b"") -> Result:
        chosen = ["--model", str(model)] if model else []
        monkeypatch.setattr(sys, "argv", ["showtell", "caption", "--threads", "1", *chosen, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(ended.value.code, captured.out, captured.err)

    return run


def test_a_photo_gives_path_tab_caption(showtell, tmp_path):
    path = save(tmp_path / "x.png")
    result = showtell(path)
    assert (result.code, result.out, result.err) == (0, f"{path}\ta red picture\n", "")


def test_files_and_folders_come_in_order_and_folders_sorted_with_all_below(showtell, tmp_path):
    folder = tmp_path / "f"
    last = save(tmp_path / "last.png", BLUE)
    for name in ("b.png", "a.PNG", "sub/deep/c.png", ".hidden.png", ".git/d.png"):
        save(folder / name, GREEN)
    (folder / "notes.txt").write_text("not a picture, and not meant as one")
    result = showtell(folder, last)
    names = [line.split("\t")[0] for line in result.out.splitlines()]
    assert names == [*(str(folder / name) for name in ("a.PNG", "b.png", "sub/deep/c.png")), str(last)]
    assert (result.code, result.err) == (0, "")


def test_a_folder_without_pictures_says_so(showtell, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    result = showtell(tmp_path)
    assert result.code == 1
    assert result.err.startswith(f"showtell: {tmp_path}: holds no picture")


def test_standard_input_is_one_picture(showtell, tmp_path):
    assert showtell("-", stdin=save(tmp_path / "x", BLUE).read_bytes()).out == "-\ta blue picture\n"
    result = showtell("-", stdin=b"")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("showtell: -: is empty")


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses_are_fetched(showtell, tmp_path, site):
    save(tmp_path / "x.png", GREEN)
    address, _ = site
    result = showtell(f"{address}/x.png", f"{address}/missing.png")
    assert result.out == f"{address}/x.png\ta green picture\n"
    assert result.err.startswith(f"showtell: {address}/missing.png: the server answers 404")
    assert result.code == 1


# Bad input: each a caption or one line; the rest of the folder is done


def png_that_claims(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">II", zlib.crc32(head), 9) + b"IDAT"


def test_every_bad_input_is_one_clear_line_and_the_rest_is_done(showtell, tmp_path):
    whole = save(tmp_path / "good.jpg", RED, format="JPEG").read_bytes()
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(noise, "JPEG")
    bad = {
        "truncated.jpg": (noise.getvalue()[:-900], "truncated or damaged"),
        "header.jpg": (whole[:30], "the header is damaged"),
        "zero.jpg": (b"", "is empty (0 bytes)"),
        "text.jpg": (b"Dear diary\n", "no picture: found text"),
        "bomb.png": (png_that_claims(30_000, 30_000), "pixels, more than the"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dangling.jpg").symlink_to("gone.jpg")
    result = showtell(tmp_path)
    assert result.code == 1
    assert result.out == f"{tmp_path}/good.jpg\ta red picture\n"
    lines = sorted(result.err.splitlines())
    reasons = {name: reason for name, (_, reason) in bad.items()} | {"dangling.jpg": "a link to gone.jpg"}
    assert len(lines) == len(reasons)
    for line, (name, reason) in zip(lines, sorted(reasons.items()), strict=True):
        assert line.startswith(f"showtell: {tmp_path / name}: ")
        assert reason in line


def test_unusual_pictures_get_captions(showtell, tmp_path):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "1-cmyk.jpg")
    Image.new("I;16", (40, 40), 30_000).save(tmp_path / "2-sixteen.png")
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, *GREEN])
    palette.save(tmp_path / "3-palette.png", transparency=0)
    frames = [Image.new("RGB", (40, 40), colour) for colour in (BLUE, RED)]
    frames[0].save(tmp_path / "4-animated.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), GREEN).save(tmp_path / "5-one.bmp")
    result = showtell(tmp_path)
    colours = [line.split("\t")[1].split()[1] for line in result.out.splitlines()]
    assert (result.code, result.err) == (0, "")
    assert [colours[0], *colours[2:]] == ["red", "green", "blue", "green"]


NAMES = ["with space.png", "tab\t.png", "line\nbreak.png", "写真 ü.png", os.fsdecode(b"caf\xe9.png")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_folder", [True, False])
def test_names_of_any_kind_work_in_every_format(showtell, tmp_path, name, by_folder):
    path = save(tmp_path / name)
    source = tmp_path if by_folder else path
    lines = showtell(source).out.splitlines()
    assert len(lines) == 1
    assert lines[0].count("\t") == 1
    assert json.loads(showtell(source, "--format", "jsonl").out)["path"] == str(path)
    assert len(list(csv.DictReader(io.StringIO(showtell(source, "--format", "csv").out, newline="")))) == 1
    path.write_bytes(b"")
    result = showtell(source)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "is empty" in result.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_named(showtell, tmp_path):
    save(tmp_path / "secret.png").chmod(0)
    save(tmp_path / "closed" / "x.png").parent.chmod(0)
    good = save(tmp_path / "good.png")
    result = showtell(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert result.code == 1
    assert result.out == f"{good}\ta red picture\n"
    assert f"showtell: {tmp_path}/secret.png: may not be read (permission denied)" in result.err
    assert f"showtell: {tmp_path}/closed: the folder cannot be listed" in result.err


# Output


def test_jsonl_and_csv_tell_failures_too(showtell, tmp_path):
    good, bad = save(tmp_path / "a.png"), tmp_path / "b.png"
    bad.touch()
    rows = [json.loads(line) for line in showtell(tmp_path, "--format", "jsonl").out.splitlines()]
    assert [set(row) for row in rows] == [{"path", "caption", "score"}, {"path", "error"}]
    assert rows[0]["caption"] == "a red picture"
    assert rows[0]["score"] < 0
    assert rows[1]["error"].startswith(f"{bad}: is empty")
    table = list(csv.DictReader(io.StringIO(showtell(tmp_path, "--format", "csv").out)))
    assert [row["path"] for row in table] == [str(good), str(bad)]
    assert table[1]["error"] == rows[1]["error"]


def test_out_writes_a_file_and_nothing_to_standard_output(showtell, tmp_path):
    save(tmp_path / "pictures" / "a.png")
    result = showtell(tmp_path / "pictures", "--out", tmp_path / "out.txt")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (tmp_path / "out.txt").read_text().endswith("a.png\ta red picture\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "pictures"]


def test_sentence_writes_capital_and_full_stop(showtell, tmp_path):
    assert showtell(save(tmp_path / "x.png"), "--sentence").out.endswith("\tA red picture.\n")


def test_several_captions_are_several_lines_and_widen_the_beam(showtell, tmp_path):
    path = save(tmp_path / "x.png")
    lines = showtell(path, "--captions", "5").out.splitlines()
    assert len(set(lines)) == 5
    assert all(line.startswith(f"{path}\t") for line in lines)


def test_decoding_options_reach_decoding(showtell, tmp_path):
    path = save(tmp_path / "x.png")
    assert showtell(path, "--max-words", "2", "--beam", "1").out == f"{path}\ta red\n"
    draw = ["--sample", "--temperature", "3", "--captions", "4", "--seed", "5"]
    first, again, other = (showtell(path, *draw[:-1], seed).out for seed in ("5", "5", "6"))
    assert first == again != other
    assert showtell(path, "--sample", "--top-k", "1").out == f"{path}\ta red picture\n"


def test_groups_reach_decoding_and_widen_the_beam(showtell, tmp_path):
    path = save(tmp_path / "x.png")

    def words(*options):
        return [line.split("\t")[1].split() for line in showtell(path, *options).out.splitlines()]

    # Each group begins with another word, where that may cost more than any word is worth.
    found = words("--groups", 4, "--captions", 4, "--diversity", 50)
    assert len({said[0] for said in found}) == len(found) == 4
    assert words("--groups", 2, "--captions", 3)[0] == ["a", "red", "picture"]  # a beam of 4


def test_several_models_tell_one_caption_together(showtell, tiny_bundle, tmp_path):
    path = save(tmp_path / "x.png")
    alone = json.loads(showtell(path, "--format", "jsonl").out)
    result = showtell(path, "--model", tiny_bundle, "--format", "jsonl", "--attention", tmp_path / "map.png")
    assert (result.code, json.loads(result.out)) == (0, alone)
    assert (tmp_path / "map.png").is_file()
    result = showtell(path, "--model", tmp_path / "gone")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"showtell: {tmp_path}/gone: no such folder")


def test_no_progress_bar_where_standard_error_is_no_terminal(showtell, tmp_path):
    for number in range(30):
        save(tmp_path / f"{number}.png")
    assert showtell(tmp_path).err == ""


def test_a_progress_bar_and_failures_share_a_terminal(showtell, tmp_path, monkeypatch):
    for number in range(30):
        save(tmp_path / "p" / f"{number:02}.png")
    (tmp_path / "p" / "15.png").write_bytes(b"")
    monkeypatch.setattr("showtell.cli.caption._is_terminal", lambda stream: stream is sys.stderr)
    result = showtell(tmp_path / "p", "--captions", "2")
    assert "30/30" in result.err
    assert f"showtell: {tmp_path}/p/15.png: is empty" in result.err
    assert len(result.out.splitlines()) == 58


# Attention


def test_attention_draws_the_picture_once_per_word(showtell, tmp_path):
    path = save(tmp_path / "x.png")
    assert showtell(path, "--attention", tmp_path / "map.png").code == 0
    with Image.open(tmp_path / "map.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 240  # the picture and three words, side by side


def test_attention_of_several_pictures_is_numbered(showtell, tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / "p" / name)
    (tmp_path / "p" / "b.png").write_bytes(b"")
    showtell(tmp_path / "p", "--attention", tmp_path / "map.png", "--captions", "2")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["map-1.png", "map-2.png"]


def test_attention_reads_standard_input_and_addresses_once(showtell, tmp_path, site):
    content = save(tmp_path / "x.png").read_bytes()
    address, asked = site
    result = showtell("-", f"{address}/x.png", f"{address}/no.png", "--attention", tmp_path / "map.png", stdin=content)
    assert len(result.out.splitlines()) == 2
    assert result.code == 1
    assert asked.count("/x.png") == 1
    assert (tmp_path / "map-2.png").is_file()


# Wrong use and trouble


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing argument"),
        (["x.png", "--beam", "0"], "--beam"),
        (["x.png", "--format", "xml"], "'xml' is not one of"),
        (["x.png", "--bream", "3"], "No such option"),
        (["x.png", "--seed", "3"], "--seed is for sampling; add --sample"),
        (["x.png", "--captions", "4", "--beam", "2"], "num_captions is 4, more than beam_width 2"),
        (["x.png", "--sample", "--top-p", "2"], "top_p is 2.0"),
        (["x.png", "--sample", "--groups", "2"], "--groups is for beam search; leave out --sample"),
        (["x.png", "--beam", "4", "--groups", "3"], "beam_width is 4, expected a multiple of beam_groups 3"),
        (["x.png", "--attention", "map.jpg"], "expected a file name that ends in .png"),
        (["x.png", "--out", "no/such/folder/x.txt"], "does not exist; make it first"),
    ],
)
def test_wrong_use_exits_with_2(showtell, arguments, text):
    result = showtell(*arguments)
    assert (result.code, result.out) == (2, "")
    assert text in result.err


def test_a_model_that_is_none_exits_with_1_and_one_line(showtell, tmp_path):
    result = showtell(save(tmp_path / "x.png"), model=tmp_path / "nowhere")
    assert result.code == 1
    assert result.err == (
        f"showtell: {tmp_path}/nowhere: no such folder, expected the folder of a bundle or of a training run\n"
    )


def test_an_output_that_cannot_be_written_is_told(showtell, tmp_path):
    result = showtell(save(tmp_path / "x.png"), "--out", tmp_path)
    assert result.code == 2
    assert "is a folder, expected a file to write" in result.err
    result = showtell(tmp_path / "x.png", "--attention", save(tmp_path / "d.png" / "y.png").parent)
    assert result.code == 2
    assert "d.png: is a folder, expected a file to write" in result.err


def test_a_place_that_refuses_is_told_before_the_first_caption(showtell, tmp_path, monkeypatch):
    def refuse(folder):
        raise ShowtellError(f"{folder}: cannot be written (Read-only file system)")

    monkeypatch.setattr("showtell.files.check_writable", refuse)
    for option, name in (("--out", "x.txt"), ("--attention", "x.png")):
        result = showtell(save(tmp_path / "x.png"), option, tmp_path / name)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"showtell: {option} {tmp_path / name}: {tmp_path}: cannot be written (Read-only file system)\n"
        )
