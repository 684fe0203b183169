"""Memory of a training on data sets of 1,000, 4,000 and 16,000 pictures: flat, at most 10 % from least to most.

    python benchmarks/training_memory.py [--pictures N [N ...]]

The most that was resident at once of a whole process that finds its pictures in the feature store, makes the vocabulary
and trains recipe show-attend-tell on one caption of each picture, checkpoints included. Every training has as many
steps, so that smaller data sets are gone through more often, and all captions have one length: or else the larger would
have more steps for memory to scatter, and be more likely to have a large batch. Regions of a picture take 256 KiB on
the disk; what stays in memory for each is its name and five captions. The peer is the same training on the most
pictures with rows that are mapped into memory, as is common.

Needs 256 KiB for each picture of the largest data set, 4.2 GB as it stands, in the folder for temporary files.
"""

import argparse
import dataclasses
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Finished, Row, machine, report, run, two_cores

PICTURES = (1_000, 4_000, 16_000)
GROWTH = 1.1
CAPTIONS, WORDS = 5, 7  # of each picture, and of each caption
VOCABULARY = 4996
REGIONS, REGION_SIZE = 64, 2048
IDENTITY = {"random": "regions"}
SETTINGS = ("training.sampling=pictures", "training.limit_captions=0", "training.patience=0")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=PICTURES, help="of each data set")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)  # what to do, folder, epochs
    options = parser.parse_args()
    if options.child:
        what, folder, epochs = options.child
        if what == "make":
            return make(Path(folder), options.pictures[0])
        return train(Path(folder), options.pictures[0], int(epochs), mapped=what == "mapped")
    two_cores()
    few, *_, many = sizes = sorted(options.pictures)
    peaks: dict[int, float] = {}

    def child(what: str, pictures: int) -> Finished:
        epochs = str(round(many / pictures))
        return run([sys.executable, __file__, "--pictures", str(pictures), "--child", what, folder, epochs])

    with tempfile.TemporaryDirectory() as folder:
        for pictures in sizes:  # one store that grows
            child("make", pictures)
            finished = child("train", pictures)
            peaks[pictures] = finished.megabytes
        mapped = child("mapped", many)
    print(machine(finished.out.strip()))
    return report(
        f"whole process, as many steps as {many:,} pictures need",
        [
            *(
                Row(f"{pictures:,} pictures", peak, "MB", round(peaks[few] * GROWTH) if pictures == many else None)
                for pictures, peak in peaks.items()
            ),
            Row("from least to most", 1e3 * (peaks[many] - peaks[few]) / (many - few), "kB a picture"),
            Row(f"{many:,} pictures, rows mapped into memory", mapped.megabytes, "MB"),
        ],
    )


def make(folder: Path, pictures: int) -> int:
    """Bring picture files and their rows up to this number. Nobody decodes the files, as their rows are there."""
    import numpy as np

    from showtell.training.store import RowStore

    (folder / "pictures").mkdir(exist_ok=True)
    values = np.abs(np.random.default_rng(0).standard_normal((32, REGIONS, REGION_SIZE), np.float32))
    with RowStore(folder / "store", IDENTITY, (REGIONS, REGION_SIZE), "float16") as store:
        for start in range(len(store.rows), pictures, len(values)):
            paths = [_picture(folder, number) for number in range(start, min(start + len(values), pictures))]
            for path in paths:
                path.write_text(path.name)
            store.append([store.key(path) for path in paths], values[: len(paths)])
        store.flush_files()
    return 0


def train(folder: Path, pictures: int, epochs: int, *, mapped: bool) -> int:
    """Train on so many pictures of the store, read as it reads them, or with its files mapped."""
    import torch

    from showtell.data.example import Example
    from showtell.models.build_encoder import build_encoder
    from showtell.recipe_reader import read_recipe
    from showtell.training.dataset import pictures as as_ids
    from showtell.training.dataset import vocabulary_of
    from showtell.training.features import fill
    from showtell.training.group import Group
    from showtell.training.loop import Splits, Trainer
    from showtell.training.run import DataSource, create_run
    from showtell.training.store import RowStore

    device = torch.device("cpu")
    recipe = read_recipe("show-attend-tell", [*SETTINGS, f"training.epochs={epochs}"])
    chance = random.Random(0)
    examples = [
        Example(
            id=_picture(folder, number).name,
            image=_picture(folder, number),
            captions=tuple(" ".join(f"w{chance.randrange(VOCABULARY)}" for _ in range(WORDS)) for _ in range(CAPTIONS)),
            split="train",
        )
        for number in range(pictures)
    ]
    encoder = build_encoder(dataclasses.replace(recipe.encoder, pretrained=False))
    vocabulary = vocabulary_of(examples, recipe.vocabulary)
    run = create_run(folder / f"run-{pictures}-{mapped}", recipe, vocabulary, encoder, examples, DataSource(root=""))
    store = (_mapped() if mapped else RowStore)(folder / "store", IDENTITY, (REGIONS, REGION_SIZE), "float16")
    filled = fill(store, encoder.images, examples, encoder=encoder, device=device)
    of_split, _ = as_ids(examples, filled.rows, vocabulary, recipe.training.max_words)
    trainer = Trainer(run, store, Splits(of_split, []), Group(device), lambda _: None)
    trainer.train()
    print(f"torch {torch.__version__}")
    return 0


def _mapped() -> Any:
    """A store whose rows are read from its files mapped into memory."""
    import numpy as np
    from numpy.typing import NDArray

    from showtell.training.store import RowStore

    maps: dict[int, NDArray[Any]] = {}

    class Mapped(RowStore):
        def read(self, rows: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            for shard in {row // self.rows_per_shard for row in rows} - maps.keys():
                maps[shard] = np.memmap(self._shard_path("shard", shard), self.dtype, "r").reshape(-1, *self.shape)
            places = [divmod(row, self.rows_per_shard) for row in rows]
            values = np.stack([maps[shard][place] for shard, place in places])
            return values, np.ones((len(rows), self.shape[0]), bool)

    return Mapped


def _picture(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:012}.jpg"


if __name__ == "__main__":
    sys.exit(main())
