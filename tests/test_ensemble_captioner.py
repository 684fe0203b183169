"""Several bundles as one captioner, on tiny bundles whose probabilities are known by hand (see tiny_bundle.py)."""

import math
from io import BytesIO

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import showtell
import tiny_bundle as tiny
from showtell import BundleError, Captioner, ImageError
from showtell.bundle import RegionGeometry, write_bundle
from showtell.decoding.options import DecodeOptions
from showtell.images import ImageOptions, open_picture
from showtell.names import Named
from showtell.vocabulary import Vocabulary

RED, GREEN = (255, 0, 0), (0, 255, 0)


def plain(colour, size=(40, 30)):
    return Image.new("RGB", size, colour)


def noisy(seed, size=(50, 70)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def write_variant(folder, *, colours=("red", "green", "blue"), words=None, **manifest):
    """A tiny bundle that says `colours` of pictures that are red, green and blue."""
    files = tiny.tiny_files()
    step = tiny.step_model()
    table = next(tensor for tensor in step.graph.initializer if tensor.name == "to_words")
    to_words = np.zeros_like(numpy_helper.to_array(table))
    for channel, colour in enumerate(colours):
        to_words[channel, tiny.WORDS[colour]] = 1
    table.CopyFrom(numpy_helper.from_array(to_words, "to_words"))
    files["step.onnx"] = step.SerializeToString()
    if words:
        files["vocabulary.json"] = words.to_json().encode()
    return write_bundle(folder, files=files, manifest=tiny.tiny_manifest(**manifest))


@pytest.fixture
def larger(tmp_path, monkeypatch):
    """A bundle that takes pictures of 64 pixels, whole on white, and mistakes red for green."""
    monkeypatch.setattr(tiny, "SIZE", 64)
    images = ImageOptions(size=64, interpolation="bilinear", fit="pad")
    return write_variant(tmp_path / "larger", colours=("green", "red", "blue"), images=images, name="larger")


def probability(logit, others):
    """Of one logit against as many of others."""
    return math.exp(logit) / (math.exp(logit) + sum(map(math.exp, others)))


def test_the_probability_of_each_word_is_the_mean_of_the_members(tmp_path, tiny_bundle):
    mistaken = write_variant(tmp_path / "mistaken", colours=("green", "green", "blue"))
    captioner = Captioner.load([tiny_bundle, tiny_bundle, mistaken], threads=1)
    first, second = captioner.stream([plain(RED)], num_captions=2)
    others = [0.0] * 8  # the logits of the other words
    sure, colour, unlikely = probability(10, others), probability(8, others), probability(0, [8.0, *others[:7]])
    for caption, text, p in (
        (first, "a red picture", (2 * colour + unlikely) / 3),
        (second, "a green picture", (2 * unlikely + colour) / 3),
    ):
        assert caption.text == text
        assert caption.log_probability == pytest.approx(3 * math.log(sure) + math.log(p), abs=1e-5)
        assert caption.word_log_probabilities[1] == pytest.approx(math.log(p), abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"beam_width": 5, "num_captions": 5}, {"sample": True, "temperature": 3.0}])
def test_one_bundle_alone_or_twice_tells_what_it_tells_by_itself(tiny_bundle, options):
    pictures = [noisy(seed) for seed in range(5)]
    expected = list(Captioner.load(tiny_bundle, threads=1).stream(pictures, attention=True, **options))
    for paths in ([tiny_bundle], [tiny_bundle, str(tiny_bundle)], (tiny_bundle,) * 3):
        found = list(showtell.load(paths, threads=1).stream(pictures, attention=True, batch=2, **options))
        assert found == expected
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.attention, theirs.attention)


def test_each_member_sees_pictures_prepared_in_its_own_way(tiny_bundle, larger):
    """The mean over what the encoders see of a wide picture differs between them: one squashes, one pads with white."""
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :, 0] = 255
    together, alone = showtell.load([tiny_bundle, larger], threads=1), [showtell.load(b) for b in (tiny_bundle, larger)]
    regions = together.encode(together.read(picture)[None])
    for part, member in zip(regions.parts, alone, strict=True):
        np.testing.assert_array_equal(part, member.encode(member.read(picture)[None]))
    assert regions.parts[0][0, 0].tolist() == [1, 0, 0]
    assert regions.parts[1][0, 0].tolist() == pytest.approx([1, 0.5, 0.5], abs=0.02)  # upper left: half white
    singles = [{c.text: c for c in m.stream([picture], num_captions=5, beam_width=5)} for m in alone]
    for caption in together.stream([picture], num_captions=3, beam_width=5):
        if all(caption.text in single for single in singles):
            means = [
                math.log(sum(math.exp(single[caption.text].word_log_probabilities[i]) for single in singles) / 2)
                for i in range(len(caption.word_log_probabilities))
            ]
            assert caption.log_probability == pytest.approx(sum(means), abs=1e-5)


