"""Readers: each format as its users hold it, and what is said about entries that are not as expected."""

import json
from pathlib import Path

import pytest
from PIL import Image

from showtell.data.dataset import Dataset
from showtell.data.readers import READERS, read_dataset
from showtell.errors import DataError

FLICKR8K = Path(__file__).parents[2].parent / "shared" / "data" / "flickr8k"


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), colour).save(path)
    return path


def write(path: Path, content: str | bytes | list[object] | dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list | dict):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def told(dataset: Dataset) -> dict[str, tuple[tuple[str, ...], str | None]]:
    return {example.id: (example.captions, example.split) for example in dataset.examples}


def kinds(dataset: Dataset) -> list[str]:
    return [problem.kind for problem in dataset.problems]


def test_kaggle_captions_keep_their_commas_and_quotes(tmp_path: Path) -> None:
    picture(tmp_path / "Images/b.jpg")
    picture(tmp_path / "Images/a.jpg")
    write(tmp_path / "captions.txt", 'image,caption\nb.jpg,"A man , a ""big"" dog ."\na.jpg,One .\nb.jpg,Two .\n')
    dataset = read_dataset(tmp_path)
    assert dataset.format == "flickr"
    assert told(dataset) == {"a.jpg": (("One .",), None), "b.jpg": (('A man , a "big" dog .', "Two ."), None)}
    assert dataset.examples[0].image == tmp_path / "Images/a.jpg"


def test_commas_that_nobody_quoted_stay_in_the_last_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", "image,caption\na.jpg,A man , a dog , and a cat\n")
    assert told(read_dataset(tmp_path)) == {"a.jpg": (("A man , a dog , and a cat",), None)}


def test_flickr30k_results_table_and_its_one_broken_row(tmp_path: Path) -> None:
    picture(tmp_path / "flickr30k_images/flickr30k_images/1.jpg")
    write(
        tmp_path / "flickr30k_images/results.csv",
        "image_name| comment_number| comment\n1.jpg| 0| A man .\n1.jpg| 4   A dog runs .\n",
    )
    dataset = read_dataset(tmp_path / "flickr30k_images")
    assert told(dataset) == {"1.jpg": (("A man .",), None)}
    assert [(p.kind, p.where, p.what) for p in dataset.problems[:1]] == [
        ("bad row", "results.csv:3", "2 columns, expected 3")
    ]


def test_token_file_with_official_split_lists(tmp_path: Path) -> None:
    for name in "abcd":
        picture(tmp_path / f"Flicker8k_Dataset/{name}.jpg")
    text = tmp_path / "Flickr8k_text"
    write(text / "Flickr8k.token.txt", 'a.jpg#0\tA "dog .\na.jpg#1\tTwo .\nb.jpg#0\tB .\nc.jpg#0\tC .\nd.jpg#0\tD .\n')
    write(text / "Flickr8k.lemma.token.txt", "a.jpg#0\tlemma\n")
    write(text / "Flickr_8k.trainImages.txt", "a.jpg\n")
    write(text / "Flickr_8k.devImages.txt", "b.jpg\n")
    write(text / "Flickr_8k.testImages.txt", "c.jpg\n")
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {
        "a.jpg": (('A "dog .', "Two ."), "train"),
        "b.jpg": (("B .",), "val"),
        "c.jpg": (("C .",), "test"),
        "d.jpg": (("D .",), None),
    }
    assert [problem.what for problem in dataset.problems] == ["1 of 4 pictures are in no split: d.jpg"]


def coco(names: dict[int, str], captions: list[tuple[int, str]]) -> dict[str, object]:
    return {
        "images": [{"id": number, "file_name": name} for number, name in names.items()],
        "annotations": [{"id": i, "image_id": number, "caption": text} for i, (number, text) in enumerate(captions)],
    }


