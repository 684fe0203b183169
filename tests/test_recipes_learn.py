"""Every recipe that ships, the whole way on generated shapes: it learns, its bundle says what it says, it resumes.

All recipes learn from the features of one small encoder that has learnt shapes already, the one that the notebooks in
`examples/` use (`examples/shapes-encoder.md` says how it was made), as they would from those of a large network. Those
that see a picture as one vector get pictures of one object. The settings change sizes, steps and rates, and let words
repeat ("a small ... below a small ..."); what a recipe is stays.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("onnx", reason="needs the training extra")

from showtell.captioner import Captioner  # noqa: E402
from showtell.data.readers import read_dataset  # noqa: E402
from showtell.data.shapes import make_shapes  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.export.bundle import export_bundle  # noqa: E402
from showtell.images import open_picture, to_pixels  # noqa: E402
from showtell.recipe_reader import read_recipe, recipe_names  # noqa: E402
from showtell.tokenizers import TOKENIZERS, join_words  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.prepare import Request, prepare  # noqa: E402
from showtell.training.run import load_best, open_run  # noqa: E402
from showtell.training.validation import TorchDecoder  # noqa: E402

ENCODER = Path(__file__).parents[1] / "examples" / "shapes-encoder.safetensors"
COMMON = (
    "encoder.name=resnet10t",
    "encoder.arguments={}",
    "training.workers=0",
    "training.amp=off",  # bf16, where a processor has it, only slows networks so small, and rounds otherwise
    "decoding.no_repeat_ngram=0",
)
ATTEND = ("decoder.projection=96", "decoder.embedding=64", "decoder.hidden=128", "decoder.attention=64")
FASTER = ("training.schedule=cosine", "training.learning_rate=2e-3")
# Sizes, steps and rates with which each recipe learns shapes in about twenty seconds of one core.
SETTINGS = {
    "show-attend-tell": (*ATTEND, *FASTER, "training.epochs=5"),
    "show-attend-tell-r": (*ATTEND, *FASTER, "training.epochs=3", "training.batch=32"),
    "init-inject": ("decoder.hidden=128", "training.schedule=cosine", "training.epochs=4", "training.batch=32"),
    "merge": ("decoder.hidden=128", "training.epochs=4"),
    # Its LSTM must keep the picture from its first step to the last word. For many steps it tells words without
    # looking, the longer the higher the rate: it needs more steps, not larger ones.
    "show-and-tell": ("training.epochs=14", "training.batch=32"),
    "up-down": (
        "decoder.embedding=64",
        "decoder.hidden=128",
        "decoder.attention=64",
        "training.epochs=3",
        "training.learning_rate=2e-3",
    ),
    "sequence-attend": (*ATTEND, "training.epochs=3", "training.learning_rate=2e-3"),
    "topic": (*ATTEND, "decoder.topics=6", "training.epochs=3", "training.learning_rate=2e-3"),
    "transformer": (
        "decoder.hidden=128",
        "decoder.feed_forward=256",
        "training.epochs=2",
        "training.learning_rate=1e-3",
        "training.warmup_epochs=0.3",
    ),
    "pocket": (*ATTEND, "training.epochs=4", "training.learning_rate=2e-3"),
}


@pytest.fixture(scope="module", autouse=True)
def _alone(tmp_path_factory):
    """A cache of its own, and one thread: a second gains little on networks so small, and nothing on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


