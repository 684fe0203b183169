"""Training of recipe show-attend-tell's decoder on ready features, against its tutorial's way in TensorFlow 2.

    python benchmarks/attend_training.py [--tensorflow PYTHON] [--data DIR] [--runs N]

At least 5 times the captions per second of the eager loop, and twice those of the one under `tf.function` (see
attend_tensorflow.py), on two cores, in turn, the median of the runs. PYTHON is an interpreter that has TensorFlow
(`pip install tensorflow-cpu`), which may lie in an environment of its own. Ours reads a feature store and takes the
recipe's steps: 6.6 million weights, every caption with its own picture, bf16 where the processor has it. A second row
tells ours with float32, which is what TensorFlow computes in. Features and words are made up; captions are as long as
those of Flickr8k, or of the data set DIR.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import Row, machine, report, two_cores
from showtell.vocabulary import END, SPECIALS, START

EAGER, FUNCTION = 5, 2  # times as fast
ROUND, WARM_UP = 12, 3  # steps of ours; the peer says its own
PICTURES, CAPTIONS = 400, 5  # trained on, and of each
DATA_SET = 40_000  # captions, of which the longest says how far TensorFlow pads
VOCABULARY = 5000
REGIONS, REGION_SIZE = 64, 2048
OURS = {"showtell": "auto", "showtell, float32": "off"}  # name -> training.amp
THEIRS = {"TensorFlow, eager": "eager", "TensorFlow, tf.function": "function"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensorflow", default=sys.executable, metavar="PYTHON", help="Python that has TensorFlow")
    parser.add_argument("--data", type=Path, help="data set whose captions' lengths are taken")
    parser.add_argument("--runs", type=int, default=5, help="of each, in turn")
    parser.add_argument("--threads", type=int, default=2, help="of each")
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)  # a child: captions, folder, training.amp
    options = parser.parse_args()
    if options.ours:
        return train(Path(options.ours[0]), Path(options.ours[1]), options.ours[2], options.threads)
    if subprocess.run([options.tensorflow, "-c", "import tensorflow"], stderr=subprocess.DEVNULL).returncode:
        raise SystemExit(
            f"{options.tensorflow}: has no TensorFlow; name an interpreter that has with --tensorflow, or: "
            "pip install tensorflow-cpu"
        )
    two_cores()
    with tempfile.TemporaryDirectory() as folder:
        captions = Path(folder, "captions.npz")
        lengths = read_lengths(options.data) if options.data else flickr_lengths()
        write_captions(captions, lengths)
        threads, peer = str(options.threads), Path(__file__).with_name("attend_tensorflow.py")
        commands: dict[str, list[str | Path]] = {
            name: [sys.executable, __file__, "--threads", threads, "--ours", captions, folder, amp]
            for name, amp in OURS.items()
        }
        commands |= {name: [options.tensorflow, peer, captions, kind, threads] for name, kind in THEIRS.items()}
        versions, rates = in_turn(commands, options.runs)
    ours, ours_float32, eager, function = (median(rates[name]) for name in commands)
    print(machine(*(versions[name] for name in ("showtell", *THEIRS)[:2])))
    return report(
        f"batches of 64 captions of {lengths.mean():.1f} words, the longest {lengths.max()}; {options.runs} runs each, "
        f"{options.threads} threads",
        [
            Row("showtell", ours, "captions/s"),
            Row("showtell, float32", ours_float32, "captions/s"),
            *(Row(name, median(rates[name]), "captions/s") for name in THEIRS),
            Row("times as fast as eager", ours / eager, "x", EAGER, True),
            Row("times as fast as tf.function", ours / function, "x", FUNCTION, True),
            Row("  with float32, as eager", ours_float32 / eager, "x"),
            Row("  with float32, as tf.function", ours_float32 / function, "x"),
        ],
    )


def in_turn(commands: dict[str, list[str | Path]], runs: int) -> tuple[dict[str, str], dict[str, list[float]]]:
    """Start the programs, then let them train a round each, `runs` times -> what they run on, captions per second."""
    children: dict[str, subprocess.Popen[str]] = {}
    versions: dict[str, str] = {}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    try:
        for name, command in commands.items():
            # TensorFlow tells its own build on standard error.
            quiet = subprocess.DEVNULL if name in THEIRS else None
            children[name] = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True
            )
            versions[name] = _answer(name, children[name])["versions"]
        for _ in range(runs):
            for name, child in children.items():
                assert child.stdin is not None
                print("go", file=child.stdin, flush=True)
                done = _answer(name, child)
                rates[name].append(done["captions"] / done["seconds"])
    finally:
        for child in children.values():
            child.kill()
            child.communicate()
    return versions, rates


def _answer(name: str, child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"{name}: ended with exit code {child.wait()}; run it alone: {child.args!r}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def flickr_lengths() -> NDArray[np.int64]:
    """Words of each caption of a data set: about 11 on average, 37 at most, the same on any machine."""
    drawn = np.random.default_rng(0).lognormal(np.log(10.2), 0.35, DATA_SET)
    return np.rint(drawn).clip(2, 37).astype(np.int64)


def read_lengths(data: Path) -> NDArray[np.int64]:
    """Words of each caption of a data set."""
    from showtell.data.readers import read_dataset
    from showtell.tokenizers import TOKENIZERS

    words = TOKENIZERS["keras"]
    lengths = [len(words(caption)) for example in read_dataset(data).examples for caption in example.captions]
    found = np.array([length for length in lengths if length], np.int64)
    if len(found) < PICTURES * CAPTIONS:
        raise SystemExit(f"{data}: {len(found):,} captions, expected {PICTURES * CAPTIONS:,} at least")
    return found


def write_captions(path: Path, lengths: NDArray[np.int64]) -> None:
    """`captions` (N, T) int32 with both marks, padded to the data set's longest, and `owners` (N,), their pictures."""
    random = np.random.default_rng(1)
    total = PICTURES * CAPTIONS
    captions = np.zeros((total, lengths.max() + 2), np.int32)
    for caption, length in zip(captions, random.choice(lengths, total, replace=False), strict=True):
        words = random.integers(len(SPECIALS), VOCABULARY, length)
        caption[: length + 2] = (START, *words, END)
    np.savez(path, captions=captions, owners=np.repeat(np.arange(PICTURES), CAPTIONS))