@pytest.mark.parametrize(
    ("year", "train_name", "val_name"),
    [("2014", "COCO_train2014_01.jpg", "COCO_val2014_02.jpg"), ("2017", "01.jpg", "02.jpg")],
)
def test_coco_names_tell_split_and_folder(tmp_path: Path, year: str, train_name: str, val_name: str) -> None:
    picture(tmp_path / f"train{year}" / train_name)
    picture(tmp_path / f"val{year}" / val_name)
    notes = tmp_path / "annotations"
    write(notes / f"captions_train{year}.json", coco({1: train_name}, [(1, "One"), (1, "Eins"), (9, "Lost")]))
    write(notes / f"captions_val{year}.json", coco({2: val_name}, [(2, "Two")]))
    write(notes / f"instances_val{year}.json", {"images": [], "annotations": []})
    dataset = read_dataset(tmp_path)
    assert dataset.format == "coco"
    assert told(dataset) == {"1": (("One", "Eins"), "train"), "2": (("Two",), "val")}
    assert [example.image for example in dataset.examples] == [
        tmp_path / f"train{year}" / train_name,
        tmp_path / f"val{year}" / val_name,
    ]
    assert [(p.kind, p.where) for p in dataset.problems] == [
        ("orphan caption", f"annotations/captions_train{year}.json:annotations[2]")
    ]


def test_coco_annotations_without_their_picture_folder_are_left_out_and_noted(tmp_path: Path) -> None:
    picture(tmp_path / "val2017/2.jpg")
    write(tmp_path / "annotations/captions_train2017.json", coco({1: "1.jpg"}, [(1, "One")]))
    write(tmp_path / "annotations/captions_val2017.json", coco({2: "2.jpg"}, [(2, "Two")]))
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"2": (("Two",), "val")}
    assert kinds(dataset) == ["left out"]


def test_coco_numbers_that_start_again_are_not_mixed_up(tmp_path: Path) -> None:
    picture(tmp_path / "train/1.jpg")
    picture(tmp_path / "val/1.jpg")
    write(tmp_path / "captions_train.json", coco({1: "1.jpg"}, [(1, "One")]))
    write(tmp_path / "captions_val.json", coco({1: "1.jpg"}, [(1, "Two")]))
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"1": (("One",), "train"), "captions_val/1": (("Two",), "val")}
    assert {example.image.parent.name for example in dataset.examples} == {"train", "val"}


def test_coco_json_beside_the_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    write(tmp_path / "mine.json", coco({7: "x.png"}, [(7, "Seven")]))
    assert told(read_dataset(tmp_path)) == {"7": (("Seven",), None)}