def is_pooled(name):
    return read_recipe(name).encoder.output == "pooled"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Pictures of one object or two, and by True pictures of one."""
    folders = {pooled: tmp_path_factory.mktemp("data") / "shapes" for pooled in (False, True)}
    make_shapes(folders[False], train=8000, val=64, test=300)
    make_shapes(folders[True], train=4000, val=64, test=300, objects=1)
    return folders


@dataclass(frozen=True)
class Trained:
    """A finished run of a recipe, how long it took, its test pictures, and what the checkpoint says of them."""

    run: Path
    seconds: float
    test: list
    told: list


@pytest.fixture(scope="module", params=SETTINGS)
def trained(request, shapes, tmp_path_factory):
    name = request.param
    data = shapes[is_pooled(name)]
    run = tmp_path_factory.mktemp(name) / "run"
    once = ("encoder.size=64", "training.patience=0", "training.validate_every=1000")
    recipe = read_recipe(name, [*COMMON, *once, *SETTINGS[name]])
    began = time.monotonic()
    assert prepare(Request(data=data, encoder_weights=ENCODER), run, recipe=recipe, say=print).train()
    seconds = time.monotonic() - began
    test = [example for example in read_dataset(data).examples if example.split == "test"]
    return Trained(run, seconds, test, torch_captions(run, test))


@torch.inference_mode()
def torch_captions(run_folder, examples):
    """What the checkpoint says of pictures, from their pixels, without anything of the export."""
    run = open_run(run_folder)
    model, encoder, _ = load_best(run)
    told = []
    for start in range(0, len(examples), 50):
        pictures = [to_pixels(open_picture(e.image), encoder.images) for e in examples[start : start + 50]]
        decoder, arrays = TorchDecoder(model.decoder, None, torch.device("cpu")), TorchArrays(torch.device("cpu"))
        found = generate(decoder, encoder(torch.from_numpy(np.stack(pictures))), run.recipe.decoding, arrays)
        told += [join_words(run.vocabulary.decode(hypotheses[0].tokens)) for hypotheses in found]
    return told


def test_every_recipe_is_tried_here():
    assert set(SETTINGS) == set(recipe_names()) - {"shapes"}  # which test_learns_shapes.py tries from pixels


@pytest.mark.slow
def test_every_recipe_learns_shapes(trained, record_property):
    tokenizer = TOKENIZERS[open_run(trained.run).recipe.vocabulary.tokenizer]
    true = [join_words(tokenizer(example.captions[0])) for example in trained.test]
    exact = sum(told == caption for told, caption in zip(trained.told, true, strict=True)) / len(true)
    record_property("seconds", round(trained.seconds, 1))
    record_property("exact", round(exact, 3))
    assert len(set(true)) >= 40
    assert exact >= 0.9


@pytest.mark.slow
def test_onnx_and_torch_captions_agree_on_every_recipe(trained, tmp_path):
    check = export_bundle(trained.run, tmp_path / "bundle")
    assert (check.pictures, check.source, check.equal) == (64, "validation pictures", 1.0)
    captioner = Captioner.load(tmp_path / "bundle", threads=1)
    told = [caption.text for caption in captioner.stream([str(example.image) for example in trained.test])]
    assert told == trained.told


# Stopping and going on


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """As `shapes`, enough for a few steps."""
    folders = {pooled: tmp_path_factory.mktemp("few") / "shapes" for pooled in (False, True)}
    for pooled, folder in folders.items():
        make_shapes(folder, train=48, val=6, test=1, size=32, objects=1 if pooled else None)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_every_recipe_goes_on_to_the_same_bits(few, tmp_path, name):
    short = ("training.epochs=2", "training.batch=8", "vocabulary.min_count=1")
    random_encoder = ("encoder.pretrained=false", "encoder.layer=layer1", "encoder.size=32")
    recipe = read_recipe(name, [*COMMON, *SETTINGS[name], *random_encoder, *short])

    def start(run):
        data = Request(data=few[is_pooled(name)])
        return prepare(data, tmp_path / run, recipe=recipe, resume=True, say=lambda _: None)

    def weights(run):
        return {path.name: path.read_bytes() for path in latest_checkpoint(tmp_path / run).glob("*.safetensors")}

    assert start("whole").train()
    trainer = start("parts")
    step = trainer._step

    def stopped_in_the_second_epoch(batch):
        step(batch)
        if (trainer.progress.epoch, trainer.progress.step) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    trainer._step = stopped_in_the_second_epoch
    assert not trainer.train()
    assert weights("parts") != weights("whole")
    assert start("parts").train()
    assert weights("parts") == weights("whole")
