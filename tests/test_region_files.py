"""Regions from files: what is read of them, which file belongs to which picture, and what is refused."""

import json
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.data.example import Example
from showtell.data.readers import read_dataset
from showtell.errors import DataError, FeatureError, ImageError, RecipeError
from showtell.images import ImageOptions
from showtell.names import Named
from showtell.recipe_reader import read_recipe
from showtell.region_files import apart, input_reader, measure, read_regions, remembered_folder, with_region_files

SIZE = 5
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16"}


def rows(n, size=SIZE, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)


def npz(**arrays):
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def safetensors(metadata=None, **arrays):
    """Written by hand, so that what is read is the format's word and not ours."""
    header, body = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, (dtype, values) in arrays.items():
        content = values.tobytes()
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def f32(values):
    return "F32", values


def half(values):
    return values.astype(np.float16).astype(np.float32)


# Reading


@pytest.mark.parametrize("write", [npz, lambda **a: safetensors({"a": "b"}, **{k: f32(v) for k, v in a.items()})])
def test_rows_come_first_and_nan_stands_for_those_that_are_missing(write):
    values = rows(3)
    found = read_regions(write(features=values), 4, SIZE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:3], half(values))
    assert np.isnan(found[3]).all()


@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from(sorted(DTYPES)), st.booleans())
def test_every_kind_of_float_is_read_and_rounded_to_16_bits(n, size, dtype, as_npz):
    values = rows(n, size, seed=n).astype(dtype)
    content = npz(x=values) if as_npz else safetensors(x=(DTYPES[dtype], values))
    found = read_regions(content, 7, size)
    assert found.shape == (7, size)
    np.testing.assert_array_equal(found[:n], values.astype(np.float32).astype(np.float16))


def test_bfloat16_is_the_upper_half_of_float32():
    values = rows(2)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    found = read_regions(safetensors(x=("BF16", upper)), 2, SIZE)
    np.testing.assert_array_equal(found, half((upper.astype(np.uint32) << 16).view(np.float32)))


def test_the_file_of_the_safetensors_library_is_read():
    library = pytest.importorskip("safetensors.numpy", reason="needs the training extra")
    values = rows(2)
    content = library.save({"features": values, "bbox": rows(2, 4)}, {"made": "by them"})
    np.testing.assert_array_equal(read_regions(content, 2, SIZE), half(values))


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"bbox": rows(3, 4), "num_bbox": np.array(3), "image_h": np.array(480)},
        {"boxes": rows(3, 4), "objects_conf": rows(1, 3)[0], "objects_id": np.arange(3)},
    ],
)
@pytest.mark.parametrize("name", ["features", "x", "feat"])
def test_the_array_of_regions_is_found_beside_boxes_and_scores(name, others):
    values = rows(3)
    np.testing.assert_array_equal(read_regions(npz(**{name: values}, **others), 3, SIZE), half(values))


def test_known_names_go_before_any_other_array():
    values = rows(3)
    content = npz(cls_prob=rows(3, 9), features=values, x=rows(3, 8))
    np.testing.assert_array_equal(read_regions(content, 3, SIZE), half(values))
    with pytest.raises(FeatureError, match=r"are cls_prob \(3 x 9\), feat \(3 x 5\); expected `features`, `x` or one"):
        read_regions(npz(cls_prob=rows(3, 9), feat=values), 3, SIZE)


def test_pickled_objects_beside_the_regions_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    trap = np.empty(1, object)
    trap[0] = Trap()
    values = rows(2)
    content = npz(info=trap, x=values)
    assert pickle.dumps(Trap())[:1] == b"\x80"  # it can be pickled: the file holds it
    np.testing.assert_array_equal(read_regions(content, 2, SIZE), half(values))
    with pytest.raises(FeatureError, match="its arrays of floats are none"):
        read_regions(npz(x=trap), 2, SIZE)
    assert not (tmp_path / "sprung").exists()


def test_a_model_of_one_region_takes_the_mean_of_all_and_a_vector_as_it_is():
    values = rows(9)
    np.testing.assert_allclose(read_regions(npz(x=values), 1, SIZE), half(values.mean(0, keepdims=True)), atol=1e-3)
    np.testing.assert_array_equal(read_regions(npz(x=values[0]), 1, SIZE), half(values[:1]))
    np.testing.assert_array_equal(read_regions(npz(x=values[0]), 3, SIZE)[:1], half(values[:1]))


def test_paths_bytes_and_arrays_give_the_same(tmp_path):
    values = rows(3)
    path = tmp_path / "1.npz"
    path.write_bytes(npz(x=values))
    for source in (path, str(path), path.read_bytes(), Named("-", path.read_bytes()), values):
        np.testing.assert_array_equal(read_regions(source, 3, SIZE), half(values))


