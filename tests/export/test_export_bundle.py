"""Run -> bundle: what is written, what is refused, and when it is made again."""

import copy
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
onnx = pytest.importorskip("onnx", reason="needs the training extra")

from onnx import numpy_helper  # noqa: E402

from showtell import Captioner  # noqa: E402
from showtell.bundle import read_bundle, read_manifest  # noqa: E402
from showtell.data.shapes import make_shapes  # noqa: E402
from showtell.errors import BundleError, CheckpointError, DataError, ExportError  # noqa: E402
from showtell.export import bundle as module  # noqa: E402
from showtell.export.bundle import Labels, bundle_of_run, export_bundle  # noqa: E402
from showtell.runtime import OnnxDecoder  # noqa: E402
from showtell.training.checkpoint import best_checkpoint, read_state  # noqa: E402
from showtell.training.validation import validate  # noqa: E402
from tiny_training import LEARNING, PIXELS, tiny_trainer  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with its data set beside it, the trainer with its last weights, and the graphs that an export made."""
    folder = tmp_path_factory.mktemp("exported")
    make_shapes(folder / "shapes", train=48, val=6, test=6, size=32, seed=0)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(folder / "cache"))
        trainer, _ = tiny_trainer(folder / "shapes", folder / "run", *LEARNING, base=PIXELS)
        assert trainer.train()
        made = {}
        for name in ("encoder_graph", "start_graph", "step_graph"):
            patch.setattr(module, name, _keeping(made, name, getattr(module, name)))
        said = []
        check = export_bundle(folder / "run", folder / "bundle", say=said.append)
    return folder, trainer, made, check, said


def _keeping(made, name, real):
    def make(*arguments):
        made[name] = real(*arguments)
        return made[name]

    return make


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy of the run that a test may change; the same graphs come without the seconds that torch takes for them."""
    folder, _, made, *_ = trained
    shutil.copytree(folder / "run", tmp_path / "run")
    for name, model in made.items():
        monkeypatch.setattr(module, name, lambda *_, model=model: copy.deepcopy(model))
    return tmp_path / "run"


def test_the_bundle_loads_and_says_of_photos_what_the_checkpoint_says(trained):
    folder, trainer, _, check, said = trained
    assert check.pictures == 6
    assert check.source == "validation pictures"
    assert check.equal == 1
    assert check.largest_difference < 1e-3
    assert len(said) == 1
    assert said[0].startswith("float32 graphs: largest difference of a log-probability ")
    model, _, checkpoint = module.load_best(module.open_run(folder / "run"))
    expected = validate(
        model,
        trainer.store,
        trainer.splits.val,
        trainer.run.vocabulary,
        trainer.recipe.decoding,
        trainer.group,
    )
    captioner = Captioner.load(folder / "bundle", threads=1)
    pictures = [picture.example for picture in trainer.splits.val]
    told = [caption.text for caption in captioner.stream(example.image for example in pictures)]
    assert len(set(told)) >= 2  # else a bundle that never looks at its picture would do
    assert told == [expected.captions[example.id] for example in pictures]
    manifest, _ = read_manifest(folder / "bundle")
    entry = read_state(checkpoint)[0].history[int(checkpoint.name[:5]) - 1]
    assert manifest.scores == {k: round(entry[k], 4) for k in ("val loss", "val CIDEr", "val BLEU-4")}
    assert manifest.recipe == trainer.recipe.to_dict()
    assert manifest.images == trainer.run.encoder.images
    assert manifest.decoding == trainer.recipe.decoding
    assert read_bundle(folder / "bundle").vocabulary == trainer.run.vocabulary


def test_the_card_tells_data_command_scores_and_the_check(trained):
    folder, trainer, *_ = trained
    card = (folder / "bundle" / "card.md").read_text()
    manifest, files = read_manifest(folder / "bundle")
    assert {"encoder.onnx", "start.onnx", "step.onnx", "vocabulary.json", "card.md"} <= set(files)
    for expected in (
        "train 48",
        "val 6",
        f"{len(trainer.run.vocabulary)} words",
        trainer.run.fingerprint[:16],
        "showtell train --recipe tiny",
        f"| val CIDEr | {manifest.scores['val CIDEr']:g} |",
        "6 validation pictures",
        manifest.licence,
    ):
        assert expected in card
    assert str(folder) not in card  # whose computer it was made on is nobody's business
    assert all(str(folder).encode() not in (folder / "bundle" / name).read_bytes() for name in files)


