"""Photos to captions with the tiny bundle, whose words and probabilities are known by hand (see tiny_bundle.py)."""

import dataclasses
import math
import shutil
import sys
import threading
import types
from io import BytesIO

import numpy as np
import pytest
from onnx import numpy_helper
from PIL import Image

import showtell
from showtell import BundleError, Caption, Captioner, DecodeOptions, Failure, ImageError, MissingExtraError, RecipeError
from showtell.bundle import RegionGeometry, write_bundle
from showtell.captioner import picture_key
from showtell.images import ImageOptions, read_pixels
from showtell.names import Named
from showtell.vocabulary import END, START
from test_bundle import put
from tiny_bundle import build_tiny_bundle, step_model, tiny_files, tiny_manifest

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def plain(colour: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[colour])


def png(colour: str) -> bytes:
    buffer = BytesIO()
    plain(colour).save(buffer, "PNG")
    return buffer.getvalue()


def log_softmax(logit: float, others: int = 8) -> float:
    """Of one logit against as many zeros."""
    return logit - math.log(math.exp(logit) + others)


@pytest.fixture
def folder(tmp_path):
    for number, colour in enumerate(["red", "green", "blue"] * 3):
        (tmp_path / f"{number}.png").write_bytes(png(colour))
    return tmp_path


def test_a_caption_has_the_words_and_probabilities_worked_out_by_hand(captioner):
    caption = captioner.caption(plain("red"), length_penalty=0.9)
    assert caption.text == "a red picture"
    assert caption.tokens == ("a", "red", "picture")
    expected = 3 * log_softmax(10) + log_softmax(8)  # a, picture, <end>; red
    assert caption.log_probability == pytest.approx(expected, abs=1e-5)
    assert caption.score == pytest.approx(expected / 3**0.9, abs=1e-5)
    assert caption.attention is None


@pytest.mark.parametrize("colour", COLOURS)
def test_every_kind_of_source_gives_the_same_caption(captioner, tmp_path, colour):
    path = tmp_path / "x.png"
    path.write_bytes(png(colour))
    sources = [path, str(path), png(colour), Named("-", png(colour)), plain(colour), np.asarray(plain(colour))]
    captions = [captioner.caption(source) for source in sources]
    assert {caption.text for caption in captions} == {f"a {colour} picture"}
    assert [caption.source for caption in captions[:4]] == [str(path), str(path), f"<{len(png(colour))} bytes>", "-"]


def test_a_source_that_is_no_picture_raises(captioner):
    with pytest.raises(ImageError, match="no such file"):
        captioner.caption("nowhere.jpg")


def test_attention_shows_the_bright_place_for_each_word(captioner):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16, 16:] = 255  # upper right
    caption = captioner.caption(pixels, attention=True)
    high, low = math.exp(4) / (math.exp(4) + 3), 1 / (math.exp(4) + 3)
    assert caption.attention.shape == (len(caption.tokens), 2, 2)
    for weights in caption.attention:
        np.testing.assert_allclose(weights, [[low, high], [low, low]], atol=1e-6)


def test_a_caption_without_words_has_attention_of_no_words(tmp_path):
    # Told to be silent: <end> may come at once, and does where every word is less likely than it.
    files = tiny_files()
    silent = step_model()
    table = next(tensor for tensor in silent.graph.initializer if tensor.name == "table")
    values = numpy_helper.to_array(table).copy()
    values[START] = 0
    values[START, END] = 10
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    files["step.onnx"] = silent.SerializeToString()
    manifest = tiny_manifest(decoding=DecodeOptions(beam_width=1, min_words=0))
    captioner = Captioner.load(write_bundle(tmp_path / "b", files=files, manifest=manifest), threads=1)
    caption = captioner.caption(plain("red"), attention=True)
    assert (caption.text, caption.tokens, caption.attention.shape) == ("", (), (0, 2, 2))


def test_a_model_without_a_grid_gives_no_attention(tmp_path):
    captioner = Captioner.load(build_tiny_bundle(tmp_path / "b", regions=RegionGeometry(count=4, size=3)), threads=1)
    assert captioner.caption(plain("red"), attention=True).attention is None