def test_sources_of_every_kind_are_read_once_and_alike_for_all_members(tiny_bundle, larger, tmp_path, monkeypatch):
    together, alone = showtell.load([tiny_bundle, larger], threads=1), [showtell.load(b) for b in (tiny_bundle, larger)]
    buffer = BytesIO()
    noisy(1, (400, 600)).save(buffer, "JPEG")  # large, so that a JPEG would be decoded at a part of its size
    content = buffer.getvalue()
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    for source in (path, str(path), content, Named("x", content), np.asarray(noisy(1))):
        expected = np.concatenate([member.read(source).reshape(-1) for member in alone])
        np.testing.assert_array_equal(together.read(source), expected)
    decoded = noisy(1, (400, 600))
    expected = np.concatenate([member.read(decoded).reshape(-1) for member in alone])
    np.testing.assert_array_equal(together.read(decoded), expected)
    loaded = Image.open(path)
    loaded.load()  # in full: one that is opened is decoded as the first member wants it, which would not do for others
    expected = np.concatenate([member.read(loaded).reshape(-1) for member in alone])
    np.testing.assert_array_equal(together.read(open_picture(path)), expected)
    fetched = []
    monkeypatch.setattr("showtell.address.fetch", lambda address, **_: fetched.append(address) or content)
    assert together.caption("https://example.org/x.jpg").source == "https://example.org/x.jpg"
    assert fetched == ["https://example.org/x.jpg"]
    (failure,) = together.stream([tmp_path / "gone.jpg"])
    assert str(failure.error).startswith(f"{tmp_path / 'gone.jpg'}: no such file")


def test_members_that_differ_in_normalising_alone_share_their_pixels(tmp_path, tiny_bundle):
    images = ImageOptions(size=32, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    other = write_variant(tmp_path / "other", images=images)
    assert showtell.load([tiny_bundle, other], threads=1).read(noisy(1)).shape == (32, 32, 3)


def test_options_and_attention_are_the_first_ones(tmp_path, tiny_bundle, larger):
    line = write_variant(tmp_path / "line", regions=RegionGeometry(count=4, size=3, grid=(1, 4)), name="line")
    greedy = write_variant(tmp_path / "greedy", decoding=DecodeOptions(beam_width=1, max_words=2))
    for first, options, shape in (
        (tiny_bundle, DecodeOptions(beam_width=3, max_words=6), (3, 2, 2)),
        (greedy, DecodeOptions(beam_width=1, max_words=2), (2, 2, 2)),
        (line, DecodeOptions(beam_width=3, max_words=6), (3, 1, 4)),
    ):
        captioner = showtell.load([first, larger], threads=1)
        assert captioner.decoding == options
        assert captioner.caption(plain(GREEN), attention=True).attention.shape == shape
    assert showtell.load([larger, tiny_bundle], threads=1).images.size == 64


def test_encode_and_decode_apart_share_a_batch_of_an_ensemble(tiny_bundle, larger):
    captioner = showtell.load([tiny_bundle, larger], threads=1)
    pictures = [noisy(seed) for seed in range(4)]
    regions = captioner.encode(np.stack([captioner.read(picture) for picture in pictures]))
    assert len(regions) == 4
    halves = captioner.decode(regions[:1]) + captioner.decode(regions[1:], beam_width=5)
    assert [ranked[0].tokens for ranked in halves] == [c.tokens for c in captioner.stream(pictures)]


def test_pictures_that_were_not_read_for_the_ensemble_are_refused(tiny_bundle, larger):
    captioner = showtell.load([tiny_bundle, larger], threads=1)
    with pytest.raises(ImageError, match=r"expected \(B, 15360\), all that the ensemble's members want of each"):
        captioner.encode(np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(ImageError, match=r"expected uint8 \(B, 32, 32, 3\)"):
        captioner.encode(np.zeros((2, 15360), np.float32))


def test_members_that_know_other_words_are_refused(tmp_path, tiny_bundle):
    words = Vocabulary((*tiny.VOCABULARY.words[:-1], "photo"))
    other = write_variant(tmp_path / "other", words=words)
    expected = (
        f"{other}: knows 9 words by tokenizer 'words', word 8 is 'photo' and not 'picture'; expected the 9 by 'words' "
        f"of {tiny_bundle}: train the members of an ensemble on the same captions with the same [vocabulary]"
    )
    with pytest.raises(BundleError) as caught:
        showtell.load([tiny_bundle, tiny_bundle, other])
    assert str(caught.value) == expected
    keras = write_variant(tmp_path / "keras", words=Vocabulary(tiny.VOCABULARY.words, "keras"))
    with pytest.raises(BundleError, match=r"keras: knows 9 words by tokenizer 'keras'; expected the 9 by 'words' of"):
        showtell.load([tiny_bundle, keras])


def test_members_that_take_pictures_and_regions_from_files_are_refused(tmp_path, tiny_bundle):
    files = {name: content for name, content in tiny.tiny_files().items() if name != "encoder.onnx"}
    for name in ("start.onnx", "step.onnx"):
        model = onnx.load_from_string(files[name])
        for value in (*model.graph.input, *model.graph.output):
            for size in value.type.tensor_type.shape.dim:
                if size.dim_value == 4:
                    size.dim_value = 1
        files[name] = model.SerializeToString()
    manifest = tiny.tiny_manifest(images=None, regions=RegionGeometry(count=1, size=3))
    boxes = write_bundle(tmp_path / "boxes", files=files, manifest=manifest)
    with pytest.raises(BundleError, match=r"boxes: takes regions from files, expected pictures as .* does"):
        showtell.load([tiny_bundle, boxes])
    regions = np.array([[0.9, 0.1, 0.0]], np.float32)
    captions = [showtell.load(paths, threads=1).caption(regions) for paths in (boxes, [boxes, boxes])]
    assert captions[0] == captions[1]
    assert captions[0].text == "a red picture"


def test_an_empty_list_of_models_is_refused():
    with pytest.raises(BundleError, match="no model is named, expected one or more"):
        showtell.load([])