def train(path: Path, folder: Path, amp: str, threads: int) -> int:
    """Ours: the recipe's steps, asked and answered as attend_tensorflow.py is."""
    import torch

    from showtell.models.build_encoder import build_encoder
    from showtell.recipe_reader import read_recipe
    from showtell.training.group import Group
    from showtell.training.loop import Splits, Trainer
    from showtell.training.run import DataSource, Run
    from showtell.training.sampling import epoch_batches
    from showtell.vocabulary import Vocabulary

    torch.set_num_threads(threads)
    recipe = read_recipe("show-attend-tell", [f"training.amp={amp}"])
    encoder = build_encoder(dataclasses.replace(recipe.encoder, pretrained=False))
    vocabulary = Vocabulary((*SPECIALS, *(f"word{i}" for i in range(VOCABULARY - len(SPECIALS)))))
    run = Run(folder / "run", recipe, vocabulary, encoder, DataSource(root=""), "", {})
    store, pictures = _store(folder / "store"), list(_pictures(path))
    trainer = Trainer(run, store, Splits(pictures, []), Group(torch.device("cpu")), lambda _: None)
    if (size := sum(parameter.numel() for parameter in trainer.model.parameters())) != 6_602_889:
        raise SystemExit(f"ours has {size:,} parameters, expected 6,602,889")

    batches = chain.from_iterable(epoch_batches(pictures, recipe.training, epoch) for epoch in count())

    def steps(number: int) -> int:
        captions = 0
        for batch in islice(batches, number):
            trainer._step(batch)
            captions += int((batch.lengths > 0).sum())
        return captions

    steps(WARM_UP)
    versions = f"torch {torch.__version__}, {'bf16' if trainer.autocast else 'float32'}"
    print(json.dumps({"versions": versions}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        captions = steps(ROUND)
        print(json.dumps({"captions": captions, "seconds": time.perf_counter() - began}), flush=True)
    return 0


def _store(folder: Path) -> Any:
    """Regions of the pictures as a feature store holds them; made by the first that asks."""
    from showtell.training.store import RowStore

    store = RowStore(folder, {"random": "regions"}, (REGIONS, REGION_SIZE), "float16")
    random = np.random.default_rng(0)
    with store:
        for number in range(len(store.rows), PICTURES):
            values = np.abs(random.standard_normal((1, REGIONS, REGION_SIZE), np.float32))
            store.append([str(number)], values)
    return store


def _pictures(path: Path) -> Iterator[Any]:
    from showtell.data.example import Example
    from showtell.training.dataset import Picture

    with np.load(path) as file:
        captions, owners = file["captions"], file["owners"]
    for number in range(PICTURES):
        ids = [tuple(int(i) for i in caption[1:] if i) for caption in captions[owners == number]]
        yield Picture(Example(id=str(number), image=Path()), number, tuple(ids))


if __name__ == "__main__":
    sys.exit(main())