def test_labels_of_the_maker_are_in_manifest_card_and_licence(run, tmp_path):
    labels = Labels(
        name="mine",
        licence="CC0",
        licence_text=b"do what you like",
        notes="\n## Notes\n\nmade of shapes\n",
        scores={"t": 1.5},
    )
    export_bundle(run, tmp_path / "out", labels=labels)
    manifest, files = read_manifest(tmp_path / "out")
    assert (manifest.name, manifest.licence, manifest.scores["t"]) == ("mine", "CC0", 1.5)
    assert (tmp_path / "out" / "LICENSE.txt").read_bytes() == b"do what you like"
    assert "LICENSE.txt" in files
    card = (tmp_path / "out" / "card.md").read_text()
    assert "made of shapes" in card
    assert "| t | 1.5 |" in card


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_compressed_bundles_are_smaller_and_their_check_is_in_the_card(run, tmp_path, weights, monkeypatch):
    monkeypatch.setattr(module, "EQUAL_SHARE", 0.0)  # of so small a run any caption may change: the check has its test
    monkeypatch.setattr(module, "CIDER_TOLERANCE", 1000.0)
    said = []
    check = export_bundle(run, tmp_path / "small", weights=weights, say=said.append)
    export_bundle(run, tmp_path / "exact")
    size = {
        name: sum(entry.bytes for file, entry in read_manifest(tmp_path / name)[1].items() if file.endswith(".onnx"))
        for name in ("small", "exact")
    }
    assert size["small"] < 0.75 * size["exact"]
    assert read_manifest(tmp_path / "small")[0].weights == weights
    captions = [
        [c.text for c in Captioner.load(tmp_path / name, threads=1).stream(e.image for e in _val(run))]
        for name in ("small", "exact")
    ]
    assert check.equal == sum(a == b for a, b in zip(*captions, strict=True)) / 6
    assert said[-1].startswith(f"{weights} weights: captions equal on {check.equal:.1%} of 6 validation pictures")
    card = (tmp_path / "small" / "card.md").read_text()
    assert f"Stored as {weights}" in card
    assert f"captions equal on {check.equal:.1%} of 6 validation pictures" in card


def _val(run):
    return module.open_run(run).source.read().of_split("val")


# What is refused


def _changed(model, name, change):
    model = copy.deepcopy(model)
    for tensor in model.graph.initializer:
        if name in tensor.name or (name == "largest" and tensor is _largest(model)):
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
            return model
    raise AssertionError(f"no {name}")


def _largest(model):
    return max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))


