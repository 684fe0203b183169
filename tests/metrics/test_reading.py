"""Files of candidates and references in every form, and everything that can be wrong with them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from showtell.errors import DataError
from showtell.metrics.pairing import cover
from showtell.metrics.reading import read_candidates, read_references, read_training
from showtell.metrics.records import read_records

PICTURES = {"7": ["a dog", "the dog"], "8": ["a cat"], "9": ["a cow", "the cow", "one cow"]}
ONE = {picture: texts[:1] for picture, texts in PICTURES.items()}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def coco(captions, name="COCO_{}.jpg"):
    images = [{"id": int(i), "file_name": name.format(i)} for i in captions]
    texts = [(int(i), text) for i, entries in captions.items() for text in entries]
    annotations = [{"id": 100 + n, "image_id": i, "caption": text} for n, (i, text) in enumerate(texts)]
    return {"info": {}, "images": images, "annotations": annotations}


def rows(captions, key="image_id"):
    return [{key: i, "caption": text} for i, texts in captions.items() for text in texts]


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def karpathy(captions):
    images = [
        {
            "filename": f"{i}.jpg",
            "imgid": int(i),
            "split": "test",
            "sentences": [{"raw": t, "tokens": []} for t in texts],
        }
        for i, texts in captions.items()
    ]
    return {"dataset": "flickr8k", "images": images}


FORMS = {
    "coco.json": coco,
    "results.json": rows,
    "text ids.json": lambda c: rows({str(i): texts for i, texts in c.items()}),
    "float ids.json": lambda c: rows({float(i): texts for i, texts in c.items()}),
    "mapping.json": dict,
    "of programs.json": lambda c: {i: [{"image_id": i, "caption": t} for t in texts] for i, texts in c.items()},
    "karpathy.json": karpathy,
    "lines.jsonl": lambda c: lines(rows(c, "id")),
    "lists.jsonl": lambda c: lines({"id": int(i), "captions": texts} for i, texts in c.items()),
    "paths.jsonl": lambda c: lines(rows({f"{i}": texts for i, texts in c.items()}, "path")),
    "no ending": lambda c: lines(rows(c)),
    "table.csv": lambda c: "image_id,caption\n" + "".join(f'{i},"{t}"\n' for i, ts in c.items() for t in ts),
    "table.tsv": lambda c: "id\tcaption\r\n" + "".join(f"{i}\t{t}\r\n" for i, ts in c.items() for t in ts),
    "extra.csv": lambda c: "id;source;text\n" + "".join(f"{i};x;{t}\n" for i, ts in c.items() for t in ts),
    "captions.txt": lambda c: "".join(f"{i}\t{t}\n" for i, ts in c.items() for t in ts),
    "x.token.txt": lambda c: "".join(f"{i}#{n}\t{t}\n" for i, ts in c.items() for n, t in enumerate(ts)),
}


@pytest.mark.parametrize("name", FORMS)
def test_references_of_every_form_are_the_same(write, name):
    found = read_references([write(name, FORMS[name](PICTURES))])
    captions = {i.removesuffix(".jpg"): texts for i, texts in found.captions.items()}
    assert captions == PICTURES
    assert not found.notes


@pytest.mark.parametrize("name", FORMS)
def test_candidates_of_every_form_are_the_same_by_the_ids_of_the_references(write, name):
    references = read_references([write("r.json", coco(PICTURES))])
    found = read_candidates(write(name, FORMS[name](ONE)), references)
    assert found.captions == ONE
    assert not found.unknown


def test_a_byte_order_mark_and_carriage_returns_change_nothing(write):
    table = "\ufeffimage_id,caption\r\n7,a dog\r\n8,a cat\r\n9,a cow\r\n"
    references = read_references([write("r.json", ("\ufeff" + json.dumps(coco(PICTURES))).encode())])
    assert read_candidates(write("c.csv", table), references).captions == ONE
    assert (
        read_candidates(write("c.jsonl", "\ufeff" + lines(rows(ONE)).replace("\n", "\r\n")), references).captions == ONE
    )


# Plain lines


def test_line_i_is_picture_i_and_an_empty_line_is_an_empty_candidate(write):
    references = read_references([write("r0.txt", "a dog\na cat\na cow\n"), write("r1.txt", "the dog\n\nthe cow")])
    assert references.captions == {"1": ["a dog", "the dog"], "2": ["a cat"], "3": ["a cow", "the cow"]}
    found = read_candidates(write("c.txt", "dog\u2028x\n\ncow\n"), references)
    assert found.captions == {"1": ["dog\u2028x"], "2": [""], "3": ["cow"]}


def test_tabs_part_the_captions_of_a_line(write):
    references = read_references([write("r.txt", "a dog\tthe dog\na cat\n")])
    assert references.captions == {"1": ["a dog", "the dog"], "2": ["a cat"]}


def test_files_of_different_length_are_refused(write):
    expected = r"r0\.txt 2, .*r1\.txt 3; expected as many in each file, as line i belongs to picture i$"
    with pytest.raises(DataError, match=expected):
        read_references([write("r0.txt", "a\nb\n"), write("r1.txt", "a\nb\nc\n")])
    references = read_references([write("r0.txt", "a\nb\n")])
    with pytest.raises(DataError, match=r"c\.txt: 1 lines, .*r0\.txt has 2; expected as many"):
        read_candidates(write("c.txt", "a\n"), references)
    with pytest.raises(DataError, match=r"c\.txt: 3 lines, .*r0\.txt has 2; expected as many"):
        read_candidates(write("c.txt", "a\nb\nc\n"), references)


def test_plain_lines_are_never_laid_beside_named_pictures(write):
    references = read_references([write("r.json", coco({"1": ["x"], "2": ["y"]}))])
    with pytest.raises(DataError, match=r"c\.txt: holds plain lines, which name no picture, and .*r\.json names its"):
        read_candidates(write("c.txt", "x\ny\n"), references)


def test_several_named_files_add_to_each_other(write):
    first, second = write("a.json", coco({"7": ["a dog"]})), write("b.json", coco({"7": ["the dog"], "8": ["a cat"]}))
    assert read_references([first, second]).captions == {"7": ["a dog", "the dog"], "8": ["a cat"]}


# Pictures by file


def test_a_file_is_found_by_its_longest_end_and_by_its_last_part(write):
    refs = lines(
        [
            {"image": "train/a.jpg", "caption": "x"},
            {"image": "test/a.jpg", "caption": "y"},
            {"image": "b.jpg", "caption": "z"},
        ]
    )
    references = read_references([write("r.jsonl", refs)])
    rows_ = [
        {"path": "/data/test/a.jpg", "caption": "1"},
        {"path": "train\\a.jpg", "caption": "2"},
        {"path": "/else/b.jpg", "caption": "3"},
    ]
    found = read_candidates(write("c.jsonl", lines(rows_)), references)
    assert found.captions == {"test/a.jpg": ["1"], "train/a.jpg": ["2"], "b.jpg": ["3"]}
    with pytest.raises(
        DataError, match=r"c\.jsonl:1: 2 pictures of .*r\.jsonl are called '/data/a\.jpg', expected one"
    ):
        read_candidates(write("c.jsonl", lines([{"path": "/data/a.jpg", "caption": "1"}])), references)


def test_id_and_file_of_two_pictures_are_refused(write):
    references = read_references([write("r.json", coco(PICTURES))])
    row = {"id": 7, "path": "/x/COCO_8.jpg", "caption": "a"}
    with pytest.raises(DataError, match=r"c\.jsonl:1: id '7' and file '/x/COCO_8\.jpg' are two pictures"):
        read_candidates(write("c.jsonl", lines([row])), references)
    row = {"id": 7, "path": "/elsewhere/renamed.jpg", "caption": "a"}
    assert read_candidates(write("c.jsonl", lines([row])), references).captions == {"7": ["a"]}


def test_ids_of_rows_are_not_taken_for_ids_of_pictures(write):
    table = [{"id": 0, "image": "a.jpg", "caption": "x"}, {"id": 1, "image": "a.jpg", "caption": "y"}]
    with pytest.raises(DataError, match=r"r\.jsonl:2: 'a\.jpg' is picture '1' here and '0' before, expected one id"):
        read_references([write("r.jsonl", lines(table))])


# Data sets and splits


def folder(tmp_path):
    (tmp_path / "set").mkdir()
    names = [("a.png", "a dog", "train"), ("b.png", "a cat", "test"), ("b.png", "the cat", "test")]
    for name, _, _ in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name)
    table = "image,caption,split\n" + "".join(",".join(row) + "\n" for row in (*names, ("b.png", " ", "test")))
    (tmp_path / "set" / "captions.csv").write_text(table)
    return tmp_path / "set"


def test_references_are_a_split_of_a_data_set_and_what_it_lost_is_noted(tmp_path):
    found = read_references([folder(tmp_path)], split="test")
    assert found.captions == {"b.png": ["a cat", "the cat"]}
    assert len(found.notes) == 1
    assert "1 entries gave no caption, such as captions.csv:5: the caption of b.png is empty" in found.notes[0]
    assert set(read_references([tmp_path / "set"]).captions) == {"a.png", "b.png"}


def test_candidates_find_a_data_set_by_id_or_path(tmp_path, write):
    references = read_references([folder(tmp_path)], split="test")
    for row in ({"id": "b.png"}, {"path": str(tmp_path / "set" / "b.png")}, {"path": "other/b.png"}):
        found = read_candidates(write("c.jsonl", lines([{**row, "caption": "x"}])), references)
        assert found.captions == {"b.png": ["x"]}


def test_captions_learnt_from_are_those_of_the_train_split_where_there_is_one(tmp_path, write):
    assert read_training(folder(tmp_path)) == ["a dog"]
    assert read_training(write("r.json", coco(PICTURES))) == [text for texts in PICTURES.values() for text in texts]
    assert read_training(write("t.txt", "a dog\na cat")) == ["a dog", "a cat"]


def test_splits_of_files_are_kept_apart_and_wrong_ones_told(write):
    images = [{"filename": f"{i}.jpg", "split": s, "sentences": [{"raw": s}]} for i, s in enumerate(("restval", "val"))]
    path = write("d.json", {"images": images})
    assert read_references([path], split="train").captions == {"0.jpg": ["restval"]}
    assert read_references([path], split="restval").captions == {"0.jpg": ["restval"]}
    with pytest.raises(DataError, match=r"d\.json: no picture in split 'tset', its splits are restval, val$"):
        read_references([path], split="tset")
    with pytest.raises(DataError, match=r"r\.json: no picture in split 'test', it tells no splits; leave --split out$"):
        read_references([write("r.json", coco(PICTURES))], split="test")


# Bad input: one clear line each


def test_what_is_no_readable_file_of_captions_is_told(write, tmp_path):
    bad = {
        "gone.json": (None, r"gone\.json: cannot be read \(No such file or directory\)"),
        "empty.json": (" \n", r"empty\.json: is empty, expected captions$"),
        "cut.json": ('[{"image_id": 1, "cap', r"cut\.json:1: column 18 is not JSON .*; the file may be cut short$"),
        "latin.jsonl": (
            b'{"id": 1, "caption": "x"}\n{"id": 2, "caption": "caf\xe9"}',
            r"latin\.jsonl:2: byte 0xe9 is not",
        ),
        "cut.jsonl": (
            '{"id": 1, "caption": "x"}\n{"id": 2,',
            r"cut\.jsonl:2: not JSON \(column 10: .*mend or delete the",
        ),
        "long.json": (
            f'[{{"image_id": {"9" * 5000}}}]',
            r"long\.json: holds a number that cannot be read \(more than 4,300 digits\)",
        ),
        "long.jsonl": (
            f'\n{{"image_id": {"9" * 5000}}}',
            r"long\.jsonl:2: not JSON \(a number is too long\), expected",
        ),
        "deep.jsonl": ("[" * 100_000, r"deep\.jsonl:1: not JSON \(too deep\), expected"),
        "number.json": ("5", r"number\.json: found the number 5, expected COCO results or captions"),
        "texts.json": ('["a dog"]', r"texts\.json:\[0\]: found a text, expected an object with a picture's id and"),
        "boxes.json": (
            [{"image_id": 1, "bbox": [1, 2, 3, 4]}],
            r"boxes\.json:\[0\]: .* 'image_id', 'bbox', expected one of",
        ),
        "nobody.json": (
            [{"caption": "x"}],
            r"nobody\.json:\[0\]: found the keys 'caption', expected the picture as one",
        ),
        "other.json": ({"data": {}, "n": 1}, r"other\.json: found the keys 'data', 'n', expected COCO results"),
        "own id.json": (
            {"annotations": [{"id": 1, "caption": "x"}]},
            r"annotations\[0\]: .* expected image_id and caption",
        ),
        "twice.json": ('{"1": "a", "1": "b"}', r"twice\.json: '1' stands twice in an object, expected once"),
        "t.csv": ("name,words\na,b\n", r"t\.csv:1: found the columns 'name', 'words', expected one of the picture \("),
        "ragged.csv": ("id,caption,x\n1,a,b\n2,a\n", r"ragged\.csv:3: 2 columns, expected 3; mend or delete the line$"),
        "tab.txt": (
            "1.jpg\ta dog\n2.jpg a cat\n",
            r"tab\.txt:2: found no tab in '2\.jpg a cat', expected picture<TAB>",
        ),
    }
    for name, (content, expected) in bad.items():
        path = tmp_path / name if content is None else write(name, content)
        with pytest.raises(DataError, match=expected) as raised:
            read_references([path])
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match=r": is a folder, expected a file of captions"):
        list(read_records(tmp_path, "auto", [])[1])
    with pytest.raises(DataError, match=r"form 'xml' is not known for files, expected one of auto, json, jsonl, csv"):
        read_references([write("r.json", coco(PICTURES))], "xml")


@pytest.mark.parametrize(
    ("value", "found"), [(None, "null"), (5, "the number 5"), (True, "true"), (["x", None], "null"), ({}, "null")]
)
def test_a_caption_that_is_no_text_is_told(write, value, found):
    path = write("c.json", [{"image_id": 7, "caption": "a dog"}, {"image_id": 8, "caption": value}])
    with pytest.raises(DataError, match=rf'c\.json:\[1\]: the caption is {found}, expected a text; quote it, write ""'):
        read_references([path])


@pytest.mark.parametrize(("value", "found"), [([], "a list"), (1.5, "the number 1.5"), (True, "true"), (" ", "empty")])
def test_an_id_that_is_none_is_told(write, value, found):
    with pytest.raises(DataError, match=rf"c\.jsonl:1: the picture's id is {found}, expected a "):
        read_references([write("c.jsonl", lines([{"image_id": value, "caption": "x"}, {}]))])


@pytest.mark.parametrize("text", ["NULL", "nan", "NA", "None", "null", "", "1e5", "#N/A"])
@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_texts_that_look_like_nothing_stay_texts(write, text, form):
    references = read_references([write("r.json", coco(PICTURES))])
    captions = {"7": [text], "8": ["a cat"], "9": ["a cow"]}
    content = {
        "json": rows(captions),
        "jsonl": lines(rows(captions)),
        "csv": "image_id,caption\n" + "".join(f"{i},{texts[0]}\n" for i, texts in captions.items()),
    }
    found = read_candidates(write(f"c.{form}", content[form]), references)
    assert found.captions == captions
    assert cover(references, [found]).pictures == ("7", "8", "9")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "txt"])
def test_a_caption_of_a_megabyte_is_read_whole(write, form):
    long = "dog " * 250_000 + "x"
    content = {
        "json": [{"image_id": 7, "caption": long}],
        "jsonl": lines([{"image_id": 7, "caption": long}]),
        "csv": f"image_id,caption\n7,{long}\n",
        "txt": f"7\t{long}\n",
    }
    references = read_references([write("r.json", coco({"7": ["a dog"]}))])
    assert read_candidates(write(f"c.{form}", content[form]), references).captions == {"7": [long]}


# Candidates and references that do not fit each other


@pytest.fixture
def covered(write):
    """Reads both and covers: `covered(references, candidates...)`."""

    def run(references, *candidates, several=False, **options):
        known = read_references([write("r.json", references)])
        names = [f"c{i}.jsonl" for i in range(len(candidates))]
        files = [
            read_candidates(write(name, lines(content)), known, several=several)
            for name, content in zip(names, candidates, strict=True)
        ]
        return cover(known, files, **options)

    return run


def test_all_pictures_are_covered_and_the_line_says_so(covered):
    found = covered(coco(PICTURES), rows(ONE))
    assert found.pictures == ("7", "8", "9")
    assert str(found) == "3 of 3 pictures scored, 6 reference captions"


def test_a_candidate_for_an_unknown_picture_is_refused_or_counted(covered):
    candidates = [*rows(ONE), {"image_id": 70, "caption": "x"}, {"image_id": 71, "caption": "x"}]
    expected = r"c0\.jsonl:4: picture '70' is not among the 3 pictures of .*r\.json, nor are 1 more; correct the id, or"
    with pytest.raises(DataError, match=expected):
        covered(coco(PICTURES), candidates)
    told = str(covered(coco(PICTURES), candidates, partial=True))
    assert re.fullmatch(r"3 of 3 pictures scored, .*c0\.jsonl: candidates of other pictures, left out: 2", told)


def test_missing_candidates_are_refused_or_counted(covered):
    candidates = rows({"8": ["a cat"]})
    with pytest.raises(
        DataError, match=r"c0\.jsonl: no candidate for 2 of the 3 pictures of .*, such as '7', '9'; sco"
    ):
        covered(coco(PICTURES), candidates)
    found = covered(coco(PICTURES), candidates, partial=True)
    assert found.pictures == ("8",)
    assert re.fullmatch(
        r"1 of 3 pictures scored, 1 reference captions; .*: pictures without a candidate, left out: 2", str(found)
    )


def test_a_picture_that_a_captioner_failed_on_is_missing_with_its_reason(covered):
    candidates = [*rows({"7": ["a dog"], "8": ["a cat"]}), {"path": "COCO_9.jpg", "error": "COCO_9.jpg: is empty"}]
    with pytest.raises(DataError, match=r"no candidate for 1 of the 3 .* such as '9' \(COCO_9\.jpg: is empty\); score"):
        covered(coco(PICTURES), candidates)
    with pytest.raises(DataError, match=r"c0\.jsonl: holds no candidate \(x\), expected one a picture"):
        covered(coco(PICTURES), [{"image_id": 7, "error": "x"}])


def test_failures_in_the_csv_of_the_captioner_are_failures(write):
    references = read_references([write("r.json", coco(PICTURES))])
    found = read_candidates(write("c.csv", "path,caption,score,error\n7,a dog,-1,\n8,,,is empty\n"), references)
    assert (found.captions, found.failed) == ({"7": ["a dog"]}, {"8": "is empty"})


def test_missing_pictures_of_other_splits_are_explained(write):
    references = read_references([write("d.json", karpathy(PICTURES))])
    found = read_candidates(write("c.jsonl", lines(rows({"7.jpg": ["a dog"]}, "path"))), references)
    with pytest.raises(DataError, match=r"; name the split that was captioned with --split \(test\), or score"):
        cover(references, [found])


@pytest.mark.parametrize("second", ["a cat", "another"])
def test_a_second_candidate_is_refused_or_kept(covered, second):
    candidates = [*rows(ONE), {"image_id": "8", "caption": second}]
    expected = (
        r"c0\.jsonl:4: a second candidate for picture '8' \(the first is in .*c0\.jsonl:2\), expected one; --first"
    )
    with pytest.raises(DataError, match=expected):
        covered(coco(PICTURES), candidates)
    assert covered(coco(PICTURES), candidates, several=True).pictures == ("7", "8", "9")
    with pytest.raises(DataError, match=r":1: a second candidate for picture '7' \(the first is in the same entry\)"):
        covered(coco(PICTURES), [{"image_id": 7, "captions": ["a", "b"]}])


def test_empty_candidates_are_scored_and_counted(covered):
    found = covered(coco(PICTURES), rows({"7": [""], "8": [" "], "9": ["x"]}))
    assert found.pictures == ("7", "8", "9")
    assert str(found).endswith("c0.jsonl: empty candidates, scored as they are: 2")


def test_a_picture_without_references_counts_only_where_it_has_a_candidate(covered):
    references = coco({**PICTURES, "10": []})
    assert str(covered(references, rows(ONE))) == (
        "3 of 3 pictures scored, 6 reference captions; pictures without a reference caption, left out: 1"
    )
    candidates = [*rows(ONE), {"image_id": 10, "caption": "x"}]
    with pytest.raises(
        DataError, match=r"c0\.jsonl:4: picture '10' has no reference caption in .*r\.json, expected one"
    ):
        covered(references, candidates)
    assert covered(references, candidates, partial=True).pictures == ("7", "8", "9")
    with pytest.raises(DataError, match=r"r\.json: 1 pictures and no caption, expected one or more for each"):
        covered(coco({"1": []}), rows(ONE))


def test_candidates_of_another_data_set_are_explained_even_with_partial(covered):
    for partial in (False, True):
        with pytest.raises(
            DataError, match=r"none of its 1 pictures has references in .*; found '1', expected such as '7'"
        ):
            covered(coco(PICTURES), rows({"1": ["x"]}), partial=partial)


def test_two_files_are_scored_on_the_pictures_of_both(covered):
    first, second = rows({"7": ["x"], "8": ["x"]}), rows({"8": ["x"], "9": ["x"]})
    with pytest.raises(DataError, match=r"c0\.jsonl: no candidate for 1 of the 3"):
        covered(coco(PICTURES), first, second)
    assert covered(coco(PICTURES), first, second, partial=True).pictures == ("8",)
    with pytest.raises(DataError, match=r"c0\.jsonl and .*c1\.jsonl: no picture has a candidate in both"):
        covered(coco(PICTURES), first[:1], second[1:], partial=True)


def test_captions_of_pictures_that_are_not_listed_do_not_count_as_in_coco(write):
    content = coco(PICTURES)
    content["images"].pop()
    found = read_references([write("r.json", content)])
    assert set(found.captions) == {"7", "8"}
    told = f"{found.name}: 3 captions of pictures that are not in its list 'images' are left out"
    assert found.notes == [f"{told}, as the COCO evaluation does"]


def coco_accepts(references, candidates):
    """Whether the COCO evaluation takes these, and which pictures it scores: its own steps up to the tokenizer."""
    from pycocotools.coco import COCO

    truth = COCO()
    truth.dataset = json.loads(json.dumps(references))
    truth.createIndex()
    try:
        results = truth.loadRes(json.loads(json.dumps(candidates)))
        pictures = truth.getImgIds()
        theirs, ours = ({i: s.imgToAnns[i] for i in pictures if s.imgToAnns[i]} for s in (truth, results))
        assert theirs.keys() == ours.keys()
        assert all(len(captions) == 1 for captions in ours.values())
    except AssertionError:
        return None
    return {str(i) for i in theirs}


sets = st.lists(st.integers(0, 3), max_size=5)


@given(listed=st.sets(st.integers(0, 3), min_size=1), annotated=sets, captioned=sets.filter(bool))
def test_what_the_coco_evaluation_refuses_is_refused_and_what_it_scores_is_scored(
    tmp_path_factory, listed, annotated, captioned
):
    pytest.importorskip("pycocotools.coco")
    folder = tmp_path_factory.mktemp("coco")
    references = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in sorted(listed)],
        "annotations": [{"id": n, "image_id": i, "caption": "x"} for n, i in enumerate(annotated)],
    }
    candidates = [{"image_id": i, "caption": "y"} for i in captioned]
    (folder / "r.json").write_text(json.dumps(references))
    (folder / "c.json").write_text(json.dumps(candidates))
    try:
        known = read_references([folder / "r.json"])
        found = set(cover(known, [read_candidates(folder / "c.json", known)]).pictures)
    except DataError:
        found = None
    assert found == coco_accepts(references, candidates)