def test_the_reader_of_a_model_is_that_of_what_it_takes(tmp_path):
    picture = np.zeros((9, 9, 3), np.uint8)
    assert input_reader(ImageOptions(size=4), 3, SIZE)(picture).shape == (4, 4, 3)
    assert input_reader(None, 3, SIZE)(rows(2)).shape == (3, SIZE)


def test_mask_and_values_are_told_apart():
    regions = np.stack([read_regions(rows(n), 3, SIZE) for n in (1, 3)])
    values, mask = apart(regions)
    assert mask.tolist() == [[True, False, False], [True, True, True]]
    assert values.dtype == np.float32
    assert not values[0, 1:].any()
    np.testing.assert_array_equal(values[mask], regions[mask])


# What is refused


GOOD = npz(x=rows(3))
TENSORS = safetensors(x=f32(rows(3)))


def changed(content, place, byte):
    return content[:place] + bytes([byte]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (npz(x=rows(3, 4)), FeatureError, "holds 3 x 4 numbers, expected regions of 5"),
        (npz(x=np.zeros((2, 3, 5), np.float32)), FeatureError, r"are x \(2 x 3 x 5\); expected"),
        (npz(x=np.arange(10).reshape(2, 5)), FeatureError, "its arrays of floats are none"),
        (npz(x=rows(4)), FeatureError, "holds 4 regions, the model takes 3 at most; .*--set encoder.regions=4"),
        (npz(x=np.full((2, 5), np.nan, np.float32)), FeatureError, "not finite in 16 bits"),
        (npz(x=np.full((2, 5), np.inf)), FeatureError, "not finite in 16 bits"),
        (npz(x=np.full((2, 5), 7e4)), FeatureError, "not finite in 16 bits, expected numbers up to 65,504"),
        (npz(x=rows(0)), ImageError, "holds no region, expected one or more"),
        (b"", ImageError, "is empty"),
        (b"\xff\xd8\xff\xe0" + bytes(60), ImageError, "no region file: found a JPEG, the model takes regions"),
        (b"a dog runs\n", ImageError, "no region file: found text"),
        (GOOD[: len(GOOD) // 2], ImageError, "truncated or damaged"),
        (changed(GOOD, 60, 1), ImageError, "truncated or damaged"),
        (TENSORS[:-1], ImageError, "truncated or damaged .*x does not lie in the file"),
        (changed(TENSORS, 7, 9), ImageError, "truncated or damaged .*a header of"),
        (TENSORS.replace(b"[3, 5]", b"[5, 5]"), ImageError, "x has 60 bytes for 5 x 5 numbers"),
        (TENSORS.replace(b"[3, 5]", b"[-3,5"), ImageError, "truncated or damaged"),
        (TENSORS.replace(b'"F32"', b'"I32"'), FeatureError, "its arrays of floats are none"),
    ],
)
def test_what_does_not_fit_or_is_damaged_is_one_line_with_the_files_name(tmp_path, content, error, text):
    path = tmp_path / "7.npz"
    path.write_bytes(content)
    with pytest.raises(error, match=text) as caught:
        read_regions(path, 3, SIZE)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_and_a_thing_that_is_no_file_are_told(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_regions(tmp_path / "gone.npz", 3, SIZE)
    with pytest.raises(FeatureError, match=r"<array int64 .*holds 4 numbers, expected regions of 5"):
        read_regions(np.arange(4), 3, SIZE)


def test_no_more_is_read_than_the_model_takes(monkeypatch):
    def read(*_, **__):
        raise AssertionError("read")

    monkeypatch.setattr(np.lib.format, "read_array", read)
    for content in (npz(x=rows(4)), npz(x=rows(3, 6))):
        with pytest.raises(FeatureError):
            read_regions(content, 3, SIZE)


# Sizes


def test_sizes_are_the_most_regions_and_the_one_size(tmp_path):
    for name, n in (("a", 2), ("b", 6), ("c", 1)):
        (tmp_path / f"{name}.npz").write_bytes(npz(x=rows(n), bbox=rows(n, 4)))
    (tmp_path / "d.safetensors").write_bytes(safetensors(x=f32(rows(3))))
    (tmp_path / "broken.npz").write_bytes(GOOD[:90])
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "gone.npz"]
    assert measure(paths) == (6, SIZE)
    (tmp_path / "e.npz").write_bytes(npz(x=rows(2, 8)))
    with pytest.raises(FeatureError, match=r"e\.npz: holds regions of 8 numbers, but .*a\.npz of 5; expected one size"):
        measure(sorted(tmp_path.iterdir()))
    with pytest.raises(FeatureError, match=r"no file of regions can be read: .*broken\.npz: "):
        measure([tmp_path / "broken.npz"])
    with pytest.raises(FeatureError, match="no file of regions can be read: none is there"):
        measure([tmp_path / "gone.npz"])


# Which file belongs to which picture


def example(name, image=None):
    return Example(id=name, image=Path("photos", image or name), captions=("x",), split="train")


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(GOOD)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("name", "image", "file"),
    [
        ("1.jpg", None, "1.npz"),
        ("1.jpg", None, "1.jpg.npz"),
        ("1.jpg", None, "1.safetensors"),
        ("1.jpg", None, "deep/er/1.npz"),
        ("train/1.jpg", "1.jpg", "train/1.npz"),
        ("train/1.jpg", "1.jpg", "1.npz"),
        ("139", "COCO_val2014_000000000139.jpg", "139.npz"),
        ("139", "COCO_val2014_000000000139.jpg", "COCO_val2014_000000000139.npz"),
        ("v1.5", "v1.5.png", "v1.5.npz"),
    ],
)
def test_a_file_is_named_after_the_picture_or_its_id(folder, name, image, file):
    top = folder(file, "v1.npz", "other.npz", "note.txt")
    assert [e.image for e in with_region_files([example(name, image)], top)] == [top / file]


