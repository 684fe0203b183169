"""Bundles: what is written is read, damage is told in one line, an old bundle survives a failed write."""

import hashlib
import json
import os
import shutil

import pytest

from showtell import bundle as bundle_module
from showtell.bundle import RegionGeometry, read_bundle, read_manifest, write_bundle
from showtell.decoding.options import DecodeOptions
from showtell.errors import BundleError
from tiny_bundle import VOCABULARY, build_tiny_bundle, tiny_files, tiny_manifest


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A bundle that the test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def change_manifest(folder, change) -> None:
    table = json.loads((folder / "manifest.json").read_text())
    change(table)
    (folder / "manifest.json").write_text(json.dumps(table))


def put(folder, name: str, content: bytes) -> None:
    """A file together with its hash: what a stranger who means harm would write."""
    (folder / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(folder, lambda table: table["files"].update({name: entry}))


def problem(folder) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_what_is_written_is_read(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    assert bundle.manifest == tiny_manifest()
    assert bundle.manifest.decoding == DecodeOptions(beam_width=3, max_words=6)
    assert bundle.vocabulary == VOCABULARY
    assert bundle.graphs == {name: content for name, content in tiny_files().items() if name.endswith(".onnx")}


def test_the_manifest_lists_every_other_file_with_size_and_hash(tiny_bundle):
    table = json.loads((tiny_bundle / "manifest.json").read_text())
    assert table["format"] == 1
    assert set(table["files"]) | {"manifest.json"} == {path.name for path in tiny_bundle.iterdir()}
    for name, entry in table["files"].items():
        content = (tiny_bundle / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_a_flipped_bit_is_found_in_every_file(copy):
    for name in tiny_files():
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        assert f"{name}: damaged: its sha256 is" in problem(copy)
        (copy / name).write_bytes(content)
    read_bundle(copy)


def test_a_shortened_file_is_found(copy):
    (copy / "step.onnx").write_bytes(b"short")
    assert "step.onnx: 5 bytes, the manifest says" in problem(copy)


@pytest.mark.parametrize("name", ["encoder.onnx", "start.onnx", "step.onnx", "vocabulary.json", "card.md"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert f"{name}: is missing, the manifest lists it" in problem(copy)


def test_a_manifest_without_a_graph_is_refused(copy):
    change_manifest(copy, lambda table: table["files"].pop("start.onnx"))
    assert "lists no start.onnx" in problem(copy)


@pytest.mark.parametrize("found", [2, "1", None])
def test_another_format_names_both_and_the_cure(copy, found):
    change_manifest(copy, lambda table: table.update(format=found))
    text = problem(copy)
    assert f"bundle format {found!r}" in text
    assert "reads 1; export the checkpoint again with `showtell export`" in text


@pytest.mark.parametrize(
    "name", ["../card.md", "a/b.onnx", "a\\b.onnx", "/etc/passwd", "..", ".hidden", "", "manifest.json"]
)
def test_file_names_that_lead_elsewhere_are_refused(copy, name):
    change_manifest(copy, lambda table: table["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    assert "expected a plain name without folders" in problem(copy)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("images"), "key 'images' is missing"),
        (lambda t: t.update(decoding=[]), "decoding is [], expected dict"),
        (lambda t: t["images"].update(colour="warm"), "unknown key 'colour'; known are size, fit"),
        (lambda t: t["images"].update(size="big"), "size is 'big', expected int"),
        (lambda t: t["images"].update(size=0), "picture size is 0"),
        (lambda t: t["images"].update(mean=[0.5]), "expected three numbers each"),
        (lambda t: t["decoding"].update(beam_width=0), "decoding.beam_width is 0"),
        (lambda t: t["regions"].update(grid=[3, 2]), "grid (3, 2) does not hold 4 regions"),
        (lambda t: t["regions"].update(grid=[4]), "grid (4,) does not hold 4 regions"),
        (lambda t: t["regions"].update(count=0), "expected whole numbers from 1"),
        (lambda t: t["regions"].pop("size"), "size"),
        (lambda t: t["files"].update({"card.md": 3}), "key 'sha256' is missing"),
        (lambda t: t["files"]["card.md"].update(bytes=True), "bytes is True, expected int"),
    ],
)
def test_a_manifest_that_makes_no_sense_names_the_key(copy, change, text):
    change_manifest(copy, change)
    assert f"{copy / 'manifest.json'}: " in problem(copy)
    assert text in problem(copy)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_a_manifest_that_is_no_json_table_is_refused(copy, content):
    (copy / "manifest.json").write_bytes(content)
    assert str(copy) in problem(copy)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    assert "no bundle: it holds no manifest.json" in problem(tmp_path)


def test_a_graph_with_external_data_is_refused_even_with_a_right_hash(copy):
    from test_onnx_safety import in_initializer

    put(copy, "encoder.onnx", in_initializer().SerializeToString())
    assert "encoder.onnx: a tensor points to data outside the file" in problem(copy)


@pytest.mark.parametrize("content", [b"{}", b"[1]", b'{"tokenizer": "words", "words": ["a"]}', b"\xff"])
def test_a_vocabulary_that_cannot_serve_is_refused(copy, content):
    put(copy, "vocabulary.json", content)
    assert "vocabulary.json: no readable vocabulary" in problem(copy)


def test_the_manifest_can_be_read_alone(copy):
    (copy / "encoder.onnx").unlink()
    manifest, files = read_manifest(copy)
    assert manifest.scores == {"CIDEr": 12.5}
    assert files["card.md"].bytes == len(tiny_files()["card.md"])


def test_pooled_regions_have_no_grid(tmp_path):
    folder = build_tiny_bundle(tmp_path / "pooled", regions=RegionGeometry(count=4, size=3))
    assert read_bundle(folder).manifest.regions.grid is None


# Writing


def test_a_bundle_for_regions_from_files_has_no_encoder_and_its_manifest_says_so(tmp_path, copy):
    files = {name: content for name, content in tiny_files().items() if name != "encoder.onnx"}
    with pytest.raises(BundleError, match=r"a bundle needs encoder\.onnx"):
        write_bundle(tmp_path / "b", files=files, manifest=tiny_manifest())
    folder = write_bundle(tmp_path / "b", files=files, manifest=tiny_manifest(images=None))
    bundle = read_bundle(folder)
    assert bundle.manifest.images is None
    assert set(bundle.graphs) == {"start.onnx", "step.onnx"}
    assert json.loads((folder / "manifest.json").read_text())["images"] is None
    change_manifest(copy, lambda table: table.pop("images"))
    assert "key 'images' is missing" in problem(copy)


def test_writing_replaces_an_older_bundle_and_leaves_nothing_beside_it(tmp_path):
    build_tiny_bundle(tmp_path / "b", name="old")
    (tmp_path / "b" / "start.onnx").write_text("damaged")
    build_tiny_bundle(tmp_path / "b", name="new")
    assert read_bundle(tmp_path / "b").manifest.name == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("manifest", ["{}", '{"format": 1, "files": {"a.onnx": 0}}', "no json", "[1]"])
def test_a_folder_with_a_manifest_and_files_of_others_is_left_alone(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)  # web pages and browser extensions have such files too
    (tmp_path / "page.html").write_text("years of work")
    with pytest.raises(BundleError, match=r"exists and holds .*, which is no part of a bundle; name another folder"):
        build_tiny_bundle(tmp_path)
    assert (tmp_path / "page.html").read_text() == "years of work"


def test_writing_makes_the_folders_above_and_takes_an_empty_one(tmp_path):
    (tmp_path / "x" / "empty").mkdir(parents=True)
    assert build_tiny_bundle(tmp_path / "x" / "empty") == tmp_path / "x" / "empty"
    read_bundle(build_tiny_bundle(tmp_path / "y" / "z"))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="exists and is no bundle; name another folder"):
        build_tiny_bundle(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_place_is_left_alone(tmp_path):
    (tmp_path / "b").write_text("a file")
    with pytest.raises(BundleError, match="is a file, expected the folder of a bundle"):
        build_tiny_bundle(tmp_path / "b")


@pytest.mark.parametrize("moment", range(8))
def test_the_old_bundle_survives_a_disk_that_fills_up(tmp_path, monkeypatch, moment):
    build_tiny_bundle(tmp_path / "b", name="old")
    write, calls = bundle_module.write_bytes, []

    def fill_up(path, content):
        if len(calls) == moment:
            raise OSError(28, "No space left on device")
        calls.append(path)
        write(path, content)

    monkeypatch.setattr(bundle_module, "write_bytes", fill_up)
    if moment < len(tiny_files()) + 1:
        with pytest.raises(BundleError, match=r"cannot be written .*No space left"):
            build_tiny_bundle(tmp_path / "b", name="new")
        assert read_bundle(tmp_path / "b").manifest.name == "old"
    else:
        assert read_bundle(build_tiny_bundle(tmp_path / "b", name="new")).manifest.name == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_old_bundle_comes_back_where_the_last_rename_fails(tmp_path, monkeypatch):
    build_tiny_bundle(tmp_path / "b", name="old")
    rename, calls = os.rename, []

    def refuse_second(source, target, **arguments):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target, **arguments)

    monkeypatch.setattr(os, "rename", refuse_second)
    with pytest.raises(BundleError, match="cannot be written"):
        build_tiny_bundle(tmp_path / "b", name="new")
    assert len(calls) == 3
    assert read_bundle(tmp_path / "b").manifest.name == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_bundle_without_a_graph_is_not_written(tmp_path):
    files = {name: content for name, content in tiny_files().items() if name != "step.onnx"}
    with pytest.raises(BundleError, match=r"a bundle needs step\.onnx"):
        write_bundle(tmp_path / "b", files=files, manifest=tiny_manifest())
    assert not (tmp_path / "b").exists()


def test_a_file_name_with_a_folder_is_not_written(tmp_path):
    with pytest.raises(BundleError, match="expected a plain name"):
        write_bundle(tmp_path / "b", files={**tiny_files(), "../x": b""}, manifest=tiny_manifest())
    assert list(tmp_path.iterdir()) == []
