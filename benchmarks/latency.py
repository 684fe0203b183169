"""One JPEG of 640 x 480 pixels, from path to caption inside a running process, beam 3, two threads: at most 30 ms.

    python benchmarks/latency.py [BUNDLE]

The median of 100 captions of different photos counts, after 10 that warm up. Where PyTorch is installed, the same
architecture runs in eager PyTorch too, in turn with the bundle, photo by photo: its weights are random, which changes
no speed, and both are made to say exactly ten words, as random weights know no end.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from common import Row, make_photos, report, two_cores
from showtell import Captioner
from showtell.bundle import EMBEDDED
from showtell.captioner import BundleBackend
from showtell.decoding.options import DecodeOptions
from showtell.images import read_pixels

THREADS = 2
BEAM = 3
WARM_UP, COUNT = 10, 100
MILLISECONDS = 30
WORDS = 10  # of every sentence, where two programs are compared


def main() -> int:
    two_cores()
    backend = BundleBackend(sys.argv[1] if len(sys.argv) > 1 else EMBEDDED, threads=THREADS)
    captioner = Captioner(backend, threads=THREADS)
    same_length = dataclasses.replace(captioner.decoding, beam_width=BEAM, min_words=WORDS, max_words=WORDS)
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder), WARM_UP + COUNT)
        rows = _time(photos, {f"path to caption, beam {BEAM}": lambda photo: captioner.caption(photo, beam_width=BEAM)})
        rows = [dataclasses.replace(rows[0], asked=MILLISECONDS)]
        if find_spec("torch") and find_spec("timm") and backend.manifest.recipe:
            rows += _time(
                photos,
                {
                    f"  of {WORDS} words": lambda photo: captioner.caption(photo, same_length),
                    f"  of {WORDS} words, PyTorch eager": _in_torch(backend, same_length),
                },
            )
    return report(f"in one process, {THREADS} threads, median of {COUNT}", rows)


def _time(photos: Sequence[Path], programs: Mapping[str, Callable[[Path], Any]]) -> list[Row]:
    """The median time of each program, which take turns photo by photo."""
    milliseconds: dict[str, list[float]] = {name: [] for name in programs}
    for number, photo in enumerate(photos):
        for name, program in programs.items():
            began = time.perf_counter()
            program(photo)
            if number >= WARM_UP:
                milliseconds[name].append(1000 * (time.perf_counter() - began))
    return [Row(name, median(times), "ms") for name, times in milliseconds.items()]


def _in_torch(backend: BundleBackend, options: DecodeOptions) -> Callable[[Path], Any]:
    """The bundle's architecture in PyTorch with random weights, from path to sentence."""
    import torch

    from showtell.decoding.search import generate
    from showtell.models import build_decoder
    from showtell.models.encoder import build_encoder
    from showtell.recipe import recipe_from_dict
    from showtell.training.arrays import TorchArrays
    from showtell.training.validation import TorchDecoder

    torch.set_num_threads(THREADS)
    cpu = torch.device("cpu")
    recipe = recipe_from_dict(backend.manifest.recipe)
    encoder = build_encoder(dataclasses.replace(recipe.encoder, pretrained=False)).eval()
    module = build_decoder(recipe, encoder.region_size, len(backend.vocabulary)).eval()
    decoder = TorchDecoder(module, None, cpu)

    @torch.inference_mode()
    def caption(photo: Path) -> Any:
        pixels = torch.from_numpy(read_pixels(photo, backend.images)[None])  # (1, S, S, 3)
        return generate(decoder, encoder(pixels), options, TorchArrays(cpu))

    return caption


if __name__ == "__main__":
    sys.exit(main())
