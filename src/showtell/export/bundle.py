"""Checkpoint -> bundle, and the proof that the bundle says what the checkpoint says."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from showtell.bundle import Manifest, RegionGeometry, check_place, read_bundle, write_bundle
from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import Hypothesis, generate
from showtell.errors import BundleError, DataError, ExportError, FeatureError, ImageError
from showtell.export.card import write_card
from showtell.export.graphs import compress, encoder_graph, start_graph, step_graph
from showtell.files import write_text
from showtell.metrics.cider import cider_d
from showtell.models.captioner import CaptionModel
from showtell.models.encoder import Encoder
from showtell.region_files import apart, input_reader
from showtell.runtime import OnnxModel
from showtell.tokenizers import TOKENIZERS
from showtell.training.arrays import TorchArrays
from showtell.training.checkpoint import read_state
from showtell.training.exported import FOLDER, MARK, export_mark, exported_bundle
from showtell.training.run import Run, load_best, open_run
from showtell.training.validation import TorchDecoder
from showtell.vocabulary import START

CHECKED_PICTURES = 64  # float32: captions must be equal on all of them
COMPARED_PICTURES = 1000  # compressed: captions and CIDEr are compared on up to this many
LOG_PROBABILITY_TOLERANCE = 1e-3
EQUAL_SHARE = 0.98
CIDER_TOLERANCE = 0.5  # points of 100

Inputs = NDArray[Any]  # pixels uint8 (N, S, S, 3), or float32 regions from files (N, R, D)


@dataclass(frozen=True)
class Check:
    """What the comparison found; goes into the card and the manifest."""

    pictures: int
    source: str  # "validation pictures" or "pictures of generated noise"
    largest_difference: float  # of a word's log-probability, float32 graphs against torch
    equal: float  # share of captions
    cider_difference: float | None = None  # points, compressed against float32; None where there were no captions


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the maker of a bundle says about it."""

    name: str | None = None  # None takes the recipe's
    licence: str | None = None  # one line for the manifest; None tells the encoder weights' own
    licence_text: bytes | None = None  # becomes LICENSE.txt
    notes: str = ""  # Markdown for the card
    scores: Mapping[str, float] = field(default_factory=dict)


