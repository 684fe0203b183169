"""The table of sources: what ships is whole and sound, and what users lay over it is checked key by key."""

import re
from urllib.parse import urlsplit

import pytest

from showtell.data.places import TABLE, read_places
from showtell.errors import DataError

MINE = """
[mine]
title = "My pictures"
parts = ["all"]

[mine.files."mine.zip"]
part = "all"
addresses = ["https://example.org/mine.zip"]
"""


def read(tmp_path, text):
    (tmp_path / "own.toml").write_text(text)
    return read_places(tmp_path / "own.toml")


def refusal(tmp_path, text):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'own.toml'}: ")
    assert "\n" not in message
    return message


def test_what_ships_names_four_data_sets_with_captions_and_pictures():
    places = read_places()
    assert list(places) == ["coco2014", "coco2017", "flickr8k", "flickr30k"]
    for source in places.values():
        assert set(source.parts) <= set(source.all_parts)
        holds = {kind for file in source.files for kind in file.holds} | {kind for a in source.ask for kind in a.holds}
        assert holds == {"captions", "pictures"}
        assert source.terms
        assert source.home.startswith("https://")


@pytest.mark.parametrize("file", [file for source in read_places().values() for file in source.files])
def test_every_file_that_ships_can_be_checked(file):
    """Nothing is loaded that could be exchanged on its way unnoticed, least of all over plain http."""
    assert re.fullmatch("[0-9a-f]{64}", file.sha256) or re.fullmatch("[0-9a-f]{32}", file.md5)
    assert file.sha256 or urlsplit(file.addresses[0]).scheme == "https"
    assert file.size
    assert file.gives
    assert file.name.endswith(".zip")


def test_a_part_of_coco_may_be_several_files():
    test = [file.name for file in read_places()["coco2014"].files if file.part == "test"]
    assert test == ["image_info_test2014.zip", "test2014.zip"]


def test_a_mirror_replaces_the_address_and_keeps_the_sum(tmp_path):
    text = '[coco2014.files."val2014.zip"]\naddresses = ["http://mirror.example/v.zip", "https://other.example/v"]\n'
    file, before = (
        next(file for file in places["coco2014"].files if file.name == "val2014.zip")
        for places in (read(tmp_path, text), read_places())
    )
    assert file.addresses == ("http://mirror.example/v.zip", "https://other.example/v")
    assert (file.sha256, file.bytes, file.part, file.gives) == (before.sha256, before.bytes, "val", ("val2014/",))


def test_a_data_set_of_ones_own_stands_beside_the_others(tmp_path):
    source = read(tmp_path, MINE)["mine"]
    assert source.all_parts == ("all",)
    assert source.files[0].holds == ("captions", "pictures")
    assert source.files[0].most_unpacked(10**9) == 20 * 10**9
    assert source.files[0].most_unpacked(10) == 1 << 26
    assert "coco2017" in read(tmp_path, MINE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MINE + "adresses = []\n", 'mine.zip".adresses: is not a known key; did you mean addresses?'),
        (MINE + "zzz = 1\n", "zzz: is not a known key; known are part, addresses, bytes"),
        (MINE + 'name = "x"\n', "name: is not a known key"),
        ('[mine]\ncolour = 1\ntitle = ""\nparts = []\n', "mine.colour: is not a known key"),
        (MINE.replace('title = "My pictures"\n', ""), "mine: has no title; add it"),
        (MINE.replace('part = "all"\n', ""), 'mine.files."mine.zip": has no part; add it'),
        (MINE.replace('["all"]', '["all", "more"]'), "mine.parts: names more, expected parts of its files (all)"),
        (MINE.replace('["all"]', '"all"'), "mine.parts: is 'all', expected a list of texts"),
        (MINE + "bytes = 0\n", "bytes: is 0, expected a number of bytes"),
        (MINE + "bytes = true\n", "bytes: is True, expected a number of bytes"),
        (MINE + 'sha256 = "ABC"\n', "sha256: 'ABC', expected 64 hexadecimal digits in lower case"),
        (MINE + "md5 = 3\n", "md5: is 3, expected a text"),
        (MINE + 'holds = ["sounds"]\n', "expected some of captions, pictures"),
        (MINE + 'to = "../elsewhere"\n', "leads out of the folder by ..; expected a path inside the data set"),
        (MINE + 'to = "/elsewhere"\n', "is absolute"),
        (MINE + 'gives = ["../a/"]\n', "leads out of the folder by .."),
        (MINE.replace('["https://example.org/mine.zip"]', "[]"), "addresses: is empty"),
        (MINE.replace("https://example.org", "file:///etc"), "is not an http or https address"),
        (MINE.replace("https://example.org", "https://"), "is not an http or https address"),
        (MINE.replace('"mine.zip"', '"../mine.zip"'), "is no plain file name"),
        (MINE.replace('"mine.zip"', '".hidden"'), "is no plain file name"),
        (MINE.replace('"mine.zip"', '"nul"'), "which is a device on Windows"),
        (MINE.replace("[mine]", "['my set']").replace("[mine.", "['my set'."), "is no name of a data set"),
        (MINE.replace('"all"', '"a,b"'), "is no name of a part"),
        ("coco2014 = 3\n", "coco2014: is 3, expected a table"),
        ("[coco2014]\nfiles = 3\n", "coco2014.files: is 3, expected tables"),
        ("[flickr30k.ask]\nimages = 3\n", "flickr30k.ask.images: is 3, expected a table"),
        ("not toml", "is not TOML ("),
    ],
)
def test_every_fault_of_a_table_is_told_by_its_key(tmp_path, text, reason):
    assert reason in refusal(tmp_path, text)


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"own\.toml: cannot be read \(No such file"):
        read_places(tmp_path / "own.toml")


def test_the_table_explains_its_own_keys():
    from dataclasses import fields

    from showtell.data.places import Asked, DataSource, SourceFile

    comments = "\n".join(line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    keys = {field.name for kind in (DataSource, SourceFile, Asked) for field in fields(kind)} - {"name", "files", "ask"}
    assert {key for key in keys if re.search(rf"\b{key}\b", comments)} == keys
