"""One JPEG of 640 x 480 pixels, from path to caption inside a running process, beam 3, two threads: at most 30 ms.

    python benchmarks/latency.py [BUNDLE]

The median of 100 captions of different photos counts, after 10 that warm up. Where PyTorch is installed, the same
architecture runs in eager PyTorch too, with the same photos: its weights are random, which changes no speed, and both
are made to say exactly ten words, as random weights know no end. PyTorch's threads wait actively and slow each other
down where other programs use the cores, so it is timed with one thread as well as with two, and the better counts.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from common import Row, make_photos, report, two_cores
from showtell import Captioner
from showtell.backend import BundleBackend
from showtell.decoding.options import DecodeOptions
from showtell.model_folder import EMBEDDED

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
        asked = _time(photos, lambda photo: captioner.caption(photo, beam_width=BEAM))
        rows = [Row(f"path to caption, beam {BEAM}", asked, "ms", MILLISECONDS)]
        if find_spec("torch") and find_spec("timm") and backend.manifest.recipe:
            same = _time(photos, lambda photo: captioner.caption(photo, same_length))
            rows.append(Row(f"  of {WORDS} words", same, "ms"))
            peer = min(_time(photos, _in_torch(backend, same_length, threads)) for threads in (1, THREADS))
            rows.append(Row(f"  of {WORDS} words, PyTorch eager", peer, "ms"))
    return report(f"in one process, {THREADS} threads, median of {COUNT}", rows)


def _time(photos: Sequence[Path], program: Callable[[Path], Any]) -> float:
    """The median time of a program for one photo, milliseconds."""
    milliseconds = []
    for photo in photos:
        began = time.perf_counter()
        program(photo)
        milliseconds.append(1000 * (time.perf_counter() - began))
    return median(milliseconds[WARM_UP:])


def _in_torch(backend: BundleBackend, options: DecodeOptions, threads: int) -> Callable[[Path], Any]:
    """The bundle's architecture in PyTorch with random weights, from path to sentence."""
    import torch

    from showtell.decoding.search import generate
    from showtell.models import build_decoder
    from showtell.models.build_encoder import build_encoder
    from showtell.recipe_reader import recipe_from_dict
    from showtell.training.arrays import TorchArrays
    from showtell.training.validation import TorchDecoder

    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    recipe = recipe_from_dict(backend.manifest.recipe)
    encoder = build_encoder(dataclasses.replace(recipe.encoder, pretrained=False)).eval()
    module = build_decoder(recipe, encoder, len(backend.vocabulary)).eval()
    decoder = TorchDecoder(module, None, cpu)

    @torch.inference_mode()
    def caption(photo: Path) -> Any:
        pixels = torch.from_numpy(backend.read(photo)[None])  # (1, S, S, 3)
        return generate(decoder, encoder(pixels), options, TorchArrays(cpu))

    return caption


if __name__ == "__main__":
    sys.exit(main())
