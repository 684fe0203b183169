"""Encoder + data set -> feature store, resumable. Prepared pixels go the same way where the encoder learns too.

B pictures, S side in pixels, R regions, D region size.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from showtell.data.example import Example
from showtell.errors import FeatureError, ImageError, ShowtellError
from showtell.images import ImageOptions
from showtell.models.encoder import Encoder
from showtell.region_files import apart, input_reader
from showtell.training.store import RowStore

PART = 4  # pictures that one thread takes at once; with more, an encoder's layers outgrow a processor's cache
AHEAD = 4  # batches in work or waiting
GRAPH_FROM = 1000  # pictures; fewer are through the encoder before its ONNX graph is made, which takes seconds
GRAPH_BYTES = 1 << 30  # of weights; making the graph holds several copies of them, and 2 GiB is as much as one may have
GRAPH_STREAMS = 4  # threads that encode, each pictures of its own; beyond, the memory that each needs grows too large


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
    images: ImageOptions | None,
    examples: Sequence[Example],
    *,
    encoder: Encoder | None,
    device: torch.device,
    batch: int = 32,
    workers: int = 2,
    flip: bool = False,
) -> Filled:
    """Bring every picture of `examples` into the store: regions, or pixels where `encoder` is None.

    Where `images` is None the examples name files of regions, and these are what the store gets.
    With `flip` the mirror images of training pictures go in too. Pictures are read in `workers` threads; what the store
    already holds is not done again. A picture that cannot be read is left out and named in `failures`. On a processor
    the encoder's ONNX graph computes the regions of many pictures, in torch's number of threads, which read them too.
    """
    keys: dict[str, str] = {}
    failures: dict[str, str] = {}
    store.reload()
    for example in examples:
        try:
            keys[example.id] = store.key(example.image)
        except OSError as error:
            failures[example.id] = f"{example.image}: {error.strerror or error}"
    wanted = {keys[e.id]: _Work(e, False) for e in examples if e.id in keys}
    if flip:
        wanted |= {_mirror(keys[e.id]): _Work(e, True) for e in examples if e.id in keys and e.split == "train"}
    # A store that holds all of it is only read: by many at once, and where nothing can be written.
    if store.knows_more or any(key not in store.rows for key in wanted):
        with store:
            store.flush_files()
            missing = {key: work for key, work in wanted.items() if key not in store.rows}
            if missing:
                # Told by what is wanted, not by what is missing: a fill that was stopped goes on with the same digits.
                graph = device.type == "cpu" and len(wanted) >= GRAPH_FROM
                _fill_missing(store, images, missing, failures, encoder, device, batch, workers, graph)
    store.forget_files()
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


_Made = NDArray[Any] | ShowtellError  # pixels (S, S, 3), regions (R, D), or why there are none
_Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (B, S, S, 3) -> (B, R, D)


def _mirror(key: str) -> str:
    return f"{key}-flipped"


def _fill_missing(
    store: RowStore,
    images: ImageOptions | None,
    missing: dict[str, _Work],
    failures: dict[str, str],
    encoder: Encoder | None,
    device: torch.device,
    batch: int,
    workers: int,
    graph: bool,
) -> None:
    read = _reader(input_reader(images, *store.shape[:2]))
    in_graph = in_torch = None
    if encoder and images:
        # Damaged pictures alone, which are missing every time, need no graph.
        if graph and any(not isinstance(read(work), ShowtellError) for work in missing.values()):
            in_graph = _in_graph(encoder)
        if in_graph is None:
            in_torch = _in_torch(encoder, device)
    streams = min(torch.get_num_threads(), GRAPH_STREAMS) if in_graph else max(workers, 1)
    keys = iter(missing)
    bar = tqdm(
        total=len(missing),
        desc="features" if encoder else "pixels",
        unit=" pictures",
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
    )
    parts = _made(partial(_make, read, in_graph), list(missing.values()), batch, streams)
    with bar, closing(parts):
        for loaded in parts:
            named = [(next(keys), made) for made in loaded]
            for key, made in named:
                if isinstance(made, FeatureError):
                    raise made
                if isinstance(made, ImageError):
                    failures[missing[key].example.id] = str(made)
            good = [(key, made) for key, made in named if not isinstance(made, ShowtellError)]
            if good:
                values: NDArray[Any] = np.stack([made for _, made in good])  # (B, S, S, 3) or (B, R, D)
                mask = None
                if images is None:
                    values, mask = apart(values)  # (B, R, D), (B, R)
                elif in_torch:
                    values = in_torch(values)  # (B, R, D)
                store.append([key for key, _ in good], values, mask)
            bar.update(len(loaded))


def _reader(read: Callable[[Path], NDArray[Any]]) -> Callable[[_Work], _Made]:
    def prepared(work: _Work) -> _Made:
        try:
            made = read(work.example.image)
            return np.ascontiguousarray(made[:, ::-1]) if work.flipped else made
        except (ImageError, FeatureError) as error:  # one bad picture must not end the others of its part
            return error

    return prepared


def _make(read: Callable[[_Work], _Made], encode: _Encode | None, part: Sequence[_Work]) -> list[_Made]:
    """Read a few pictures, and encode them in the same thread where that can be done in several at once."""
    made = [read(work) for work in part]
    good = [one for one in made if not isinstance(one, ShowtellError)]
    if encode is None or not good:
        return made
    regions = iter(encode(np.stack(good)))
    return [one if isinstance(one, ShowtellError) else next(regions) for one in made]


def _made(
    make: Callable[[Sequence[_Work]], list[_Made]], work: Sequence[_Work], batch: int, threads: int
) -> Generator[list[_Made], None, None]:
    """What `make` gives, in order and in lists of `batch`; a few lists are made ahead, so that no thread waits."""
    waiting: deque[Iterator[list[_Made]]] = deque()
    with ThreadPoolExecutor(threads, "showtell-features") as pool:
        try:
            for start in range(0, len(work), batch):
                chosen = work[start : start + batch]
                waiting.append(pool.map(make, [chosen[i : i + PART] for i in range(0, len(chosen), PART)]))
                if len(waiting) > AHEAD:
                    yield list(chain.from_iterable(waiting.popleft()))
            for rest in waiting:
                yield list(chain.from_iterable(rest))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # a user who stops it must not wait for what is ahead


def _in_torch(encoder: Encoder, device: torch.device) -> _Encode:
    """The module as it is."""
    encoder.eval().to(device)

    @torch.inference_mode()
    def regions(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = encoder(torch.from_numpy(pictures).to(device)).cpu().numpy()
        return found

    return regions


def _in_graph(encoder: Encoder) -> _Encode | None:
    """The graph that captioning uses, on a processor up to three times as fast; None where it cannot be made.

    The digits differ from torch's in the last bits of float32, as torch's own do by the size of a batch, the threads
    and the device. The identity of a store therefore does not tell the two apart.
    """
    import onnxruntime

    from showtell.export.graphs import encoder_graph

    if sum(value.nbytes for value in encoder.state_dict().values()) > GRAPH_BYTES:
        return None
    threads = torch.get_num_threads()
    options = onnxruntime.SessionOptions()
    # Threads that go through the network on their own never wait for each other, as those of one run do at every layer.
    options.intra_op_num_threads = -(-threads // min(threads, GRAPH_STREAMS))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        graph = encoder_graph(encoder.cpu()).SerializeToString()
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's errors share no base class. No bundle can be made, and yet it can be trained on
        return None

    def regions(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(["regions"], {"pictures": pictures})[0]
        return found

    return regions


def _fingerprint(identity: dict[str, Any]) -> str:
    return sha256(dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
