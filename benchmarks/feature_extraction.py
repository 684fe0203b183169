"""Filling the feature store from JPEG files, against the encoder alone on ready batches: at least 90 % of its rate.

    python benchmarks/feature_extraction.py [--encoder NAME] [--pictures N] [--runs N]

The encoder alone is the faster of PyTorch and ONNX Runtime, in float32, which captioning computes in too, and each with
the batch that suits it better, 32 pictures or 4. Two cores and two threads each, in turn, the median of the runs. What
`fill` does beside it, from hashing the files to rows that are safe on the disk, counts; only the time until the first
batch is told apart, most of which the encoder's ONNX graph takes, once for a data set. Reading pictures needs the same
two cores, so a row tells the rate of that alone, and another how near `fill` comes to what both allow one after the
other: the smaller the encoder, the more of the time is reading. Pictures are made up, of 224 to 500 pixels a side, and
weights random.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from common import Row, machine, report, two_cores
from showtell.data.example import Example
from showtell.export.graphs import encoder_graph
from showtell.images import read_pixels
from showtell.models.build_encoder import build_encoder
from showtell.models.encoder import Encoder
from showtell.recipe import EncoderOptions
from showtell.recipe_reader import read_recipe
from showtell.training.features import fill
from showtell.training.store import RowStore

SHARE = 90  # percent
BATCHES = (32, 4)
SECONDS = 3  # of one measurement on ready batches
SIDES = (224, 500)  # pixels, least and most
QUALITY = 90  # of the JPEG
ENCODERS = {
    "mobilenetv2_100": EncoderOptions(name="mobilenetv2_100"),
    "inception_v3": dataclasses.replace(read_recipe("show-attend-tell").encoder, layer="Mixed_7a"),
}


class TimedStore(RowStore):
    """A store that notes when how many rows were in it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.moments: list[tuple[float, int]] = []

    def append(self, keys: Sequence[str], values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> None:
        super().append(keys, values, mask)
        self.moments.append((time.perf_counter(), len(self.rows)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=ENCODERS, action="append", help="only this")
    parser.add_argument("--pictures", type=int, default=1000, help="in files; with fewer, `fill` makes no graph")
    parser.add_argument("--threads", type=int, default=2, help="of each")
    parser.add_argument("--runs", type=int, default=3, help="of each, in turn")
    options = parser.parse_args()
    two_cores()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        examples = make_pictures(Path(folder), options.pictures)
        for name in options.encoder or ENCODERS:
            rows += measure(name, examples, Path(folder), options.runs)
    print(machine(f"torch {torch.__version__}", f"onnxruntime {onnxruntime.__version__}"))
    return report(f"{options.pictures:,} pictures, {options.threads} threads, {options.runs} runs each in turn", rows)


def measure(name: str, examples: Sequence[Example], folder: Path, runs: int) -> list[Row]:
    encoder = make_encoder(name)
    programs = ready(encoder)
    programs["reading"] = lambda: reading(encoder, examples)
    begins: list[float] = []
    rates: dict[str, list[float]] = {program: [] for program in (*programs, "fill")}
    for run in range(runs):
        for program, rate in programs.items():
            rates[program].append(rate())
        rate_of_fill, begin = filling(encoder, examples, folder / f"{name}-{run}")
        rates["fill"].append(rate_of_fill)
        begins.append(begin)
    found = {program: median(of_runs) for program, of_runs in rates.items()}
    filled, read = found.pop("fill"), found.pop("reading")
    faster = max(found.values())
    both = 1 / (1 / faster + 1 / read)
    return [
        *(Row(f"{name}, {program}", rate, "pictures/s") for program, rate in found.items()),
        Row(f"{name}, reading alone", read, "pictures/s"),
        Row(f"{name}, fill", filled, "pictures/s"),
        Row("  of the faster of PyTorch and ONNX Runtime", 100 * filled / faster, "%", SHARE, True),
        Row("  of that and reading, one after the other", 100 * filled / both, "%"),
        Row("  until the first batch is in the store", median(begins), "s"),
    ]


def make_encoder(name: str) -> Encoder:
    torch.manual_seed(0)
    encoder = build_encoder(dataclasses.replace(ENCODERS[name], pretrained=False))
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):  # timm's own random weights can leave the range of float16
            nn.init.kaiming_normal_(module.weight)
    return encoder.eval()


def ready(encoder: Encoder) -> dict[str, Callable[[], float]]:
    """The encoder alone -> pictures per second."""
    assert encoder.images is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    graph = encoder_graph(encoder).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    side = encoder.images.size
    programs: dict[str, Callable[[], float]] = {}
    for batch in BATCHES:
        pictures = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        in_torch = torch.inference_mode()(partial(encoder, torch.from_numpy(pictures)))
        in_graph = partial(session.run, None, {"pictures": pictures})
        programs[f"PyTorch, batches of {batch}"] = partial(_rate, in_torch, batch)
        programs[f"ONNX Runtime, batches of {batch}"] = partial(_rate, in_graph, batch)
    return programs


def _rate(step: Callable[[], Any], batch: int) -> float:
    step()
    began, steps = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        step()
        steps += 1
    return steps * batch / passed


def reading(encoder: Encoder, examples: Sequence[Example]) -> float:
    """Files to pixels, all cores -> pictures per second."""
    images = encoder.images
    assert images is not None
    began = time.perf_counter()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(lambda example: read_pixels(example.image, images).shape, examples):
            pass
    return len(examples) / (time.perf_counter() - began)


def filling(encoder: Encoder, examples: Sequence[Example], folder: Path) -> tuple[float, float]:
    """`fill` into a new store -> pictures per second from the first batch on, and seconds until then."""
    shape = (encoder.region_count, encoder.region_size)
    store = TimedStore(folder, encoder.identity(), shape, "float16")
    began = time.perf_counter()
    filled = fill(store, encoder.images, examples, encoder=encoder, device=torch.device("cpu"))
    if len(filled.rows) != len(examples):
        raise SystemExit(f"{len(filled.rows)} rows for {len(examples)} pictures; {list(filled.failures.values())[:1]}")
    (first, before), (last, after) = store.moments[0], store.moments[-1]
    return (after - before) / (last - first), first - began


def make_pictures(folder: Path, count: int) -> list[Example]:
    """Distinct JPEGs: soft blots of colour under a grain, which is about as much to decode as a photo of their size."""
    random = np.random.default_rng(0)
    examples = []
    for number in range(count):
        width, height = (int(side) for side in random.integers(SIDES[0], SIDES[1] + 1, 2))
        blots = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        soft = np.asarray(blots.resize((width, height), Image.Resampling.BICUBIC))
        grain = random.normal(0, 10, (height, width, 1))
        path = folder / f"{number:05}.jpg"
        Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
        examples.append(Example(id=path.name, image=path))
    return examples


if __name__ == "__main__":
    sys.exit(main())
