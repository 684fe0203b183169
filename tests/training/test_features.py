import json
import multiprocessing
import os
import warnings

import numpy as np
import onnxruntime
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.data.example import Example  # noqa: E402
from showtell.errors import CheckpointError, ExportError, FeatureError  # noqa: E402
from showtell.export import graphs  # noqa: E402
from showtell.export.graphs import encoder_graph  # noqa: E402
from showtell.files import lock  # noqa: E402
from showtell.images import open_picture, to_pixels  # noqa: E402
from showtell.models.build_encoder import build_encoder  # noqa: E402
from showtell.recipe import EncoderOptions  # noqa: E402
from showtell.training import features  # noqa: E402
from showtell.training.dataset import make_batch, pictures  # noqa: E402
from showtell.training.features import cache_folder, feature_store, fill, pixel_store  # noqa: E402
from showtell.training.store import RowStore  # noqa: E402
from showtell.vocabulary import Vocabulary  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_encoder(
        EncoderOptions(name="resnet10t", pretrained=False, layer="layer1", size=32, fit="squash")
    ).eval()


@pytest.fixture
def examples(tmp_path):
    """Three pictures of 32 x 32 pixels that are no mirror images of themselves."""
    made = []
    for i, (name, split) in enumerate((("a", "train"), ("b", "train"), ("c", "val"))):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        made.append(Example(id=name, image=tmp_path / f"{name}.png", captions=(f"a picture {name}",), split=split))
    return made


def _fill(store, encoder, examples, **options):
    return fill(store, encoder.images, examples, encoder=encoder, device=CPU, **{"workers": 0, **options})


def _many(folder, count, broken=()):
    """Pictures of their own each, those with the numbers `broken` no pictures."""
    made = []
    for i in range(count):
        path = folder / f"{i:02}.png"
        if i in broken:
            path.write_bytes(b"no picture %d" % i)
        else:
            pixels = np.random.default_rng(100 + i).integers(0, 256, (40, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        made.append(Example(id=str(i), image=path, captions=("x",), split="train"))
    return made


@torch.inference_mode()
def _regions(encoder, pixels):
    return encoder(torch.from_numpy(np.ascontiguousarray(pixels))[None])[0].numpy().astype(np.float16)


def test_rows_are_what_the_encoder_gives_for_each_picture(encoder, examples, tmp_path):
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, examples)
    assert filled.failures == {}
    for example in examples:
        values, mask = filled.store.read([filled.rows[example.id]])
        expected = _regions(encoder, to_pixels(open_picture(example.image), encoder.images))
        np.testing.assert_allclose(values[0], expected, rtol=1e-3, atol=1e-3)
        assert mask.all()


def test_pixels_are_those_that_the_encoder_takes(encoder, examples, tmp_path):
    store = pixel_store(encoder.images, tmp_path / "store")
    filled = fill(store, encoder.images, examples, encoder=None, device=CPU, workers=0)
    for example in examples:
        values, _ = store.read([filled.rows[example.id]])
        assert values.dtype == np.uint8
        assert np.array_equal(values[0], to_pixels(open_picture(example.image), encoder.images))


def test_several_threads_give_the_same_rows_in_the_same_order(encoder, tmp_path):
    examples = _many(tmp_path, 21, broken=(0, 9))
    alone = _fill(feature_store(encoder, tmp_path / "alone"), encoder, examples, batch=10)
    shared = _fill(feature_store(encoder, tmp_path / "shared"), encoder, examples, batch=10, workers=3)
    assert alone.rows == shared.rows
    assert alone.failures == shared.failures
    order = list(alone.rows.values())
    assert np.array_equal(alone.store.read(order)[0], shared.store.read(order)[0])


def test_what_the_store_holds_is_not_done_again(encoder, examples, tmp_path, monkeypatch):
    _fill(feature_store(encoder, tmp_path / "store"), encoder, examples[:2])
    done = []
    monkeypatch.setattr("showtell.images.to_pixels", lambda *given: done.append(given) or to_pixels(*given))
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, examples)
    assert len(done) == 1
    assert filled.rows == {"a": 0, "b": 1, "c": 2}
    _fill(feature_store(encoder, tmp_path / "store"), encoder, examples)
    assert len(done) == 1