def export_bundle(
    run_folder: Path,
    out: Path,
    *,
    weights: str = "float32",
    data: Path | None = None,
    regions: Path | None = None,
    labels: Labels | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Check:
    """Write the bundle of a run's best checkpoint into the folder `out`.

    `weights` is float32, fp16 or int8. The float32 graphs must give every word's log-probability within 1e-3 of torch
    (teacher-forced) and the same captions on 64 validation pictures; compressed weights the same caption on 98 % of up
    to 1,000 and CIDEr within 0.5. `data` is where the data set lies now, `regions` where its region files do; where its
    pictures are gone the check uses generated noise, and says so. Raises `ExportError` where the check fails: nothing
    is written then.
    """
    labels = labels or Labels()
    check_place(out)
    run = open_run(run_folder)
    model, encoder, checkpoint = load_best(run)
    progress, _ = read_state(checkpoint)
    entry = next((e for e in progress.history if f"{e['epoch']:05d}" == checkpoint.name.split("-")[0]), {})
    found = {key: round(value, 4) for key, value in entry.items() if key.startswith("val ")}
    manifest = Manifest(
        name=labels.name or run.recipe.name,
        images=encoder.images,
        regions=RegionGeometry(count=encoder.region_count, size=encoder.region_size, grid=encoder.grid),
        decoding=run.recipe.decoding,
        scores={**found, **labels.scores},
        weights=weights,
        licence=labels.licence or f"encoder weights: {encoder.licence}; see card.md",
        recipe=run.recipe.to_dict(),
    )
    graphs = {} if encoder.images is None else {"encoder.onnx": encoder_graph(encoder)}
    graphs["start.onnx"] = start_graph(model.decoder, encoder, manifest.masked)
    graphs["step.onnx"] = step_graph(model.decoder, encoder, manifest.masked)
    files = {
        "vocabulary.json": run.vocabulary.to_json().encode(),
        **{file: graph.SerializeToString() for file, graph in graphs.items()},
    }
    count = CHECKED_PICTURES if weights == "float32" else COMPARED_PICTURES
    pictures, references, source = _inputs(run, encoder, data, regions, count)
    with tempfile.TemporaryDirectory() as aside:
        exact = OnnxModel(read_bundle(write_bundle(Path(aside) / "float32", files=files, manifest=manifest)))
        check = _compare_with_torch(run, model, encoder, exact, pictures[:CHECKED_PICTURES], source)
        say(
            f"float32 graphs: largest difference of a log-probability {check.largest_difference:.1e}, "
            f"captions equal on {check.equal:.1%} of {check.pictures} {source}"
        )
        if weights != "float32":
            files |= {file: compress(graph, weights).SerializeToString() for file, graph in graphs.items()}
            small = OnnxModel(read_bundle(write_bundle(Path(aside) / weights, files=files, manifest=manifest)))
            check = _compare_compressed(exact, small, pictures, references, source, check, run)
            say(
                f"{weights} weights: captions equal on {check.equal:.1%} of {check.pictures} {source}"
                + (f", CIDEr differs by {check.cider_difference:.2f}" if check.cider_difference is not None else "")
            )
    files["card.md"] = write_card(run, manifest, check, entry, labels.notes).encode()
    if labels.licence_text:
        files["LICENSE.txt"] = labels.licence_text
    write_bundle(out, files=files, manifest=manifest)
    return check


def bundle_of_run(run_folder: Path) -> Path:
    """The float32 bundle of a run's best checkpoint, in RUN/bundle, made anew when that or the recipe changes."""
    folder = run_folder / FOLDER
    if exported_bundle(run_folder) is None:
        mark = export_mark(run_folder)  # before: the run may be training
        try:
            check_place(folder)
        except BundleError as error:
            raise ExportError(
                f"{error}. A run keeps its bundle there: `showtell export {run_folder} --out DIR` makes one elsewhere, "
                "to be named in its place"
            ) from error
        export_bundle(run_folder, folder)
        write_text(run_folder / MARK, mark)
    return folder


def _inputs(
    run: Run, encoder: Encoder, data: Path | None, regions: Path | None, count: int
) -> tuple[Inputs, list[list[str]], str]:
    """What up to `count` validation pictures are to the model, with their captions; noise where there are none."""
    wanted = set(run.splits.get("val", [])[:count])
    inputs, references = [], []
    read = input_reader(encoder.images, encoder.region_count, encoder.region_size)
    try:
        examples = [e for e in run.source.read(data, regions).examples if e.id in wanted and e.captions]
    except DataError:
        if data or regions:
            raise
        examples = []
    for example in examples:
        try:
            inputs.append(read(example.image))
            references.append(list(example.captions))
        except (ImageError, FeatureError):
            continue
    if inputs:
        return np.stack(inputs), references, "validation pictures"
    if data or regions:
        raise ExportError(
            f"{regions or data}: none of the run's {len(wanted)} validation pictures is there; expected its data set"
        )
    random, shape = np.random.default_rng(0), tuple(encoder.blank(CHECKED_PICTURES).shape)
    if encoder.images is not None:
        return random.integers(0, 256, shape, np.uint8), [], "pictures of generated noise"
    noise = random.random(shape, np.float32)
    noise[np.arange(shape[1]) >= random.integers(1, shape[1] + 1, (shape[0], 1))] = np.nan  # many have fewer regions
    return noise, [], "pictures of generated noise"


def _regions(encoder: Encoder, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Inputs (B, ...) -> regions (B, R, D), and from files their mask (B, R)."""
    if encoder.images is not None:
        return encoder(torch.from_numpy(inputs)), None
    regions, mask = apart(inputs)
    return torch.from_numpy(regions), torch.from_numpy(mask)


@torch.inference_mode()
def _compare_with_torch(
    run: Run, model: CaptionModel, encoder: Encoder, graphs: OnnxModel, pictures: Inputs, source: str
) -> Check:
    cpu = torch.device("cpu")
    model, encoder = model.to(cpu).eval(), encoder.to(cpu).eval()
    options = run.recipe.decoding
    largest, equal = 0.0, 0
    for start in range(0, len(pictures), 16):
        batch = pictures[start : start + 16]
        regions, mask = _regions(encoder, batch)
        decoder = TorchDecoder(model.decoder, mask, cpu)
        ours = generate(decoder, regions, options, TorchArrays(cpu))
        tokens = [hypotheses[0].tokens for hypotheses in ours]
        theirs = _told_by(graphs, batch, options)
        equal += sum(words == found[0].tokens for words, found in zip(tokens, theirs, strict=True))
        largest = max(largest, _largest_difference(decoder, regions, graphs, batch, tokens))
    check = Check(len(pictures), source, largest, equal / len(pictures))
    if largest > LOG_PROBABILITY_TOLERANCE or equal < len(pictures):
        raise ExportError(
            f"{run.folder}: the graphs differ from the checkpoint: log-probabilities by up to {largest:.2g} (allowed "
            f"{LOG_PROBABILITY_TOLERANCE}), {len(pictures) - equal} of {len(pictures)} captions; nothing was written"
        )
    return check


def _told_by(graphs: OnnxModel, batch: Inputs, options: DecodeOptions) -> list[list[Hypothesis]]:
    """The sentences of each picture of a batch, best first."""
    return generate(graphs.decoder, graphs.encode(batch), options, NumpyArrays())


def _largest_difference(
    decoder: TorchDecoder, regions: torch.Tensor, graphs: OnnxModel, batch: Inputs, tokens: Sequence[tuple[int, ...]]
) -> float:
    """Both are told the same words; all log-probabilities of the whole vocabulary are compared."""
    memory, state = decoder.start(regions)
    memory_there, state_there = graphs.decoder.start(graphs.encode(batch))
    words = np.full((len(batch), 1 + max(map(len, tokens))), START, np.int64)
    for row, spoken in zip(words, tokens, strict=True):
        row[1 : 1 + len(spoken)] = spoken
    largest = 0.0
    for t in range(words.shape[1]):
        told = np.ascontiguousarray(words[:, t : t + 1])
        log_probs, state, _ = decoder.step(torch.from_numpy(told), state, memory)
        log_probs_there, state_there, _ = graphs.decoder.step(told, state_there, memory_there)
        largest = max(largest, float(np.abs(log_probs.numpy() - log_probs_there).max()))
    return largest


def _compare_compressed(
    exact: OnnxModel,
    small: OnnxModel,
    pictures: Inputs,
    references: list[list[str]],
    source: str,
    before: Check,
    run: Run,
) -> Check:
    told: list[list[str]] = [[], []]  # words joined by blanks, as CIDEr takes them
    for start in range(0, len(pictures), 16):
        batch = pictures[start : start + 16]
        for captions, graphs in zip(told, (exact, small), strict=True):
            found = _told_by(graphs, batch, run.recipe.decoding)
            captions += [" ".join(run.vocabulary.decode(ranked[0].tokens)) for ranked in found]
    equal = sum(a == b for a, b in zip(*told, strict=True)) / len(pictures)
    difference: float | None = None
    if references:
        words_of = TOKENIZERS[run.vocabulary.tokenizer]
        tokenized = [[" ".join(words_of(caption)) for caption in of_picture] for of_picture in references]
        scores = [cider_d(captions, tokenized)[0] for captions in told]
        difference = 100 * abs(scores[0] - scores[1])
    if equal < EQUAL_SHARE or (difference or 0.0) > CIDER_TOLERANCE:
        raise ExportError(
            f"{run.folder}: compressed weights change too much: captions equal on {equal:.1%} of {len(pictures)} "
            f"{source} (at least {EQUAL_SHARE:.0%}), CIDEr by {difference or 0.0:.2f} (at most {CIDER_TOLERANCE}); "
            "nothing was written; use --weights fp16 or float32"
        )
    return Check(len(pictures), source, before.largest_difference, equal, difference)
