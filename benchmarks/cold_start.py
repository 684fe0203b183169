"""`showtell caption one.jpg` as a whole process, on two cores and a warm disk: at most 0.8 s and 250 MB resident.

    python benchmarks/cold_start.py [BUNDLE]

One run warms the disk, then the median time and the largest memory of eleven runs count. Beside it, in turn: Python
with the three libraries that any such program must import, and nothing else. There is no other peer: a captioner on
PyTorch needs longer than the bar to import its libraries.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from common import Finished, Row, make_photos, report, run, showtell, two_cores

RUNS = 11
SECONDS = 0.8
MEGABYTES = 250
LEAST = [sys.executable, "-c", "import numpy, onnxruntime, PIL.Image"]


def main() -> int:
    two_cores()
    model = ["--model", sys.argv[1]] if len(sys.argv) > 1 else []
    captioning: list[Finished] = []
    least: list[Finished] = []
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [showtell(), "caption", *model, make_photos(Path(folder), 1)[0]]
        run(command)
        for _ in range(RUNS):
            captioning.append(run(command))
            least.append(run(LEAST))
    return report(
        f"whole process, one photo, {RUNS} runs",
        [
            Row("median time", median(f.seconds for f in captioning), "s", SECONDS),
            Row("largest memory", max(f.megabytes for f in captioning), "MB", MEGABYTES),
            Row("imports alone, median time", median(f.seconds for f in least), "s"),
            Row("imports alone, memory", max(f.megabytes for f in least), "MB"),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