def test_encode_and_decode_apart_share_a_batch(captioner):
    pixels = np.stack([read_pixels(plain(colour), captioner.images) for colour in COLOURS])
    regions = captioner.encode(pixels)
    assert regions.shape == (3, 4, 3)
    np.testing.assert_allclose(regions[1], np.tile([0, 1, 0], (4, 1)), atol=1e-6)
    first = captioner.decode(regions[:1], beam_width=1)
    rest = captioner.decode(regions[1:], beam_width=4, num_captions=2)
    assert [ranked[0].text for ranked in first + rest] == [f"a {colour} picture" for colour in COLOURS]
    assert [len(ranked) for ranked in first + rest] == [1, 2, 2]
    assert first[0][0].source == ""


def test_a_batch_of_any_size_is_encoded_alike(captioner):
    pixels = np.random.default_rng(3).integers(0, 256, (11, 32, 32, 3), np.uint8)
    means = pixels.reshape(11, 2, 16, 2, 16, 3).mean((2, 4)).reshape(11, 4, 3) / 255
    for count in (0, 1, 4, 5, 11):
        np.testing.assert_allclose(captioner.encode(pixels[:count]), means[:count], atol=1e-5)


def test_pixels_of_another_shape_are_refused(captioner):
    for pixels in (np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)):
        with pytest.raises(ImageError, match=r"expected uint8 \(B, 32, 32, 3\)"):
            captioner.encode(pixels)


def test_several_captions_are_ranked_and_none_holds_an_unknown_word(captioner):
    captions = list(captioner.stream([plain("red")], num_captions=5, beam_width=5))
    assert captions[0].text == "a red picture"
    scores = [caption.score for caption in captions]
    assert scores == sorted(scores, reverse=True)
    assert len({caption.tokens for caption in captions}) == 5
    assert not {"<unk>", "<pad>", "<start>"} & {word for caption in captions for word in caption.tokens}


def test_options_come_from_the_bundle_unless_they_are_given(captioner):
    assert captioner.decoding == DecodeOptions(beam_width=3, max_words=6)
    assert captioner.caption(plain("red"), max_words=2).tokens == ("a", "red")
    assert captioner.caption(plain("red"), DecodeOptions(max_words=1)).tokens == ("a",)


def test_a_misspelt_option_is_refused_before_anything_is_read(captioner):
    with pytest.raises(RecipeError, match="unknown option 'beam'; known are beam_width"):
        captioner.stream(["nowhere.jpg"], beam=3)
    with pytest.raises(RecipeError, match="batch is 0"):
        captioner.stream(["nowhere.jpg"], batch=0)


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_a_stream_keeps_order_and_puts_failures_in_their_place(captioner, folder, batch):
    (folder / "4.png").write_bytes(b"")
    names = [str(folder / f"{number}.png") for number in range(9)]
    passed_on = Failure("elsewhere", ImageError("elsewhere: no"))
    results = list(captioner.stream([*names[:2], passed_on, *names[2:]], batch=batch))
    assert [result.source for result in results] == [*names[:2], "elsewhere", *names[2:]]
    failures = [result for result in results if isinstance(result, Failure)]
    assert failures[0] is passed_on
    assert str(failures[1].error).startswith(f"{names[4]}: is empty")
    texts = [result.text for result in results if isinstance(result, Caption)]
    colours = ["red", "green", "blue", "red", "blue", "red", "green", "blue"]
    assert texts == [f"a {colour} picture" for colour in colours]


def test_a_stream_of_failures_alone_and_an_empty_one_end(captioner):
    assert [type(result) for result in captioner.stream(["x", "y"])] == [Failure, Failure]
    assert list(captioner.stream([])) == []


def test_a_stream_gives_the_captions_of_a_picture_in_a_row(captioner):
    results = list(captioner.stream([plain("red"), b"", plain("blue")], num_captions=2))
    assert [type(result) for result in results] == [Caption, Caption, Failure, Caption, Caption]
    assert [result.text for result in results if isinstance(result, Caption)][::2] == [
        "a red picture",
        "a blue picture",
    ]