def test_a_kill_in_the_middle_loses_the_batch_that_was_encoded_only(encoder, examples, tmp_path, monkeypatch):
    real = RowStore.append

    def killed(self, keys, values, mask=None):
        if self.rows:
            raise KeyboardInterrupt
        real(self, keys, values, mask)

    with monkeypatch.context() as patch:
        patch.setattr(RowStore, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            _fill(feature_store(encoder, tmp_path / "store"), encoder, examples, batch=1)
    store = feature_store(encoder, tmp_path / "store")
    assert len(store.rows) == 1
    whole = _fill(feature_store(encoder, tmp_path / "whole"), encoder, examples, batch=1)
    rest = _fill(store, encoder, examples, batch=1)
    assert rest.rows == whole.rows
    assert np.array_equal(rest.store.read([0, 1, 2])[0], whole.store.read([0, 1, 2])[0])


def test_one_picture_under_two_names_has_one_row_and_a_changed_one_a_new_row(encoder, examples, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(examples[0].image.read_bytes())
    both = [*examples, Example(id="copy", image=copy, captions=("x",), split="train")]
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, both)
    assert filled.rows["copy"] == filled.rows["a"]
    assert len(filled.store.rows) == 3
    Image.new("RGB", (32, 32), (9, 9, 9)).save(copy)
    again = _fill(feature_store(encoder, tmp_path / "store"), encoder, both)
    assert again.rows["copy"] == 3


def test_unreadable_pictures_are_named_with_the_reason(encoder, examples, tmp_path):
    for name in ("broken", "twin"):
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    bad = [
        Example(id=name, image=tmp_path / f"{name}.png", captions=("x",), split="train")
        for name in ("broken", "twin", "gone")
    ]
    (tmp_path / "folder.png").mkdir()
    bad.append(Example(id="folder", image=tmp_path / "folder.png", captions=("x",), split="train"))
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, [*bad, *examples])
    assert filled.rows.keys() == {"a", "b", "c"}
    assert filled.failures.keys() == {"broken", "twin", "gone", "folder"}
    assert "No such file" in filled.failures["gone"]
    for name, reason in filled.failures.items():
        assert f"{name}.png" in reason
    assert any("same content as a picture that cannot be read" in reason for reason in filled.failures.values())


# Many pictures on a processor go through the graph


@pytest.fixture(scope="module")
def graph(encoder):
    return encoder_graph(encoder)


@pytest.fixture
def through_graph(graph, monkeypatch):
    """Any number of pictures goes through the graph, which is made once. Gives a list with an entry for each making."""
    makings = []
    monkeypatch.setattr(features, "GRAPH_FROM", 1)
    monkeypatch.setattr(graphs, "encoder_graph", lambda encoder: makings.append(encoder) or graph)
    return makings


def test_many_pictures_get_the_digits_that_captioning_computes(encoder, graph, through_graph, tmp_path):
    examples = _many(tmp_path, 11, broken=(2, 8))
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, examples, batch=6)
    assert filled.failures.keys() == {"2", "8"}
    assert len(through_graph) == 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for example in examples:
        if example.id in filled.failures:
            continue
        values, _ = filled.store.read([filled.rows[example.id]])
        pixels = to_pixels(open_picture(example.image), encoder.images)
        used = session.run(["regions"], {"pictures": pixels[None]})[0]
        assert np.array_equal(values, used.astype(np.float16))
        np.testing.assert_allclose(values[0], _regions(encoder, pixels), rtol=1e-3, atol=1e-3)


def test_a_fill_that_goes_on_gives_the_digits_of_one_without_a_break(encoder, through_graph, tmp_path, monkeypatch):
    examples = _many(tmp_path, 10)
    whole = _fill(feature_store(encoder, tmp_path / "whole"), encoder, examples, batch=5)
    store = feature_store(encoder, tmp_path / "parts")
    real = RowStore.append

    def killed(self, keys, values, mask=None):
        if self.rows:
            raise KeyboardInterrupt
        real(self, keys, values, mask)

    with monkeypatch.context() as patch:
        patch.setattr(RowStore, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            _fill(store, encoder, examples, batch=3)
    assert len(store.rows) == 3
    monkeypatch.setattr(features, "GRAPH_FROM", 10)  # seven are missing, ten are wanted
    rest = _fill(store, encoder, examples, batch=5)
    order = range(10)
    assert rest.rows == whole.rows
    assert np.array_equal(rest.store.read(order)[0], whole.store.read(order)[0])


def test_the_graph_is_made_for_many_pictures_that_can_be_read(encoder, through_graph, tmp_path, monkeypatch):
    examples = _many(tmp_path, 4, broken=(1, 3))
    monkeypatch.setattr(features, "GRAPH_FROM", 5)
    _fill(feature_store(encoder, tmp_path / "few"), encoder, examples)
    assert through_graph == []
    monkeypatch.setattr(features, "GRAPH_FROM", 4)
    monkeypatch.setattr(features, "GRAPH_BYTES", 100)
    _fill(feature_store(encoder, tmp_path / "large"), encoder, examples)
    assert through_graph == []
    monkeypatch.undo()
    monkeypatch.setattr(features, "GRAPH_FROM", 4)
    monkeypatch.setattr(graphs, "encoder_graph", lambda _: pytest.fail("made for damaged pictures alone"))
    again = _fill(feature_store(encoder, tmp_path / "few"), encoder, examples)
    assert again.failures.keys() == {"1", "3"}


def test_an_encoder_without_a_graph_is_computed_by_torch(encoder, tmp_path, monkeypatch):
    def refuse(_):
        raise ExportError("encoder graph: torch cannot export it")

    monkeypatch.setattr(features, "GRAPH_FROM", 1)
    monkeypatch.setattr(graphs, "encoder_graph", refuse)
    examples = _many(tmp_path, 3)
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, examples)
    values, _ = filled.store.read([filled.rows["2"]])
    expected = _regions(encoder, to_pixels(open_picture(examples[2].image), encoder.images))
    np.testing.assert_allclose(values[0], expected, rtol=1e-3, atol=1e-3)


