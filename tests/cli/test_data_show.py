"""`showtell data show`, run as a user runs it."""

import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from command_line import showtell

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SPLITS = ("train", "train", "val", "test")


def show(*arguments):
    return showtell("data", "show", *arguments)


@pytest.fixture
def data(tmp_path) -> Path:
    """Twelve pictures, 00-red.png to 11-blue.png, each with two captions."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for i in range(12):
        name, colour = list(COLOURS.items())[i % 3]
        Image.new("RGB", (60, 40), colour).save(folder / f"{i:02d}-{name}.png")
        rows += [f"{i:02d}-{name}.png,{text} {name} picture,{SPLITS[i % 4]}" for text in ("A", "Some")]
    (folder / "t.csv").write_text("image,caption,split\n" + "\n".join(rows) + "\n")
    return folder


def test_a_picture_is_told_with_its_captions(data):
    result = show(data, "--index", 1)
    assert result.code == 0
    assert result.out.splitlines() == [
        "id        01-green.png",
        f"picture   {data / '01-green.png'}",
        "size      60 x 40 pixels",
        "split     train",
        "captions  A green picture",
        "          Some green picture",
    ]
    assert result.err == "--out FILE.png draws it\n"


def test_a_picture_is_chosen_by_place_by_id_or_at_random(data):
    assert show(data, "--split", "val", "--index", 1).out.startswith("id        06-red.png\n")
    assert show(data, "--id", "05-blue.png").out.startswith("id        05-blue.png\n")
    drawn = [show(data, "--random", "--seed", seed).out for seed in range(8)]
    assert drawn[0] == show(data, "--random", "--seed", 0).out
    assert len(set(drawn)) > 2
    assert all("split     test\n" in show(data, "--random", "--split", "test", "--seed", seed).out for seed in range(3))


def test_a_random_picture_tells_the_seed_that_shows_it_again(data):
    result = show(data, "--random")
    seed = re.match(r"drawn with --seed (\d+)\n", result.err)[1]
    assert show(data, "--random", "--seed", seed).out == result.out


def test_one_picture_is_drawn(data, tmp_path):
    result = show(data, "--index", 0, "--out", tmp_path / "one.png")
    assert (result.code, result.err) == (0, f"{tmp_path / 'one.png'}\n")
    with Image.open(tmp_path / "one.png") as figure:
        assert figure.size[0] == 1160
        assert (255, 0, 0) in {colour for _, colour in figure.getcolors(100_000)}


def test_a_model_tells_its_caption_and_where_each_word_looked(data, tmp_path, tiny_bundle):
    plain, looked = tmp_path / "plain.png", tmp_path / "looked.png"
    show(data, "--index", 0, "--out", plain)
    result = show(data, "--index", 0, "--out", looked, "--model", tiny_bundle)
    assert result.code == 0
    assert "\ntold      a red picture\n" in result.out
    assert re.search(r"\n          by tiny, log-probability -?\d+\.\d\d, -?\d+\.\d\d a word\n$", result.out)
    with Image.open(looked) as with_panels, Image.open(plain) as without:
        assert with_panels.height > without.height + 240


def test_the_caption_is_that_of_showtell_caption(data, tiny_bundle):
    told = showtell("caption", "--model", tiny_bundle, "--format", "jsonl", data / "02-blue.png")
    assert f"told      {json.loads(told.out)['caption']}\n" in show(data, "--index", 2, "--model", tiny_bundle).out


def test_a_sheet_and_plots_are_drawn_and_come_again_to_the_byte(data, tmp_path):
    pytest.importorskip("matplotlib")
    files = [tmp_path / name for name in ("sheet.png", "plots.png", "sheet2.png", "plots2.png", "other.png")]
    result = show(data, "--out", files[0], "--count", 5, "--plots", files[1])
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"{files[0]}: 5 of 12 pictures",
        f"{files[1]}: 12 pictures, 24 captions, 6 different words",
    ]
    show(data, "--out", files[2], "--count", 5, "--plots", files[3])
    show(data, "--out", files[4], "--count", 5, "--seed", 1)
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[2] != contents[4]
    assert contents[1] == contents[3]


def test_a_sheet_of_a_split_says_so(data, tmp_path):
    result = show(data, "--out", tmp_path / "s.png", "--split", "val")
    assert result.out == f"{tmp_path / 's.png'}: 3 of 3 pictures of val\n"


def test_damaged_and_missing_pictures_are_told_and_their_places_stay_empty(data, tmp_path):
    (data / "00-red.png").write_bytes(b"")
    (data / "01-green.png").unlink()
    result = show(data, "--out", tmp_path / "s.png")
    assert result.code == 1
    assert result.out == f"{tmp_path / 's.png'}: 12 of 12 pictures\n"
    lines = sorted(result.err.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith(f"showtell: {data / '00-red.png'}: is empty (0 bytes)")
    assert lines[1].startswith(f"showtell: {data / '01-green.png'}: no such file")
    one = show(data, "--index", 0, "--out", tmp_path / "one.png")
    assert one.code == 1
    assert "captions  A red picture\n" in one.out
    assert (tmp_path / "one.png").is_file()


def test_plots_tell_of_pictures_without_a_size(data, tmp_path):
    pytest.importorskip("matplotlib")
    (data / "00-red.png").write_bytes(b"")
    result = show(data, "--plots", tmp_path / "p.png")
    assert result.code == 1
    assert result.err == f"showtell: 1 of 12 pictures give no size; see `showtell data check {data}`\n"


WRONG = [
    ([], "nothing to show: choose a picture with --random, --index N or --id ID"),
    (["--index", 1, "--random"], "--index and --random: choose the picture in one way"),
    (["--index", 12], "--index 12: there are 12 pictures, 0 to 11"),
    (["--index", 1, "--plots", "p.png"], "--plots is for the whole data set or split; leave out --index"),
    (["--random", "--count", 3], "--count is for a sheet of pictures; leave out --random"),
    (["--plots", "p.png", "--count", 3], "--count is for a sheet of pictures; name its file"),
    (["--out", "s.png", "--model", "embedded"], "--model captions one picture; choose it with --random"),
    (["--index", 1, "--seed", 3], "--seed draws pictures at random"),
    (["--plots", "p.png", "--seed", 3], "--seed draws pictures at random"),
    (["--out", "p.png", "--plots", "p.png"], "--plots p.png: is the file of --out too"),
    (["--out", "s.jpg"], "--out s.jpg: expected a file name that ends in .png"),
    (["--out", "nowhere/s.png"], "--out nowhere/s.png: the folder nowhere does not exist"),
    (["--out", "s.png", "--split", "dev"], "'dev' is not one of 'train', 'val', 'test'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_makes_no_sense_is_wrong_usage(data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = show(data, *arguments)
    assert result.code == 2
    assert message in result.err
    assert not list(tmp_path.glob("*.png"))


def test_what_is_not_there_is_one_line(data, tmp_path):
    result = show(data, "--id", "cat")
    assert (result.code, result.out) == (1, "")
    assert result.err == "showtell: --id cat: no picture has this id; ids are such as 00-red.png\n"
    gone = tmp_path / "gone"
    assert show(gone, "--random").err.startswith(f"showtell: {gone}: is not there, expected the folder of a data set")


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "site").mkdir()
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "site"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def coco(tmp_path, site) -> Path:
    """Captions of three pictures: the first has its file, the second only its address, the third neither."""
    address, _ = site
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    Image.new("RGB", (60, 40), COLOURS["red"]).save(root / "val2017" / "1.jpg")
    Image.new("RGB", (60, 40), COLOURS["green"]).save(tmp_path / "site" / "2.png")
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "coco_url": f"{address}/{i}.png", "flickr_url": "http://x.invalid/"}
            for i in (1, 2, 3)
        ],
        "annotations": [{"id": i, "image_id": i, "caption": f"Caption {i}"} for i in (1, 2, 3)],
    }
    (root / "annotations" / "captions_val2017.json").write_text(json.dumps(content))
    return root


def test_a_picture_that_is_not_there_comes_from_its_address_once(coco, site, tiny_bundle, tmp_path):
    address, asked = site
    result = show(coco, "--id", 2, "--model", tiny_bundle, "--out", tmp_path / "one.png")
    assert result.code == 0
    assert f"picture   {address}/2.png\n" in result.out
    assert "told      a green picture\n" in result.out
    assert result.err.startswith(f"{coco / 'val2017' / '2.jpg'}: not there, loading {address}/2.png\n")
    assert asked == ["/2.png"]


def test_a_picture_that_is_there_is_not_asked_for(coco, site):
    assert show(coco, "--id", 1).code == 0
    assert site[1] == []


def test_a_sheet_loads_what_is_not_there_and_tells_what_fails(coco, site, tmp_path):
    address, asked = site
    result = show(coco, "--out", tmp_path / "s.png")
    assert result.code == 1
    first, second = result.err.splitlines()
    assert first == "2 of 3 pictures are not there, loading them from their addresses"
    assert second.startswith(f"showtell: {address}/3.png: the server answers 404")
    assert sorted(asked)[0] == "/2.png"


def test_captions_alone_are_enough_where_addresses_are_known(coco, site):
    (coco / "val2017" / "1.jpg").unlink()
    (coco / "val2017").rmdir()
    assert "captions  Caption 2\n" in show(coco, "--id", 2).out


def test_showing_never_imports_torch_or_matplotlib(data, tmp_path, tiny_bundle):
    code = (
        "import sys\nfrom showtell.cli import showtell\n"
        f"showtell.main(['data', 'show', {str(data)!r}, '--out', {str(tmp_path / 's.png')!r}], standalone_mode=False)\n"
        f"showtell.main(['data', 'show', {str(data)!r}, '--index', '0', '--model', {str(tiny_bundle)!r}, '--out', "
        f"{str(tmp_path / 'o.png')!r}], standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_place_that_cannot_be_written_is_one_line(data, tmp_path, monkeypatch):
    from showtell import files

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    result = show(data, "--out", tmp_path / "s.png")
    assert result.code == 1
    assert (
        result.err
        == f"showtell: {tmp_path / 's.png'}: cannot be written (No space left on device); check folder and disk\n"
    )
    assert not list(tmp_path.glob("*.png"))