@pytest.mark.parametrize(
    ("graph", "tensor", "change"),
    [
        ("step_graph", "decoder.words.bias", lambda v: v + np.linspace(0, 0.01, v.size, dtype=np.float32)),
        ("start_graph", "decoder.attention.key.bias", lambda v: v + 1),
        ("encoder_graph", "mean", lambda v: v + 20),
    ],
)
def test_a_graph_that_differs_from_the_checkpoint_is_not_written(
    run, trained, tmp_path, monkeypatch, graph, tensor, change
):
    wrong = _changed(trained[2][graph], tensor, change)
    monkeypatch.setattr(module, graph, lambda *_: wrong)
    with pytest.raises(
        ExportError, match=r"the graphs differ from the checkpoint: log-probabilities by up to .*nothing was"
    ):
        export_bundle(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_other_captions_alone_are_enough_to_refuse(run, tmp_path, monkeypatch):
    real = module.generate

    def forgetful(decoder, *arguments, **options):
        found = real(decoder, *arguments, **options)
        if not isinstance(decoder, OnnxDecoder):
            return found
        return [found[0], *(found[:1] * (len(found) - 2)), [type(found[0][0])((9, 9), 0.0, 0.0, (0.0,))]]

    monkeypatch.setattr(module, "generate", forgetful)
    with pytest.raises(
        ExportError, match=r"log-probabilities by up to [\d.e-]+ \(allowed 0\.001\), [1-6] of 6 captions"
    ):
        export_bundle(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_compressed_weights_that_change_captions_are_not_written(run, tmp_path, monkeypatch):
    def ruin(model, _):
        small = copy.deepcopy(model)
        for tensor in small.graph.initializer:
            if "words.bias" in tensor.name:
                values = numpy_helper.to_array(tensor).copy()
                values[4] += 50  # it says one word all the time
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return small

    monkeypatch.setattr(module, "compress", ruin)
    with pytest.raises(
        ExportError, match=r"compressed weights change too much: captions equal on 0\.0% of 6 .*use --weights fp16"
    ):
        export_bundle(run, tmp_path / "out", weights="int8")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        export_bundle(run, tmp_path / "out")
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear"


def test_what_is_no_run_or_has_no_checkpoint_is_told(run, tmp_path):
    with pytest.raises(CheckpointError, match="not a run of `showtell train`"):
        export_bundle(tmp_path, tmp_path / "out")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint; train first"):
        export_bundle(run, tmp_path / "out")


# Where the data are


def test_a_data_set_that_has_moved_is_found_where_it_is_said_to_be(trained, run, tmp_path):
    shutil.copytree(trained[0] / "shapes", tmp_path / "moved")
    check = export_bundle(run, tmp_path / "out", data=tmp_path / "moved")
    assert check.source == "validation pictures"
    with pytest.raises(DataError):
        export_bundle(run, tmp_path / "other", data=tmp_path / "nowhere")
    make_shapes(tmp_path / "foreign", train=3, val=0, test=0, size=32)
    with pytest.raises(
        ExportError, match=r"foreign: none of the run's 6 validation pictures is there; expected its data"
    ):
        export_bundle(run, tmp_path / "other", data=tmp_path / "foreign")
    assert not (tmp_path / "other").exists()


def test_where_the_pictures_are_gone_noise_is_used_and_the_card_says_so(run, tmp_path, trained):
    shapes = trained[0] / "shapes"
    shapes.rename(tmp_path / "hidden")
    try:
        check = export_bundle(run, tmp_path / "out")
    finally:
        (tmp_path / "hidden").rename(shapes)
    assert (check.pictures, check.source) == (64, "pictures of generated noise")
    assert "64 pictures of generated noise" in (tmp_path / "out" / "card.md").read_text()


def test_validation_pictures_that_cannot_be_read_are_left_out_of_the_check(trained, run, tmp_path):
    shutil.copytree(trained[0] / "shapes", tmp_path / "moved")
    (tmp_path / "moved" / "images" / "val-00002.png").write_bytes(b"")
    (tmp_path / "moved" / "images" / "val-00003.png").unlink()
    assert export_bundle(run, tmp_path / "out", data=tmp_path / "moved").pictures == 4


# The bundle of a run


def test_the_bundle_of_a_run_is_made_once_and_again_when_the_best_changes(run, monkeypatch):
    made = []
    real = module.export_bundle
    monkeypatch.setattr(module, "export_bundle", lambda *a, **k: made.append(a) or real(*a, **k))
    folder = bundle_of_run(run)
    assert folder == run / "bundle"
    assert read_manifest(folder)[0].name == "tiny"
    assert bundle_of_run(run) == folder
    assert len(made) == 1
    best = best_checkpoint(run)
    state = best / "state.json"
    other = best.with_name("00099-00000")
    shutil.copytree(best, other)
    (other / "state.json").write_text(state.read_text().replace(best.name, other.name))
    bundle_of_run(run)
    assert len(made) == 2
    shutil.rmtree(folder)
    bundle_of_run(run)
    assert len(made) == 3
    assert Captioner.load(run, threads=1).images == Captioner.load(folder, threads=1).images
    assert len(made) == 3
