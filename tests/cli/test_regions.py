"""The whole way without pictures: regions from files, trained, resumed, scored, exported and told."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the training extra")
onnx = pytest.importorskip("onnx", reason="needs the training extra")

from command_line import showtell  # noqa: E402
from showtell import Captioner, FeatureError, ImageError  # noqa: E402
from showtell.bundle import read_bundle, read_manifest  # noqa: E402
from showtell.export.bundle import load_best, open_run  # noqa: E402
from showtell.region_files import read_regions  # noqa: E402
from showtell.training.dataset import pictures  # noqa: E402
from showtell.training.group import Group  # noqa: E402
from showtell.training.lessons import read_examples  # noqa: E402
from showtell.training.prepare import fill_store  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from showtell.training.validation import validate  # noqa: E402
from tiny_training import flags  # noqa: E402

COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square", "star")
SIZE, MOST = 7, 4
SPLITS = {"train": 54, "val": 9, "test": 9}
SETTINGS = flags(
    [
        *("decoder.embedding=16", "decoder.hidden=32", "decoder.attention=16", "decoder.dropout=0.0"),
        *("vocabulary.min_count=1", "training.workers=0", "training.batch=9", "training.learning_rate=2e-2"),
        *("training.patience=0", "training.epochs=14", "decoding.beam_width=2"),
    ]
)


def boxes(colour, shape, count, random):
    """Regions (n, SIZE): one shows the thing in its first numbers, the others show nothing but noise."""
    regions = 0.1 * random.normal(size=(count, SIZE)).astype(np.float32)
    regions[random.integers(count)] += [
        *(float(colour == other) for other in COLOURS),
        *(float(shape == other) for other in SHAPES),
        1.0,
    ]
    return regions


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A table of captions without a single picture, and files of one to four regions for each."""
    folder = tmp_path_factory.mktemp("things")
    random = np.random.default_rng(0)
    lines = ["image,caption,split"]
    (folder / "boxes").mkdir()
    (folder / "data").mkdir()
    for split, count in SPLITS.items():
        for i in range(count):
            colour, shape = COLOURS[i % 3], SHAPES[i // 3 % 3]
            regions = boxes(colour, shape, 1 + i % MOST, random)
            np.savez(folder / "boxes" / f"{split}{i}.npz", x=regions, bbox=random.random((len(regions), 4)))
            lines.append(f"{split}{i}.jpg,a {colour} {shape},{split}")
    (folder / "data" / "captions.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def way(things):
    """Each command once: what it said, by name."""
    data, regions, run = things / "data", things / "boxes", things / "run"
    return {
        "features": showtell("features", "--recipe", "up-down", "--data", data, "--regions", regions),
        "train": showtell(
            *("train", "--recipe", "up-down", "--data", data, "--regions", regions, "--out", run), *SETTINGS
        ),
        "resume": showtell("train", "--resume", "--data", data, "--out", run, "--set", "training.epochs=16"),
        "evaluate": showtell(
            *("evaluate", run, "--data", data, "--json", "--out", things / "told.jsonl", "--threads", 1)
        ),
        "export": showtell("export", run, "--out", things / "bundle"),
    }


def test_every_command_of_the_way_succeeds(way):
    for name, result in way.items():
        assert result.code == 0, (name, result.err)
        assert "Traceback" not in result.out + result.err
    assert way["features"].out.startswith("72 pictures in ")
    assert "captions equal on 100.0% of 9 validation pictures" in way["export"].err


def test_the_recipe_knows_the_sizes_of_the_files_and_the_run_their_folder(way, things):
    run = open_run(things / "run")
    assert (run.recipe.encoder.name, run.recipe.encoder.regions, run.recipe.encoder.region_size) == (
        "files",
        MOST,
        SIZE,
    )
    assert run.source.regions == str(things / "boxes")
    assert not (things / "run" / "encoder.safetensors").exists()


def test_things_that_training_never_saw_are_told(way):
    told = json.loads(way["evaluate"].out)
    assert told["pictures"] == 9
    assert told["scores"]["BLEU-1"] > 90


def test_the_bundle_has_no_encoder_and_says_so(way, things):
    manifest, files = read_manifest(things / "bundle")
    assert manifest.images is None
    assert json.loads((things / "bundle" / "manifest.json").read_text())["images"] is None
    assert (manifest.regions.count, manifest.regions.size, manifest.regions.grid) == (MOST, SIZE, None)
    assert "encoder.onnx" not in files
    assert set(read_bundle(things / "bundle").graphs) == {"start.onnx", "step.onnx"}
    card = (things / "bundle" / "card.md").read_text()
    assert "takes no pictures but files of up to 4 regions of 7 numbers" in card
    assert "--data DIR --regions DIR --out RUN1" in card
    info = showtell("info", "--model", things / "bundle", "--json")
    assert json.loads(info.out)["model"]["takes"] == "files of up to 4 regions of 7 numbers"


def test_the_bundle_says_what_validation_in_torch_says(way, things):
    run = open_run(things / "run")
    model, _, _ = load_best(run)
    request = Request(data=things / "data", regions=things / "boxes")
    examples = [example for example in read_examples(request) if example.split == "test"]
    filled = fill_store(request, run.encoder, examples, run.recipe)
    chosen, _ = pictures(examples, filled.rows, run.vocabulary, 20)
    expected = validate(
        model, filled.store, chosen, run.vocabulary, run.recipe.decoding, Group(torch.device("cpu")), batch=4
    )
    captioner = Captioner.load(things / "bundle", threads=1)
    told = [caption.text for caption in captioner.stream((e.image for e in examples), batch=2)]
    assert told == [expected.captions[example.id] for example in examples]
    assert len(set(told)) >= 6


def test_caption_tells_files_and_folders_of_regions(way, things):
    boxes = things / "boxes"
    files = [str(boxes / f"test{i}.npz") for i in range(3)]
    one = showtell("caption", "--model", things / "bundle", *files)
    assert one.code == 0
    assert one.out.splitlines()[0].split("\t")[0] == files[0]
    whole = showtell("caption", "--model", things / "bundle", boxes, "--format", "jsonl")
    told = {row["path"]: row["caption"] for row in map(json.loads, whole.out.splitlines())}
    assert len(told) == 72
    assert [told[file] for file in files] == [line.split("\t")[1] for line in one.out.splitlines()]


def test_attention_is_given_for_each_region_and_there_is_no_grid_to_draw(way, things, tmp_path):
    captioner = Captioner.load(things / "bundle", threads=1)
    caption = captioner.caption(things / "boxes" / "test1.npz", attention=True)  # of two regions
    assert caption.attention.shape == (len(caption.tokens), MOST)
    np.testing.assert_allclose(caption.attention.sum(1), 1, atol=1e-5)
    assert not caption.attention[:, 2:].any()
    drawn = showtell("caption", "--model", things / "bundle", things / "boxes", "--attention", tmp_path / "a.png")
    assert drawn.code == 2
    assert "takes regions from files, which form no grid to draw" in drawn.err


def test_a_photo_costs_one_clear_line_and_the_rest_is_told(way, things, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.jpg")
    np.savez(tmp_path / "wide.npz", x=np.zeros((2, 9), np.float32))
    good = things / "boxes" / "test0.npz"
    result = showtell("caption", "--model", things / "bundle", tmp_path / "photo.jpg", tmp_path / "wide.npz", good)
    assert result.code == 1
    assert len(result.out.splitlines()) == 1
    photo, wide = result.err.splitlines()
    assert photo == (
        f"showtell: {tmp_path / 'photo.jpg'}: no region file: found a JPEG, the model takes regions from .npz or "
        ".safetensors"
    )
    assert "wide.npz: holds 2 x 9 numbers, expected regions of 7" in wide
    (tmp_path / "empty").mkdir()
    empty = showtell("caption", "--model", things / "bundle", tmp_path / "empty")
    assert "empty: holds no file of regions (.npz, .safetensors)" in empty.err


def test_python_takes_arrays_and_encode_gives_regions_back(way, things):
    captioner = Captioner.load(things / "bundle", threads=1)
    path = things / "boxes" / "test2.npz"
    with np.load(path) as file:
        regions = file["x"]
    assert captioner.caption(regions).text == captioner.caption(path).text
    read = captioner.read(path)
    np.testing.assert_array_equal(read, read_regions(path, MOST, SIZE))
    assert captioner.decode(captioner.encode(read[None]))[0][0].text == captioner.caption(path).text
    with pytest.raises(ImageError, match="no region file"):
        captioner.caption(b"text")
    with pytest.raises(FeatureError, match="4 at most"):
        captioner.caption(np.zeros((5, SIZE), np.float32))


# What is left out, refused, or somewhere else


@pytest.fixture
def changed(things, tmp_path):
    """A copy of data and region files that a test may change, and a run there with further arguments."""
    shutil.copytree(things / "data", tmp_path / "data")
    shutil.copytree(things / "boxes", tmp_path / "boxes")

    def train(*arguments, recipe="up-down"):
        return showtell(
            *("train", "--recipe", recipe, "--data", tmp_path / "data", "--regions", tmp_path / "boxes"),
            *("--out", tmp_path / "run", *SETTINGS, "--set", "training.epochs=1", *arguments),
        )

    return tmp_path / "boxes", train


def test_a_missing_or_damaged_file_is_named_and_left_out(changed):
    boxes, train = changed
    (boxes / "train0.npz").unlink()
    (boxes / "train1.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(boxes / "train2.npz", x=np.zeros((0, SIZE), np.float32))
    result = train()
    assert result.code == 0, result.err
    left_out = [line for line in result.err.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 3
    assert "train0.npz: No such file" in left_out[0]
    assert "train1.npz: the file of regions is truncated or damaged" in result.err
    assert "train2.npz: holds no region" in result.err
    assert "51 training pictures" in result.out


@pytest.mark.parametrize(
    ("array", "settings", "text"),
    [
        (np.zeros((2, 8), np.float32), [], "holds regions of 8 numbers, but "),
        (np.full((2, SIZE), np.nan, np.float32), [], "train5.npz: holds a value that is not finite"),
        (
            np.full((2, SIZE), np.nan, np.float32),
            ["training.workers=1"],
            "train5.npz: holds a value that is not finite",
        ),
        (np.zeros((MOST, SIZE), np.float32), ["encoder.regions=3"], "holds 4 regions, the model takes 3 at most"),
        (None, ["encoder.region_size=9"], "numbers, expected regions of 9"),
        (None, ["encoder.train=true"], "encoder.train is true, but regions from files"),
        (None, ["training.flip=true"], "training.flip is true, but regions from files"),
        (None, ["encoder.output=flat"], "encoder.output is 'flat'"),
    ],
)
def test_regions_that_do_not_fit_are_one_error_before_the_first_batch(changed, array, settings, text):
    boxes, train = changed
    if array is not None:
        np.savez(boxes / "train5.npz", x=array)
    result = train(*flags(settings))
    assert result.code == 1
    assert text in result.err
    assert len(result.err.splitlines()) == 1
    assert "epoch" not in result.out


def test_files_of_one_region_serve_recipes_of_one_vector_only(changed):
    boxes, train = changed
    for path in boxes.iterdir():
        with np.load(path) as file:
            regions = file["x"]
        np.savez(path, features=regions.max(0))
    refused = train()
    assert refused.code == 1
    assert "encoder.output is 'grid', but the files hold one region each" in refused.err
    small = flags(["decoder.layers=1", "decoding.max_words=5"])
    kept = [s for s in SETTINGS if "attention" not in s]
    result = showtell(
        *("train", "--recipe", "init-inject", "--data", boxes.parent / "data", "--regions", boxes),
        *(
            "--out",
            boxes.parent / "run",
            *[s for i, s in enumerate(kept) if s != "--set" or kept[i + 1 :][:1] != ["--set"]],
        ),
        *small,
    )
    assert result.code == 0, result.err


def test_a_recipe_of_files_needs_their_folder_and_one_of_pictures_no_sizes(things, tmp_path):
    base = ("train", "--recipe", "up-down", "--data", things / "data", "--out", tmp_path / "run")
    result = showtell(*base, "--set", "encoder.name=files")
    assert result.code == 1
    assert "name the folder of region files with --regions DIR" in result.err
    weights = showtell(*base, "--regions", things / "boxes", "--encoder-weights", "w.safetensors")
    assert "which --regions DIR replaces" in weights.err
    assert showtell(*base, "--regions", things / "nowhere").code == 1


def test_evaluate_knows_whether_the_model_takes_regions(way, things, tiny_bundle):
    data = ("--data", things / "data")
    missing = showtell("evaluate", things / "bundle", *data)
    assert missing.code == 2
    assert "takes regions from files; name their folder with --regions DIR" in missing.err
    surplus = showtell("evaluate", tiny_bundle, *data, "--regions", things / "boxes")
    assert surplus.code == 2
    assert "takes pictures; leave it out" in surplus.err
    named = showtell("evaluate", things / "bundle", *data, "--regions", things / "boxes", "--json", "--threads", 1)
    assert json.loads(named.out)["scores"] == json.loads(way["evaluate"].out)["scores"]


def test_files_that_have_moved_are_found_where_they_are_said_to_be(way, things, tmp_path, monkeypatch):
    for name in ("start", "step"):  # the same graphs, without the seconds that torch takes for them
        model = onnx.load(things / "bundle" / f"{name}.onnx")
        monkeypatch.setattr(f"showtell.export.bundle.{name}_graph", lambda *_, model=model: model)
    shutil.copytree(things / "run", tmp_path / "run")
    source = json.loads((tmp_path / "run" / "data.json").read_text())
    source["source"]["regions"] = str(tmp_path / "gone")
    (tmp_path / "run" / "data.json").write_text(json.dumps(source))
    moved = showtell("export", tmp_path / "run", "--out", tmp_path / "b", "--regions", things / "boxes")
    assert "of 9 validation pictures" in moved.err
    noise = showtell("export", tmp_path / "run", "--out", tmp_path / "c")
    assert noise.code == 0, noise.err
    assert "captions equal on 100.0% of 64 pictures of generated noise" in noise.err
    resumed = showtell("train", "--resume", "--data", things / "data", "--out", tmp_path / "run")
    assert "gone: no such folder of region files" in resumed.err
