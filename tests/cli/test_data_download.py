"""`showtell data download` from end to end: small data sets in the real archives' layout, served on this machine."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile

import pytest
from PIL import Image

from command_line import showtell
from fickle_server import Answer, fickle_server
from showtell.data.places import read_places
from showtell.data.readers import read_dataset


def picture(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (20 * shade, 60, 120)).save(buffer, "JPEG")
    return buffer.getvalue()


def zipped(files):
    """A zip as COCO's: folders have entries of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in dict.fromkeys(name.rpartition("/")[0] for name in files if "/" in name):
            archive.writestr(f"{folder}/", b"")
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.encode())
    return buffer.getvalue()


def captions(year_split, ids):
    images = [{"id": i, "file_name": f"COCO_{year_split}_{i:012}.jpg"} for i in ids]
    annotations = [{"id": 10 * i + k, "image_id": i, "caption": f"Caption {k} of {i}."} for i in ids for k in range(5)]
    return json.dumps({"images": images, "annotations": annotations})


def coco_pictures(split, ids):
    return zipped({f"{split}/COCO_{split}_{i:012}.jpg": picture(i) for i in ids})


def small_coco():
    boxes = json.dumps({"images": [], "annotations": [{"bbox": [1, 2, 3, 4]}]})
    annotations = {
        f"annotations/{kind}_{split}2014.json": captions(f"{split}2014", ids) if kind == "captions" else boxes
        for split, ids in (("train", range(1, 7)), ("val", range(7, 10)))
        for kind in ("instances", "captions", "person_keypoints")
    }
    return {
        "annotations_trainval2014.zip": zipped(annotations),
        "train2014.zip": coco_pictures("train2014", range(1, 7)),
        "val2014.zip": coco_pictures("val2014", range(7, 10)),
        "test2014.zip": coco_pictures("test2014", range(10, 12)),
        "image_info_test2014.zip": zipped({"annotations/image_info_test2014.json": json.dumps({"images": []})}),
        "caption_datasets.zip": zipped({f"dataset_{name}.json": karpathy(name) for name in ("coco", "flickr30k")}),
    }


def karpathy(name):
    folder = {"filepath": "val2014"} if name == "coco" else {}
    names = [f"COCO_val2014_{i:012}.jpg" if name == "coco" else f"{i}.jpg" for i in range(7, 10)]
    images = [
        {"filename": image, "split": split, "sentences": [{"raw": f"A {split} picture"}], **folder}
        for image, split in zip(names, ("train", "val", "test"), strict=True)
    ]
    return json.dumps({"images": images, "dataset": name})


def small_flickr8k():
    names = [f"{i}_0a.jpg" for i in range(1, 7)]
    litter = {"__MACOSX/Flicker8k_Dataset/._1_0a.jpg": b"litter"}
    token = "".join(f"{name}#{k}\tCaption {k} of {name} .\n" for name in names for k in range(5))
    text = {
        "Flickr8k.token.txt": token,
        "Flickr8k.lemma.token.txt": token.lower(),
        "Flickr_8k.trainImages.txt": "\n".join(names[:4]) + "\n",
        "Flickr_8k.devImages.txt": names[4] + "\n",
        "Flickr_8k.testImages.txt": names[5] + "\n",
        "ExpertAnnotations.txt": "1_0a.jpg\t2_0a.jpg#2\t1\t1\t1\n",
        "readme.txt": "If you use this corpus, please cite\n",
        "__MACOSX/._readme.txt": "litter",
    }
    pictures = {f"Flicker8k_Dataset/{name}": picture(i) for i, name in enumerate(names)}
    return {"Flickr8k_Dataset.zip": zipped(pictures | litter), "Flickr8k_text.zip": zipped(text)}


class Mirror:
    """A server with small data sets, and a table for --sources that leads there."""

    def __init__(self, server, path):
        self.server, self.path = server, path

    def offer(self, data_set, archives):
        known = {file.name for file in read_places()[data_set].files}
        for name, content in archives.items():
            self.server.files[f"/{name}"] = content
            if name in known:
                sums = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                if data_set == "flickr8k" and name.startswith("Flickr8k_"):
                    sums = {"md5": hashlib.md5(content, usedforsecurity=False).hexdigest()}
                lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in sums.items())
                with self.path.open("a") as file:
                    address = f'addresses = ["{self.server.address}/{name}"]\n'
                    file.write(f'[{data_set}.files."{name}"]\n{address}{lines}')


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sync", lambda: None)
    with fickle_server() as server:
        yield Mirror(server, tmp_path / "mirror.toml")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def names(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and ".download" not in path.parts
    )