def test_karpathy_restval_is_training_and_filepath_names_the_folder(tmp_path: Path) -> None:
    picture(tmp_path / "train2014/a.jpg")
    picture(tmp_path / "val2014/b.jpg")
    images = [
        {"filepath": "train2014", "filename": "a.jpg", "split": "train", "cocoid": 5, "sentences": [{"raw": "A."}]},
        {"filepath": "val2014", "filename": "b.jpg", "split": "restval", "cocoid": 6, "sentences": [{"raw": "B."}]},
    ]
    write(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    dataset = read_dataset(tmp_path)
    assert dataset.format == "karpathy"
    assert told(dataset) == {"5": (("A.",), "train"), "6": (("B.",), "train")}
    assert dataset.examples[1].image == tmp_path / "val2014/b.jpg"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_image_folder_with_metadata_in_each_split(tmp_path: Path, kind: str) -> None:
    for folder in ("train", "validation", "test"):
        picture(tmp_path / folder / "0.png")
        record = {"file_name": "0.png", "text": f"of {folder}, yes"}
        text = f'file_name,text\n0.png,"of {folder}, yes"\n' if kind == "csv" else json.dumps(record) + "\n"
        write(tmp_path / folder / f"metadata.{kind}", text)
    dataset = read_dataset(tmp_path)
    assert dataset.format == "imagefolder"
    assert told(dataset) == {
        "test/0.png": (("of test, yes",), "test"),
        "train/0.png": (("of train, yes",), "train"),
        "validation/0.png": (("of validation, yes",), "val"),
    }
    assert not dataset.problems


def test_image_folder_with_one_table_takes_the_split_from_the_path(tmp_path: Path) -> None:
    picture(tmp_path / "train/0.png")
    picture(tmp_path / "test/0.png")
    write(tmp_path / "metadata.csv", "file_name,caption\ntrain/0.png,A\ntest/0.png,B\n")
    assert told(read_dataset(tmp_path)) == {"test/0.png": (("B",), "test"), "train/0.png": (("A",), "train")}


@pytest.mark.parametrize("column", ["image", "file", "file_name", "path", "filename"])
@pytest.mark.parametrize("caption", ["caption", "text", "captions"])
def test_table_columns_go_by_all_their_usual_names(tmp_path: Path, column: str, caption: str) -> None:
    picture(tmp_path / "pics/a.png")
    write(tmp_path / "my.csv", f"{caption.upper()},split,{column}\nA cat,dev,pics/a.png\n")
    assert told(read_dataset(tmp_path)) == {"pics/a.png": (("A cat",), "val")}


def test_tsv_and_one_table_for_each_split(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    write(tmp_path / "train.tsv", "image\tcaption\na.png\tA, a\n")
    write(tmp_path / "valid.tsv", "image\tcaption\nb.png\tB\n")
    dataset = read_dataset(tmp_path)
    assert dataset.format == "tsv"
    assert told(dataset) == {"a.png": (("A, a",), "train"), "b.png": (("B",), "val")}


def test_two_tables_that_could_be_the_same_captions_twice_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "captions.csv", "image,caption\na.png,A\n")
    write(tmp_path / "copy.csv", "image,caption\na.png,A\n")
    with pytest.raises(DataError, match=r"several tables with captions \(captions\.csv, copy\.csv\)"):
        read_dataset(tmp_path)


def test_jsonl_takes_lists_of_captions_and_tells_the_line_of_a_bad_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    lines = [
        '{"image": "a.png", "captions": ["A", "B\u2028C"], "split": "train"}',
        "{oops",
        '{"image": 3, "captions": "x"}',
        "7",
    ]
    write(tmp_path / "all.jsonl", "\n".join(lines))
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"a.png": (("A", "B\u2028C"), "train")}
    assert [(p.kind, p.where) for p in dataset.problems] == [
        ("bad row", "all.jsonl:2"),
        ("bad row", "all.jsonl:4"),
        ("bad row", "all.jsonl:3"),
    ]


def test_pictures_with_text_files_of_the_same_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "train/b.png")
    picture(tmp_path / "c.png")
    write(tmp_path / "a.txt", "One\n\nTwo\n")
    write(tmp_path / "train/b.txt", "Three")
    write(tmp_path / "lonely.txt", "Nobody")
    write(tmp_path / "README.txt", "About")
    dataset = read_dataset(tmp_path)
    assert dataset.format == "txt"
    assert told(dataset) == {"a.jpg": (("One", "Two"), None), "c.png": ((), None), "train/b.png": (("Three",), "train")}
    assert [(p.kind, p.where) for p in dataset.problems][:2] == [
        ("orphan caption", "lonely.txt"),
        ("no caption", "c.png"),
    ]


def test_captions_for_no_picture_stay_an_example_and_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "captions.txt", "image,caption\na.jpg,A\ngone.jpg,B\ngone.jpg,C\n")
    dataset = read_dataset(tmp_path)
    assert [example.image for example in dataset.examples] == [tmp_path / "images/a.jpg", tmp_path / "images/gone.jpg"]
    assert dataset.missing == {"gone.jpg"}
    assert dataset.problems[0].kind == "missing picture"
    assert dataset.problems[0].where == "gone.jpg"
    assert "2 captions (captions.txt:3) for no picture" in dataset.problems[0].what


def test_empty_captions_and_rows_without_a_picture_are_told_by_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", "image,caption\na.jpg,A\na.jpg,  \n,B\n")
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"a.jpg": (("A",), None)}
    assert [(p.kind, p.where) for p in dataset.problems][:2] == [
        ("empty caption", "captions.txt:3"),
        ("orphan caption", "captions.txt:4"),
    ]


