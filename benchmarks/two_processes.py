"""One run trained by two processes, against one process with two threads: at least 0.9 times its words a second.

    python benchmarks/two_processes.py [--data DIR --encoder-weights FILE] [--repeats N]

100 steps of recipe `pocket` on frozen features, 32 pictures with five captions in each, without dropout, so that both
learn the same: the mean loss of every 20 steps may differ by 1e-4 nats. Each side trains as a user would start it, in
turn, and the median of the repetitions counts; words a second are those that a run tells, of its fastest 20 steps.
With --data its first 640 training pictures are learnt; without, generated ones, their captions random words of
Flickr8k's lengths, by a small encoder.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Row, machine, report, run, showtell, two_cores

PICTURES, BATCH, EPOCHS = 640, 32, 5  # 20 steps an epoch
LENGTHS = range(6, 17)  # words of a caption, about 11
WORDS = 2500
SETTINGS = (
    "decoder.dropout=0",
    "decoder.region_dropout=0",
    f"training.epochs={EPOCHS}",
    f"training.batch={BATCH}",
    f"training.validate_every={EPOCHS}",
    "training.flip=false",
    "training.patience=0",
    "training.amp=off",
    "training.checkpoint_seconds=1000",
    "vocabulary.min_count=1",
)
SMALL = ("encoder.name=resnet10t", "encoder.pretrained=false", "encoder.layer=layer3", "encoder.size=112")
SHARE, DISTANCE = 0.9, 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set, of which 640 pictures are learnt")
    parser.add_argument("--encoder-weights", type=Path, help="of MobileNetV2, with --data")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    two_cores()
    speeds: dict[int, list[float]] = {1: [], 2: []}
    losses: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = [] if options.data else [part for setting in SMALL for part in ("--set", setting)]
        if options.encoder_weights:
            more += ["--encoder-weights", str(options.encoder_weights)]
        more += ["--features", str(folder / "features")]
        data = take(options.data, folder / "data") if options.data else make(folder / "data")
        for repeat in range(options.repeats):
            for processes in (1, 2):
                out = folder / f"run-{processes}-{repeat}"
                told = train(data, out, processes, more)
                speeds[processes].append(max(entry["words/s"] for entry in told))
                losses[processes] = [entry["train loss"] for entry in told]
    one, two = (statistics.median(speeds[processes]) for processes in (1, 2))
    import torch

    print(machine(f"torch {torch.__version__}"))
    return report(
        f"{EPOCHS} x 20 steps of {BATCH} pictures with their captions, {options.repeats} times each, median",
        [
            Row("one process, two threads", one, "words/s"),
            Row("two processes, one thread each", two, "words/s"),
            Row("two to one", two / one, "times", SHARE, at_least=True),
            Row(
                "largest difference of the loss",
                max(abs(a - b) for a, b in zip(losses[1], losses[2], strict=True)),
                "nats",
                DISTANCE,
            ),
        ],
    )


def train(data: Path, out: Path, processes: int, more: list[str]) -> list[dict[str, Any]]:
    """Train a run; what it tells of each epoch."""
    arguments: list[str | Path] = [
        "train",
        "--recipe",
        "pocket",
        "--data",
        data,
        "--out",
        out,
        "--threads",
        str(3 - processes),
        *more,
    ]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    together = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "showtell",
    ]
    run([*([showtell()] if processes == 1 else together), *arguments])
    state = sorted((out / "checkpoints").iterdir())[-1] / "state.json"
    history: list[dict[str, Any]] = json.loads(state.read_text())["progress"]["history"]
    return history


def take(data: Path, folder: Path) -> Path:
    """A data set of the first training pictures of another, and a few to validate on."""
    from showtell.data.readers import read_dataset

    folder.mkdir()
    dataset = read_dataset(data)
    with (folder / "metadata.jsonl").open("w") as table:
        for split, count in (("train", PICTURES), ("val", 4)):
            for example in dataset.of_split(split)[:count]:
                name = example.image.name
                (folder / name).symlink_to(example.image.resolve())
                record = {"file_name": name, "captions": example.captions, "split": split}
                table.write(json.dumps(record) + "\n")
    return folder


def make(folder: Path) -> Path:
    """A data set of generated pictures with random captions."""
    from showtell.data.shapes import make_shapes

    make_shapes(folder, train=PICTURES, val=4, test=0, size=112)
    chance = random.Random(0)
    table = folder / "metadata.jsonl"
    records = [json.loads(line) for line in table.read_text().splitlines()]
    for record in records:
        del record["caption"]
        record["captions"] = [
            " ".join(f"w{chance.randrange(WORDS)}" for _ in range(chance.choice(LENGTHS))) for _ in range(5)
        ]
    table.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


if __name__ == "__main__":
    sys.exit(main())
