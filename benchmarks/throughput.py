"""`showtell caption FOLDER` with 1,000 distinct photos on two cores: at least 60 photos a second, in bounded memory.

    python benchmarks/throughput.py [BUNDLE]

The whole process counts, its start included. Memory after 1,000 photos may be 20 MB above that after 100. Three runs of
each, in turn; the median speed and the largest memory count. For a peer see latency.py: a folder in PyTorch would need
a loader of its own, and the comparison would be one of loaders.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from common import Finished, Row, make_photos, report, run, showtell, two_cores

RUNS = 3
FEW, MANY = 100, 1000
PHOTOS_PER_SECOND = 60
GROWTH = 20  # MB


def main() -> int:
    two_cores()
    model = ["--model", sys.argv[1]] if len(sys.argv) > 1 else []
    measured: dict[int, list[Finished]] = {FEW: [], MANY: []}
    with tempfile.TemporaryDirectory() as folder:
        folders = {count: Path(folder, str(count)) for count in measured}
        for count, photos in folders.items():
            make_photos(photos, count)
        for _ in range(RUNS):
            for count, photos in folders.items():
                finished = run([showtell(), "caption", *model, photos])
                if (lines := finished.out.count("\n")) != count:
                    raise SystemExit(f"{lines} captions for {count} photos; expected one each")
                measured[count].append(finished)
    memory = {count: max(f.megabytes for f in runs) for count, runs in measured.items()}
    return report(
        f"whole process, {MANY:,} photos of 640 x 480, {RUNS} runs",
        [
            Row("speed", MANY / median(f.seconds for f in measured[MANY]), "photos/s", PHOTOS_PER_SECOND, True),
            Row(f"memory at {FEW}", memory[FEW], "MB"),
            Row(f"memory at {MANY:,}", memory[MANY], "MB", round(memory[FEW] + GROWTH, 1)),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