def test_a_picture_in_two_splits_is_told_and_kept_out_of_training(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "t.csv", "image,caption,split\na.jpg,A,test\na.jpg,B,train\n")
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"a.jpg": (("A", "B"), "test")}
    assert [(p.kind, p.what) for p in dataset.problems] == [
        ("two splits", "in test and in train (t.csv:3); kept in test")
    ]


def test_pictures_that_no_table_names_are_noted(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"images/{name}.jpg")
    write(tmp_path / "t.csv", "image,caption,split\na.jpg,A,train\n")
    dataset = read_dataset(tmp_path)
    assert [p.what for p in dataset.problems] == ["2 pictures that no caption belongs to, such as b.jpg, c.jpg"]
    assert not dataset.problems[0].is_error


def test_an_unclosed_quote_does_not_swallow_rows_silently(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", 'image,caption\na.jpg,A\na.jpg,"B\na.jpg,C\na.jpg,D"\na.jpg,E\n')
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"a.jpg": (("A", "E"), None)}
    assert dataset.problems[0].where == "captions.txt:3"
    assert "not closed, up to line 5" in dataset.problems[0].what


@pytest.mark.parametrize("outside", ["../secret.jpg", "{top}/secret.jpg"])
def test_a_table_cannot_reach_out_of_the_data_set(tmp_path: Path, outside: str) -> None:
    picture(tmp_path / "secret.jpg")
    data = tmp_path / "data"
    picture(data / "a.jpg")
    write(data / "t.csv", f"image,caption,split\na.jpg,A,train\n{outside.format(top=tmp_path)},B,train\n")
    dataset = read_dataset(data)
    assert list(told(dataset)) == ["a.jpg"]
    assert [(p.kind, p.where) for p in dataset.problems] == [("outside", "t.csv:3")]


def test_a_path_that_climbs_within_the_data_set_is_followed(tmp_path: Path) -> None:
    picture(tmp_path / "pictures/a.jpg")
    write(tmp_path / "annotations/t.csv", "image,caption\n../pictures/a.jpg,A\n")
    assert read_dataset(tmp_path).examples[0].image == tmp_path / "pictures/a.jpg"


def test_pictures_elsewhere_are_found_in_the_named_folder_even_by_foreign_paths(tmp_path: Path) -> None:
    picture(tmp_path / "disk/a.jpg")
    picture(tmp_path / "disk/b.jpg")
    write(tmp_path / "data/t.csv", f"image,caption\n/home/someone/a.jpg,A\n{tmp_path}/disk/b.jpg,B\n")
    dataset = read_dataset(tmp_path / "data", image_folder=tmp_path / "disk")
    assert [example.image.name for example in dataset.examples] == ["a.jpg", "b.jpg"]
    assert not dataset.missing


