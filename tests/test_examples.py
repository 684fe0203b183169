"""The notebooks of examples/: what is committed is whole and fresh, and each does what it says when it runs."""

import json
import re
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
pytest.importorskip("nbclient", reason="needs the extra dev")

from notebooks import EXAMPLES, execute, notebooks, read  # noqa: E402
from showtell.data.readers import read_dataset  # noqa: E402
from showtell.recipe_reader import recipe_names  # noqa: E402
from showtell.tokenizers import TOKENIZERS, join_words  # noqa: E402

REPOSITORY = EXAMPLES.parent
MOST_OUTPUT = 300_000  # bytes of a notebook's outputs
EXACT = 0.9  # share of the test pictures whose caption is the true one, word for word
# Where the outputs of another machine or another user would differ.
PATHS = re.compile(r"(?<![\w.])(?:/(?:home|root|tmp|Users|usr|opt|work|private|var)/|[A-Z]:\\)")
TUTORIALS = ("show-attend-tell", "show-attend-tell-r", "init-inject", "merge", "show-and-tell")

pytestmark = pytest.mark.skipif(not (REPOSITORY / "pyproject.toml").is_file(), reason="needs the repository")


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def text_of(output):
    """What an output says, pictures left out."""
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def texts_of(cell):
    return "".join(map(text_of, cell.outputs))


def kinds(cell):
    """What sorts of output a cell has, in order."""
    return [(output.output_type, output.get("name", ""), sorted(output.get("data", {}))) for output in cell.outputs]


def is_same_everywhere(cell):
    return "same-everywhere" in cell.metadata.get("tags", ())


# What is committed


def test_every_tutorial_has_a_notebook():
    assert set(notebooks()) == set(TUTORIALS) <= set(recipe_names())


@pytest.mark.parametrize("name", TUTORIALS)
def test_notebook_is_committed_as_it_ran(name):
    book = read(name)
    nbformat.validate(book)
    cells = code_cells(book)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", text_of(output)
    assert sum(len(json.dumps(cell.outputs)) for cell in cells) < MOST_OUTPUT
    assert set(book.metadata.language_info) <= {"file_extension", "mimetype", "name", "version"}
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


@pytest.mark.parametrize("name", TUTORIALS)
def test_outputs_tell_nothing_of_the_machine(name):
    for cell in code_cells(read(name)):
        assert not PATHS.search(texts_of(cell)), texts_of(cell)


@pytest.mark.parametrize("text", ["in /home/ada/shapes", "/tmp/x", "C:\\Users\\ada"])
def test_paths_of_a_machine_are_found(text):
    assert PATHS.search(text)


@pytest.mark.parametrize("text", ["attend-work/run/home/x", "show-attend-tell/tmp/", "16 bit: a\\b"])
def test_paths_within_the_folder_are_fine(text):
    assert not PATHS.search(text)