def test_coco_is_loaded_and_is_then_a_data_set(mirror, folder):
    mirror.offer("coco2014", small_coco())
    result = showtell("data", "download", "coco2014", folder, "--sources", mirror.path)
    assert result.code == 0
    assert result.out.startswith(f"{folder}: coco2014, 11 files, ")
    assert result.err.splitlines()[-1] == f"next: showtell data check {folder}"
    assert [name for name in names(folder) if name.startswith("annotations/")] == [
        "annotations/captions_train2014.json",
        "annotations/captions_val2014.json",
    ]
    dataset = read_dataset(folder)
    assert dataset.format == "coco"
    assert {split: len(dataset.of_split(split)) for split in ("train", "val")} == {"train": 6, "val": 3}
    assert dataset.missing == frozenset()
    assert dataset.problems == ()
    assert showtell("data", "check", folder).code == 0
    assert sorted(path.name for path in (folder / ".download").iterdir()) == [
        "annotations_trainval2014.zip.done",
        "lock",
        "train2014.zip.done",
        "val2014.zip.done",
    ]


def test_parts_come_one_by_one_and_each_tells_what_is_next(mirror, folder):
    mirror.offer("coco2014", small_coco())
    parts = ("data", "download", "coco2014", folder, "--sources", mirror.path, "--parts")
    result = showtell(*parts, "captions")
    assert result.code == 0
    assert f"no pictures yet: `showtell data download coco2014 {folder} --parts val` loads" in result.err
    result = showtell(*parts, "val,test")
    assert f"next: showtell data check {folder}" in result.err
    assert "annotations/image_info_test2014.json" in names(folder)
    assert "test2014/COCO_test2014_000000000010.jpg" in names(folder)
    dataset = read_dataset(folder)
    assert (len(dataset.of_split("val")), len(dataset.of_split("train"))) == (3, 0)
    assert showtell(*parts, "karpathy").code == 0
    dataset = read_dataset(folder)
    assert (dataset.format, len(dataset.of_split("test"))) == ("karpathy", 1)
    assert len(mirror.server.asked) == 5


def test_pictures_alone_say_that_captions_are_wanted(mirror, folder):
    mirror.offer("coco2014", small_coco())
    result = showtell("data", "download", "coco2014", folder, "--sources", mirror.path, "--parts", "val")
    assert result.code == 0
    assert f"no captions yet: `showtell data download coco2014 {folder} --parts captions` loads" in result.err


def test_flickr8k_is_loaded_and_is_then_a_data_set(mirror, folder):
    mirror.offer("flickr8k", small_flickr8k())
    result = showtell("data", "download", "flickr8k", folder, "--sources", mirror.path)
    assert result.code == 0
    assert not [name for name in names(folder) if "MACOSX" in name]
    dataset = read_dataset(folder)
    assert dataset.format == "flickr"
    assert [len(dataset.of_split(split)) for split in ("train", "val", "test")] == [4, 1, 1]
    assert dataset.missing == frozenset()
    assert dataset.problems == ()
    again = showtell("data", "download", "flickr8k", folder, "--sources", mirror.path)
    assert "Flickr8k_text.zip: is here already" in again.err
    assert again.out == result.out
    assert len(mirror.server.asked) == 2


def test_flickr30k_says_where_its_pictures_are_to_be_asked_for(mirror, folder):
    mirror.offer("flickr30k", {"caption_datasets.zip": small_coco()["caption_datasets.zip"]})
    result = showtell("data", "download", "flickr30k", folder, "--sources", mirror.path)
    assert result.code == 0
    form = (
        "flickr30k: the images are given out on request: fill in the form at https://forms.illinois.edu/sec/229675, "
        f"then unpack what its authors send you, so that the pictures lie in {folder}/flickr30k-images"
    )
    assert result.err.splitlines()[-1] == f"{form}; next: showtell data check {folder}"
    (folder / "flickr30k-images").mkdir()
    for i in range(7, 10):
        (folder / f"flickr30k-images/{i}.jpg").write_bytes(picture(i))
    assert len(read_dataset(folder).of_split("test")) == 1
    result = showtell("data", "download", "flickr30k", folder, "--sources", mirror.path, "--parts", "images")
    assert result.code == 1
    assert result.err.splitlines()[-1] == f"showtell: {form}"