def test_a_last_name_that_two_folders_hold_is_not_guessed(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        picture(tmp_path / folder / "a.jpg")
    picture(tmp_path / "b.jpg")
    write(tmp_path / "t.csv", "image,caption\nelsewhere/a.jpg,A\nb.jpg,B\n")
    assert read_dataset(tmp_path).missing == {"elsewhere/a.jpg"}


def test_stored_splits_win_over_the_data_sets_own(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.jpg")
    write(tmp_path / "t.csv", "image,caption,split\na.jpg,A,train\na.jpg,A2,test\nb.jpg,B,train\nc.jpg,C,train\n")
    stored = {
        "format": 1,
        "seed": 0,
        "fractions": [1, 0, 0],
        "splits": {"train": ["a.jpg"], "test": ["b.jpg", "zz.jpg"]},
    }
    write(tmp_path / "splits.json", stored)
    dataset = read_dataset(tmp_path)
    assert {key: split for key, (_, split) in told(dataset).items()} == {
        "a.jpg": "train",
        "b.jpg": "test",
        "c.jpg": None,
    }
    assert sorted(kinds(dataset)) == ["no split", "unknown id"]
    other = write(tmp_path / "elsewhere/other.json", stored | {"splits": {"val": ["c.jpg"]}})
    assert told(read_dataset(tmp_path, splits=other))["c.jpg"][1] == "val"


def test_captions_of_another_format_that_were_not_read_are_noted(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", "image,caption\na.jpg,A\n")
    write(tmp_path / "more.jsonl", '{"image": "a.jpg", "caption": "B"}\n')
    dataset = read_dataset(tmp_path)
    assert told(dataset) == {"a.jpg": (("A",), None)}
    assert dataset.problems[0].what == "not read, as captions.txt was; --format jsonl reads it instead"
    assert told(read_dataset(tmp_path, format="jsonl")) == {"a.jpg": (("B",), None)}


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / "t.csv", b"\xef\xbb\xbfimage,caption\r\na.jpg,\xc3\x84pfel\r\n")
    assert told(read_dataset(tmp_path)) == {"a.jpg": (("Äpfel",), None)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("captions.txt", b"image,caption\na.jpg,A\na.jpg,\xe9t\xe9\n", r"captions\.txt:3: byte 0xe9 is not UTF-8"),
        ("captions_x.json", '{"images": [],\n "annotations": [}', r"captions_x\.json:2: column 18 is not JSON"),
        ("other.json", '{"a": 1', r"other\.json:1: column 8 is not JSON"),
        ("captions_x.json", "[1]", r"found list, expected an object with the list 'images'"),
        ("captions.txt", "photo,words\na.jpg,A\n", r"captions\.txt:1: found the columns 'photo', 'words', expected"),
        (
            "t.csv",
            "photo,words\na.jpg,A\n",
            r"t\.csv:1: found the columns 'photo', 'words', expected one of the picture",
        ),
        ("t.jsonl", '{"photo": "a.jpg"}\n', r"t\.jsonl: found the keys 'photo', expected one of the picture"),
        ("captions.txt", "image,caption\n", r"no caption in captions\.txt \(read as flickr\)"),
        ("captions.txt", "image,caption\na.jpg,\n", r"first problem: captions\.txt:2: the caption of a\.jpg is empty"),
        ("captions.txt", "image,caption\nb.jpg,B\n", r"none of the 1 pictures .* such as b\.jpg; looked in .*--images"),
        ("nothing.md", "", r"no captions found, looked for metadata\.csv .*\(imagefolder\);.*\(txt\)"),
        ("splits.json", "{}", r"no captions found"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    picture(tmp_path / "a.jpg")
    write(tmp_path / name, content)
    with pytest.raises(DataError, match=said) as caught:
        read_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_named_format_that_is_not_there_says_what_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no captions found, looked for annotations/captions_\*\.json \(coco\); see"):
        read_dataset(tmp_path, format="coco")
    with pytest.raises(DataError, match=r"'cocoa' is not known, expected one of auto, imagefolder, karpathy"):
        read_dataset(tmp_path, format="cocoa")


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there, expected the folder"):
        read_dataset(tmp_path / "gone")
    with pytest.raises(DataError, match="is a file, expected the folder"):
        read_dataset(write(tmp_path / "captions.txt", ""))
    picture(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", "image,caption\na.jpg,A\n")
    with pytest.raises(DataError, match="no such folder of pictures"):
        read_dataset(tmp_path, image_folder=tmp_path / "gone")


def test_every_reader_is_described_in_the_help() -> None:
    from showtell.cli.data import command

    assert all(name in (command.help or "") for name in READERS)


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="needs Flickr8k in ../shared/data/flickr8k")
def test_the_whole_of_flickr8k() -> None:
    # No stored split is obeyed here: the official lists are what is tested.
    from showtell.data.readers import read_own

    dataset = read_own(FLICKR8K)
    assert len(dataset.examples) == 8091
    assert sum(len(example.captions) for example in dataset.examples) == 40455
    assert {split: len(dataset.of_split(split)) for split in ("train", "val", "test", None)} == {
        "train": 6000,
        "val": 1000,
        "test": 1000,
        None: 91,
    }
    assert not dataset.missing
    assert not dataset.problems