@pytest.mark.parametrize("name", TUTORIALS)
def test_links_of_a_notebook_lead_somewhere(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert any(target.startswith(f"../docs/guide/{name.removesuffix('-r')}.md") for target in targets)
    for target in targets:
        path, _, anchor = target.partition("#")
        assert (EXAMPLES / path).is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", (EXAMPLES / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_and_ours_stand_side_by_side(name):
    """Each numbered step tells first what the tutorial does, then what one does here, and then does it."""
    steps = []
    for cell in read(name).cells:
        if cell.cell_type == "markdown" and (title := re.match(r"## (\d+)\. ", cell.source)):
            steps.append(int(title[1]))
            assert 0 < cell.source.find("**The tutorial**") < cell.source.find("**Here**"), cell.source
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 7


# What happens when they run


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """An empty cache, no network, one thread, and warnings that are told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONWARNINGS", "default")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        yield


class Done:
    """An executed notebook: its cells with new outputs, and the folder in which it wrote."""

    def __init__(self, name, folder):
        self.name = name
        self.cells = code_cells(execute(name, folder))
        (self.work,) = folder.glob("*-work")

    def told(self, piece):
        """The output of the one cell whose source holds `piece`."""
        (cell,) = [cell for cell in self.cells if piece in cell.source]
        return texts_of(cell)

    def test_pictures(self):
        return [example for example in read_dataset(self.work / "shapes").examples if example.split == "test"]


@pytest.fixture(scope="module", params=TUTORIALS)
def done(request, fresh, tmp_path_factory):
    pytest.importorskip("torch", reason="needs the training extra")
    pytest.importorskip("ipykernel", reason="needs the extra dev")
    return Done(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.slow
def test_committed_outputs_are_those_of_this_version(done):
    committed = code_cells(read(done.name))
    for old, new in zip(committed, done.cells, strict=True):
        assert kinds(new) == kinds(old), new.source
        if is_same_everywhere(new):
            assert texts_of(new) == texts_of(old), new.source
    assert sum(map(is_same_everywhere, committed)) >= 2


@pytest.mark.slow
def test_nothing_warns_and_nothing_tells_of_the_machine(done):
    for cell in done.cells:
        assert all(output.get("name") != "stderr" for output in cell.outputs), texts_of(cell)
        assert "warning" not in texts_of(cell).lower(), texts_of(cell)
        assert not PATHS.search(texts_of(cell)), texts_of(cell)


@pytest.mark.slow
def test_captions_of_the_bundle_are_exact_and_the_checkpoints(done, record_property):
    from showtell.captioner import Captioner

    examples = done.test_pictures()
    tokenizer = TOKENIZERS[tomllib.loads((done.work / "small.toml").read_text())["vocabulary"]["tokenizer"]]
    true = [join_words(tokenizer(example.captions[0])) for example in examples]
    captioner = Captioner.load(done.work / "bundle", threads=1)
    told = [caption.text for caption in captioner.stream([example.image for example in examples])]
    exact = sum(map(str.__eq__, told, true)) / len(true)
    record_property("exact", round(exact, 3))
    assert len(set(true)) >= 40
    assert exact >= EXACT
    assert f"{exact:.1%} of {len(true)} captions are exact" in "".join(map(texts_of, done.cells))
    assert told == checkpoint_captions(done.work / "run", examples)


def checkpoint_captions(folder, examples):
    """What the run's best checkpoint says of the pictures, in PyTorch, without anything of the export."""
    import numpy as np
    import torch

    from showtell.decoding.search import generate
    from showtell.images import open_picture, to_pixels
    from showtell.training.arrays import TorchArrays
    from showtell.training.run import load_best, open_run
    from showtell.training.validation import TorchDecoder

    run, device = open_run(folder), torch.device("cpu")
    model, encoder, _ = load_best(run)
    pixels = np.stack([to_pixels(open_picture(example.image), encoder.images) for example in examples])
    with torch.inference_mode():
        regions = encoder(torch.from_numpy(pixels))
        decoder = TorchDecoder(model.decoder, None, device)
        found = generate(decoder, regions, run.recipe.decoding, TorchArrays(device))
    return [join_words(run.vocabulary.decode(hypotheses[0].tokens)) for hypotheses in found]


@pytest.mark.slow
def test_ends_as_its_tutorial_does(done):
    ends = {
        "show-attend-tell": service_answers,
        "show-attend-tell-r": values_are_shown,
        "init-inject": exercises_are_done,
        "merge": device_needs_no_pytorch,
        "show-and-tell": uncaptioned_pictures_are_told,
    }
    ends[done.name](done)


def service_answers(done):
    answer = json.loads(done.told("/wowme"))
    said, shape = done.told("attention=True").splitlines()
    assert answer == {"Prediction Caption:": said}
    assert shape == f"({len(said.split())}, 4, 4)"
    assert "6,602,889" in done.told("--shapes")


def values_are_shown(done):
    lines = done.told("--values").splitlines()
    words = list(takewhile(str.strip, lines[next(i for i, line in enumerate(lines) if "word by word" in line) + 2 :]))
    assert words[0].split()[0] == "<start>"
    assert words[-1].split()[1] == "<end>"
    for line in words:  # before any training: one of 22 words, one of 16 places
        assert float(line.split()[2]) == pytest.approx(1 / 22, rel=0.3)
        assert float(re.search(r"([\d.]+)%", line)[1]) == pytest.approx(100 / 16, rel=0.3)
    assert "(2, 64, 2048)" in done.told("--shapes")


def exercises_are_done(done):
    epochs = re.findall(r"^epoch (\d)/4 ", done.told("--resume"), re.MULTILINE)
    assert epochs == ["2", "3", "4"]
    sampled = [line.split("\t")[1] for line in done.told("--sample").splitlines()]
    assert len(sampled) == 4
    assert len(set(sampled)) > 1
    assert "12,645,648" in done.told("--shapes")


def device_needs_no_pytorch(done):
    assert done.told('"torch" in sys.modules').endswith("without PyTorch\n")
    assert "5,079,047" in done.told("--shapes")
    true = {Path(example.image).name: example.captions[0] for example in done.test_pictures()}
    found = dict(re.findall(r"^(\w+): +(.*)$", done.told("keyword"), re.MULTILINE))
    assert set(found) == {"yellow", "cross"}
    for keyword, names in found.items():
        assert all(keyword in true[name].split() for name in names.split(", "))


def uncaptioned_pictures_are_told(done):
    told = dict(line.split("\t") for line in done.told("showtell caption").splitlines() if "\t" in line)
    true = {example.image.name: example.captions[0] for example in read_dataset(done.work / "unseen").examples}
    assert len(told) == len(true) == 8
    assert sum(true[Path(path).name] == text for path, text in told.items()) >= 7
    for path, text in told.items():
        assert (done.work.parent / path).with_suffix(".txt").read_text() == text
    assert (done.work / "page" / "index.html").is_file()
    assert "3,192,448" in done.told("--shapes")