def test_a_stream_takes_no_more_than_two_batches_ahead(captioner):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield plain("green")

    stream = captioner.stream(endless(), batch=4)
    for number in range(1, 20):
        assert next(stream).text == "a green picture"
        assert taken <= number + 8
    stream.close()


def test_closing_a_stream_early_leaves_no_thread_behind(captioner, folder):
    before = set(threading.enumerate())
    stream = captioner.stream([str(folder / f"{number}.png") for number in range(9)], batch=2)
    next(stream)
    assert set(threading.enumerate()) > before
    stream.close()
    assert set(threading.enumerate()) <= before


def test_batch_mates_never_change_a_caption(captioner, folder):
    names = [str(folder / f"{number}.png") for number in range(9)]
    for options in ({"beam_width": 4}, {"sample": True, "temperature": 3.0, "seed": 7}):
        alone = [captioner.caption(name, **options) for name in names]
        for batch in (2, 9):
            together = list(captioner.stream(names, batch=batch, **options))
            assert [caption.tokens for caption in together] == [caption.tokens for caption in alone]


def test_sampling_depends_on_seed_and_picture(captioner):
    pictures = [Image.new("RGB", (32, 32), (shade, shade, shade)) for shade in range(0, 250, 10)]
    draws = [
        tuple(caption.text for caption in captioner.stream(pictures, sample=True, temperature=3.0, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) > 5  # as many pictures, as many draws


def test_a_picture_key_is_the_same_on_every_machine_and_differs_between_pictures():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    # printf '\x00\x01...\x0b' | b2sum -l 64; little end first, halved
    digest = "4e85a98c0a3de55d"
    assert picture_key(pixels) == int.from_bytes(bytes.fromhex(digest), "little") // 2
    assert picture_key(pixels) == picture_key(pixels.copy(order="F"))
    assert picture_key(pixels) != picture_key(pixels[::-1])
    assert 0 <= picture_key(pixels) < 2**63


# Loading


def test_load_is_the_same_as_captioner_load(tiny_bundle):
    assert isinstance(showtell.load(tiny_bundle, threads=1), Captioner)


def test_loading_nothing_that_is_there_is_told(tmp_path):
    with pytest.raises(BundleError, match="nowhere: no such folder, expected the folder of a bundle"):
        showtell.load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="file: a file, expected the folder"):
        showtell.load(tmp_path / "file")
    with pytest.raises(BundleError, match=r"it holds no manifest\.json"):
        showtell.load(tmp_path)


def test_an_installation_without_the_embedded_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("showtell.model_folder.EMBEDDED", tmp_path)
    with pytest.raises(BundleError, match="no embedded model in this installation; name one with --model"):
        showtell.load()


def test_the_embedded_model_is_the_default(monkeypatch, tiny_bundle):
    monkeypatch.setattr("showtell.model_folder.EMBEDDED", tiny_bundle)
    assert showtell.load(threads=1).caption(plain("blue")).text == "a blue picture"


def test_the_embedded_model_has_a_name_unless_a_folder_has_it(monkeypatch, tiny_bundle, tmp_path):
    monkeypatch.setattr("showtell.model_folder.EMBEDDED", tiny_bundle)
    monkeypatch.chdir(tmp_path)
    assert showtell.load("embedded", threads=1).caption(plain("blue")).text == "a blue picture"
    (tmp_path / "embedded").mkdir()
    with pytest.raises(BundleError, match=r"embedded: no bundle: it holds no manifest\.json"):
        showtell.load("embedded")


def test_a_run_is_exported_first_and_the_bundle_loaded(monkeypatch, tiny_bundle, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    asked = []
    export = types.ModuleType("showtell.export.bundle")
    export.bundle_of_run = lambda path: asked.append(path) or tiny_bundle
    monkeypatch.setitem(sys.modules, "showtell.export.bundle", export)
    assert showtell.load(tmp_path, threads=1).caption(plain("red")).text == "a red picture"
    assert asked == [tmp_path]


def test_a_run_without_pytorch_names_the_extra(monkeypatch, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    monkeypatch.setattr("showtell.model_folder.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"is a training run, which needs PyTorch: pip install 'showtell\[train\]'"
    ):
        showtell.load(tmp_path)


def test_a_graph_that_onnx_runtime_refuses_is_named(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "b")
    broken = step_model()
    broken.graph.node[0].op_type = "Gathre"
    put(folder, "step.onnx", broken.SerializeToString())
    with pytest.raises(BundleError, match=r"step\.onnx: ONNX Runtime refuses it") as caught:
        showtell.load(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "other", "text"),
    [
        ("encoder.onnx", "start.onnx", r"encoder\.onnx: inputs are \['regions'\], expected \['pictures'\]"),
        ("start.onnx", "encoder.onnx", r"start\.onnx: inputs are \['pictures'\]"),
        ("step.onnx", "encoder.onnx", r"step\.onnx: needs \['pictures'\], which start\.onnx does not give"),
    ],
)
def test_graphs_in_each_others_place_are_refused(tiny_bundle, tmp_path, name, other, text):
    folder = shutil.copytree(tiny_bundle, tmp_path / "b")
    put(folder, name, tiny_files()[other])
    with pytest.raises(BundleError, match=text):
        showtell.load(folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": ImageOptions(size=64)}, r"pictures has shape \['B', 32, 32, 3\], .* say \[None, 64, 64, 3\]"),
        ({"regions": RegionGeometry(count=9, size=3, grid=(3, 3))}, r"regions has shape \['B', 4, 3\]"),
    ],
)
def test_graphs_that_do_not_fit_the_manifest_are_refused(tmp_path, change, text):
    with pytest.raises(BundleError, match=text):
        showtell.load(build_tiny_bundle(tmp_path / "b", **change))


def test_a_model_of_several_regions_from_files_must_take_a_mask(tmp_path):
    folder = write_bundle(tmp_path / "b", files=tiny_files(), manifest=tiny_manifest(images=None))
    with pytest.raises(BundleError, match=r"start\.onnx: inputs are \['regions'\], expected \['mask', 'regions'\]"):
        showtell.load(folder)


def test_a_vocabulary_of_another_size_is_refused(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "b")
    words = tiny_files()["vocabulary.json"].replace(b'"picture"', b'"picture", "photo"')
    put(folder, "vocabulary.json", words)
    with pytest.raises(BundleError, match=r"step\.onnx: log_probs has shape .*'K', 9\], .* say \[None, None, 10\]"):
        showtell.load(folder)


# Other model families


class EchoBackend:
    """Tells the mean grey value of each picture: a model family without ONNX, regions or beams."""

    images, decoding = ImageOptions(size=4), DecodeOptions()

    def words(self, caption):
        return caption.split()

    def read(self, source):
        return read_pixels(source, self.images)

    def encode(self, pixels):
        return pixels.mean((1, 2, 3))

    def search(self, options, *, attention):
        return EchoSearch()


class EchoSearch:
    def __init__(self):
        self.means = {}

    def __len__(self):
        return len(self.means)

    def add(self, regions, names, picture_keys):
        self.means |= dict(zip(names, regions, strict=True))

    def step(self):
        name, mean = self.means.popitem()
        return [(name, [Caption("", f"grey {mean:.0f}", ("grey", f"{mean:.0f}"), 0.0, 0.0)])]


def test_any_backend_serves_a_captioner():
    captioner = Captioner(EchoBackend(), threads=1)
    pictures = [Image.new("L", (9, 9), value) for value in (10, 200)]
    assert [caption.text for caption in captioner.stream(pictures)] == ["grey 10", "grey 200"]


def test_captions_can_be_compared_and_changed_but_not_in_place():
    caption = Caption("a.jpg", "a dog", ("a", "dog"), -1.0, -0.5, np.zeros((2, 1, 1), np.float32))
    assert caption == dataclasses.replace(caption, attention=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        caption.text = "a cat"
