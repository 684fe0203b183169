"""Encoder + data set -> feature store, resumable. Prepared pixels go the same way where the encoder learns too.

B pictures, S side in pixels, R regions, D region size.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from showtell.data.example import Example
from showtell.errors import ImageError
from showtell.images import ImageOptions, open_picture, to_pixels
from showtell.models.encoder import Encoder
from showtell.training.store import RowStore


@dataclass(frozen=True)
class Filled:
    """A store that holds a data set.

    `rows` maps an example's id to its row, `flipped` to that of its mirror image; `failures` maps ids to the reason.
    """

    store: RowStore
    rows: dict[str, int]
    flipped: dict[str, int]
    failures: dict[str, str]


def cache_folder() -> Path:
    """Where stores lie unless the user names a folder: `$SHOWTELL_CACHE`, else the user's cache folder."""
    if "SHOWTELL_CACHE" in os.environ:
        return Path(os.environ["SHOWTELL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "showtell"


def feature_store(encoder: Encoder, folder: Path | None = None) -> RowStore:
    """The store of this encoder's regions, float16 (R, D), in `folder` or under the cache by the encoder's identity."""
    identity = encoder.identity()
    return RowStore(
        folder or cache_folder() / "features" / _fingerprint(identity),
        identity,
        (encoder.region_count, encoder.region_size),
        "float16",
    )


def pixel_store(images: ImageOptions, folder: Path | None = None) -> RowStore:
    """The store of prepared pictures, uint8 (S, S, 3)."""
    # Mean and deviation are the encoder's business: they are applied inside it.
    identity = {"pixels": {k: v for k, v in asdict(images).items() if k not in ("mean", "std")}}
    return RowStore(
        folder or cache_folder() / "pixels" / _fingerprint(identity), identity, (images.size, images.size, 3), "uint8"
    )


def fill(
    store: RowStore,
    images: ImageOptions,
    examples: Sequence[Example],
    *,
    encoder: Encoder | None,
    device: torch.device,
    batch: int = 32,
    workers: int = 2,
    flip: bool = False,
) -> Filled:
    """Bring every picture of `examples` into the store: regions, or pixels where `encoder` is None.

    With `flip` the mirror images of training pictures go in too. Pictures are decoded in `workers` processes; what the
    store already holds is not done again. A picture that cannot be read is left out and named in `failures`.
    """
    keys: dict[str, str] = {}
    failures: dict[str, str] = {}
    with store:
        for example in examples:
            try:
                keys[example.id] = store.key(example.image)
            except OSError as error:
                failures[example.id] = f"{example.image}: {error.strerror or error}"
        store.flush_files()
        wanted = {keys[e.id]: _Work(e, False) for e in examples if e.id in keys}
        if flip:
            wanted |= {_mirror(keys[e.id]): _Work(e, True) for e in examples if e.id in keys and e.split == "train"}
        missing = {key: work for key, work in wanted.items() if key not in store.rows}
        if missing:
            _fill_missing(store, images, missing, failures, encoder, device, batch, workers)
    rows = {name: store.rows[key] for name, key in keys.items() if key in store.rows}
    flipped = {name: store.rows[_mirror(key)] for name, key in keys.items() if flip and _mirror(key) in store.rows}
    for example in examples:  # two names of one damaged picture fail alike
        if example.id not in rows:
            failures.setdefault(example.id, f"{example.image}: same content as a picture that cannot be read")
    return Filled(store, rows, flipped, failures)


@dataclass(frozen=True)
class _Work:
    """One row to make."""

    example: Example
    flipped: bool


def _mirror(key: str) -> str:
    return f"{key}-flipped"


def _fill_missing(
    store: RowStore,
    images: ImageOptions,
    missing: dict[str, _Work],
    failures: dict[str, str],
    encoder: Encoder | None,
    device: torch.device,
    batch: int,
    workers: int,
) -> None:
    loader = DataLoader(
        _Pictures(list(missing.values()), images),
        batch,
        num_workers=workers,
        collate_fn=list,
        prefetch_factor=4 if workers else None,
    )
    keys = iter(missing)
    bar = tqdm(
        total=len(missing),
        desc="features" if encoder else "pixels",
        unit=" pictures",
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
    )
    if encoder:
        encoder.eval().to(device)
    with bar, torch.inference_mode():
        for loaded in loader:
            named = [(next(keys), pixels) for pixels in loaded]
            for key, pixels in named:
                if isinstance(pixels, str):
                    failures[missing[key].example.id] = pixels
            good = [(key, pixels) for key, pixels in named if not isinstance(pixels, str)]
            if good:
                values: NDArray[Any] = np.stack([pixels for _, pixels in good])  # (B, S, S, 3)
                if encoder:
                    values = encoder(torch.from_numpy(values).to(device)).cpu().numpy()  # (B, R, D)
                store.append([key for key, _ in good], values)
            bar.update(len(loaded))


class _Pictures(Dataset[NDArray[np.uint8] | str]):
    """Prepared pictures by number; a text in place of pixels says why there are none."""

    def __init__(self, work: list[_Work], images: ImageOptions) -> None:
        self.work, self.images = work, images

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, index: int) -> NDArray[np.uint8] | str:
        work = self.work[index]
        try:
            pixels = to_pixels(open_picture(work.example.image), self.images)
            return np.ascontiguousarray(pixels[:, ::-1]) if work.flipped else pixels
        except ImageError as error:
            return str(error)


def _fingerprint(identity: dict[str, Any]) -> str:
    return sha256(dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