def test_a_cut_and_a_failure_are_told_and_the_same_command_goes_on(mirror, folder):
    mirror.offer("coco2014", small_coco())
    mirror.server.answers[:] = [Answer(cut=100), Answer(), Answer(), Answer(status=404)]
    command = ("data", "download", "coco2014", folder, "--sources", mirror.path)
    result = showtell(*command)
    assert result.code == 1
    assert "annotations_trainval2014.zip: cut off after 100 of" in result.err
    last = result.err.splitlines()[-1]
    assert last.startswith("showtell: val2014.zip: cannot be loaded: the server answers 404 (Not Found) for http://")
    assert last.endswith("; nothing is kept yet, the same command tries again")
    assert result.out.startswith(f"{folder}: coco2014, 8 files")
    result = showtell(*command)
    assert result.code == 0
    assert read_dataset(folder).missing == frozenset()
    assert set(mirror.server.times_sent("/annotations_trainval2014.zip")) == {1}


def test_a_changed_archive_is_not_accepted(mirror, folder):
    mirror.offer("flickr8k", small_flickr8k())
    mirror.server.files["/Flickr8k_text.zip"] = zipped({"Flickr8k.token.txt": "x.jpg#0\tevil\n"})
    result = showtell("data", "download", "flickr8k", folder, "--sources", mirror.path, "--parts", "captions")
    assert result.code == 1
    assert "sends another file than expected: its md5 is" in result.err
    assert names(folder) == []
    assert result.out == ""


def test_ctrl_c_keeps_what_came(mirror, folder):
    mirror.offer("flickr8k", small_flickr8k())
    mirror.server.answers[:] = [Answer(cut=100, stall=True)]
    command = [sys.executable, "-m", "showtell", "data", "download", "flickr8k", str(folder)]
    part = folder / ".download/Flickr8k_text.zip.part"
    with subprocess.Popen(
        [*command, "--sources", str(mirror.path)],
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so do its children unless they are told.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as client:
        for _ in range(3000):
            if client.poll() is not None or (part.exists() and part.stat().st_size == 100):
                break
            threading.Event().wait(0.01)
        client.send_signal(signal.SIGINT)
        _, err = client.communicate(timeout=60)
    assert client.returncode == 130
    assert [line for line in err.splitlines() if line][-2:] == [
        "what came is kept: the same command goes on from there",
        "showtell: stopped",
    ]
    assert showtell(*command[3:], "--sources", mirror.path).code == 0
    assert set(mirror.server.times_sent("/Flickr8k_text.zip")) == {1}


def test_list_tells_names_parts_and_sizes_and_loads_nothing(tmp_path):
    result = showtell("data", "download", "--list")
    assert result.code == 0
    for line in (
        "coco2014: 82,783 pictures to train on",
        "  * train          13.5 GB  train2014/",
        "    test            6.7 GB  annotations/image_info_test2014.json, test2014/",
        "  * images    about 1.1 GB  Flicker8k_Dataset/",
        "given out on request: https://forms.illinois.edu/sec/229675",
    ):
        assert line in result.out
    assert max(map(len, result.out.splitlines())) <= 120
    alone = showtell("data", "download", "coco2017", "--list").out
    assert alone.startswith("coco2017: ")
    assert alone.strip() in result.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["flickr9k", "x"],
            "data set 'flickr9k' is not known, expected one of coco2014, coco2017, flickr8k, flickr30k",
        ),
        (["flickr8k"], "expected a data set and a folder"),
        ([], "expected a data set and a folder"),
        (
            ["flickr8k", "x", "--parts", "captions,vall"],
            "flickr8k has no part 'vall', expected some of captions, images",
        ),
        (["flickr8k", "x", "--parts", ""], "flickr8k has no part ''"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_made(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = showtell("data", "download", *arguments)
    assert result.code == 2
    assert reason in " ".join(result.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_table_is_told(tmp_path):
    (tmp_path / "own.toml").write_text("[coco2014]\ncolour = 1\n")
    result = showtell("data", "download", "--list", "--sources", tmp_path / "own.toml")
    assert result.code == 1
    assert "own.toml: coco2014.colour: is not a known key" in result.err