def test_folders_tell_pictures_of_one_name_apart(folder):
    top = folder("a/1.npz", "b/1.npz")
    both = [example("a/1.jpg", "1.jpg"), example("b/1.jpg", "1.jpg")]
    assert [e.image for e in with_region_files(both, top)] == [top / "a/1.npz", top / "b/1.npz"]
    # A name that two files have means neither.
    assert with_region_files([both[0], example("1.jpg")], top)[1].image == top / "1.npz"


def test_one_file_for_two_pictures_is_refused(folder):
    with pytest.raises(DataError, match=r"1\.npz: means both 1\.jpg and 1\.png; name it after one with its suffix"):
        with_region_files([example("1.jpg"), example("1.png")], folder("1.npz"))
    found = with_region_files([example("1.jpg"), example("1.png")], folder("1.npz", "1.jpg.npz"))
    assert [e.image.name for e in found] == ["1.jpg.npz", "1.npz"]


def test_a_missing_file_is_named_as_it_should_be_and_none_at_all_is_an_error(folder):
    top = folder("1.npz")
    assert with_region_files([example("1.jpg"), example("2.jpg")], top)[1].image == top / "2.npz"
    with pytest.raises(DataError, match=r"holds no region file \(\.npz, \.safetensors\) of 1 pictures, such as 2\.npz"):
        with_region_files([example("2.jpg")], top)
    with pytest.raises(DataError, match="no such folder of region files; check the name given with --regions"):
        with_region_files([example("2.jpg")], top / "nowhere")


def test_a_data_set_needs_no_pictures_where_their_regions_are_there(folder, tmp_path):
    top = folder("boxes/1.npz", "boxes/2.npz")
    data = tmp_path / "data"
    data.mkdir()
    (data / "captions.csv").write_text("image,caption,split\n1.jpg,a dog,train\n2.jpg,a cat,test\n")
    with pytest.raises(DataError, match="none of the 2 pictures"):
        read_dataset(data)
    examples = read_dataset(data, regions=top / "boxes").examples
    assert [(e.id, e.image.name, e.captions, e.split) for e in examples] == [
        ("1.jpg", "1.npz", ("a dog",), "train"),
        ("2.jpg", "2.npz", ("a cat",), "test"),
    ]


def test_a_run_remembers_its_folder_and_nothing_else_does(tmp_path):
    assert remembered_folder(tmp_path) is None
    for content, expected in (
        ('{"source": {"root": "d", "regions": "boxes"}}', "boxes"),
        ('{"source": {"root": "d", "regions": null}}', None),
        ('{"source": {"root": "d"}}', None),
        ('{"source": 3}', None),
        ("[", None),
    ):
        (tmp_path / "data.json").write_text(content)
        found = remembered_folder(tmp_path)
        assert found is None if expected is None else str(found) == expected


# Recipes


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            ["encoder.regions=1"],
            "encoder.output is 'grid', but the files hold one region each, .*encoder.output=pooled",
        ),
        (["encoder.train=true"], "encoder.train is true, but regions from files have no encoder that could learn"),
        (["encoder.output=flat"], "encoder.output is 'flat', expected grid or pooled"),
        (["training.flip=true"], "training.flip is true, but regions from files cannot be mirrored"),
        (["encoder.regions=-1"], "encoder.regions is -1, expected 0 or more"),
    ],
)
def test_a_recipe_that_asks_files_for_what_they_cannot_give_is_refused(settings, text):
    base = ["encoder.name=files", "encoder.region_size=8", "training.flip=false"]
    with pytest.raises(RecipeError, match=text) as caught:
        read_recipe("up-down", [*base, *settings])
    assert len(str(caught.value).splitlines()) == 1
    assert read_recipe("up-down", base).encoder.region_size == 8