# Mirror images


def test_a_mirrored_row_is_that_of_the_mirrored_picture(encoder, examples, tmp_path):
    filled = _fill(feature_store(encoder, tmp_path / "store"), encoder, examples, flip=True)
    assert filled.flipped.keys() == {"a", "b"}  # training pictures only
    for example in examples[:2]:
        turned = tmp_path / "turned.png"
        Image.open(example.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(turned)
        values, _ = filled.store.read([filled.flipped[example.id]])
        expected = _regions(encoder, to_pixels(open_picture(turned), encoder.images))
        np.testing.assert_allclose(values[0], expected, rtol=1e-3, atol=1e-3)
        straight, _ = filled.store.read([filled.rows[example.id]])
        assert not np.allclose(values, straight, atol=1e-2)


def test_pictures_whose_captions_tell_left_from_right_are_never_mirrored():
    captions = {
        "plain": ("a dog runs", "a brown dog"),
        "left": ("a dog runs", "a dog on the LEFT of a man"),
        "right": ("a right-handed player",),
        "bright": ("a bright light", "people play upright"),
    }
    examples = [Example(id=k, image=None, captions=v, split="train") for k, v in captions.items()]
    vocabulary = Vocabulary.build(c for of_picture in captions.values() for c in of_picture)
    rows = {name: i for i, name in enumerate(captions)}
    kept, _ = pictures(examples, rows, vocabulary, 20, {name: 10 + i for name, i in rows.items()})
    assert [p.flipped_row for p in kept] == [10, None, None, 13]
    shown = [make_batch(kept, random=np.random.default_rng(i)).rows for i in range(40)]
    assert {row[0] for row in shown} == {0, 10}
    assert {row[1] for row in shown} == {1}
    assert {row[2] for row in shown} == {2}
    assert {row[3] for row in shown} == {3, 13}
    assert 8 <= sum(row[0] == 10 for row in shown) <= 32  # about half
    assert make_batch(kept).rows == [0, 1, 2, 3]  # validation shows pictures as they are


# Which store


def test_stores_lie_in_the_folder_of_the_environment_by_their_identity(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOWTELL_CACHE", str(tmp_path / "here"))
    assert feature_store(encoder).folder.parent == tmp_path / "here" / "features"
    assert pixel_store(encoder.images).folder.parent == tmp_path / "here" / "pixels"
    assert feature_store(encoder).folder == feature_store(encoder).folder
    torch.manual_seed(1)
    other = build_encoder(encoder.options)
    assert feature_store(other).folder != feature_store(encoder).folder
    monkeypatch.delenv("SHOWTELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "showtell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "showtell"


def test_a_store_of_another_encoder_is_refused(encoder, examples, tmp_path):
    _fill(feature_store(encoder, tmp_path / "store"), encoder, examples)
    torch.manual_seed(1)
    other = build_encoder(encoder.options)
    with pytest.raises(FeatureError, match=r"holds features of another encoder \(differs in weights\)"):
        feature_store(other, tmp_path / "store")
    with pytest.raises(FeatureError, match="holds features of another encoder"):
        pixel_store(encoder.images, tmp_path / "store")


# Several processes


def test_looking_at_a_store_does_not_cut_the_line_that_another_is_writing(tmp_path):
    def store():
        return RowStore(tmp_path, {}, (1, 2), "float16")

    with store() as writer:
        writer.append(["a"], np.ones((1, 1, 2), np.float32))
        index = tmp_path / "index.jsonl"
        half = index.read_text() + '{"key": "b", "ro'
        index.write_text(half)
        assert store().rows == {"a": 0}
        assert index.read_text() == half
    with store() as writer:  # nobody else writes: what is there was left by a kill
        writer.append(["c"], np.full((1, 1, 2), 3, np.float32))
    assert [json.loads(line) for line in index.read_text().splitlines()] == [
        {"key": "a", "row": 0},
        {"key": "c", "row": 1},
    ]


def test_rows_that_another_process_added_meanwhile_are_kept(tmp_path):
    first = RowStore(tmp_path, {}, (1, 2), "float16")
    second = RowStore(tmp_path, {}, (1, 2), "float16")
    with first:
        first.append(["a"], np.full((1, 1, 2), 1, np.float32))
    with second:
        second.append(["b"], np.full((1, 1, 2), 2, np.float32))
    assert second.rows == {"a": 0, "b": 1}
    assert second.read([0, 1])[0][:, 0, 0].tolist() == [1, 2]


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs fork")
def test_worker_processes_do_not_hold_the_lock_of_a_parent_that_has_gone(tmp_path):
    held = lock(tmp_path / "lock", "held")
    with pytest.raises(CheckpointError, match="held; wait for it or stop it"):
        lock(tmp_path / "lock", "held")
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()

    def work():
        ready.set()
        end.wait()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside torch's threads, which is the point
        child = context.Process(target=work, daemon=True)
        child.start()
    try:
        assert ready.wait(60)
        held.close()  # as the end of a process does
        lock(tmp_path / "lock", "held").close()
        assert child.is_alive()
    finally:
        end.set()
        child.join()
