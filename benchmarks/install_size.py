"""What an installation without extras takes on the disk, at most 250 MB, and the embedded model in it, at most 20 MB.

    python benchmarks/install_size.py

Makes a new virtual environment, installs this checkout into it as a user's `pip install` would, and
counts the blocks of every file in the environment: showtell, its dependencies, pip itself, and the byte code that pip
compiles. Python's own installation, which the environment links to, is not counted. Needs a package index.
"""

import os
import sys
import tempfile
from pathlib import Path

from common import REPOSITORY, Row, report, run

INSTALL_MEGABYTES = 250
BUNDLE_MEGABYTES = 20


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "venv", folder])
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REPOSITORY])
        where = run([python, "-c", "import showtell; print(showtell.__path__[0])"]).out.strip()
        bundle = Path(where, "assets", "pocket")
        if not (bundle / "manifest.json").is_file():
            raise SystemExit(f"{bundle}: holds no model; expected the one that ships inside the package")
        packages = Path(where).parent
        largest = sorted(((_megabytes(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True)
        rows = [
            Row("environment without extras", _megabytes(Path(folder)), "MB", INSTALL_MEGABYTES),
            *(Row(f"  {name}", size, "MB") for size, name in largest[:8]),
            Row("embedded model", _megabytes(bundle), "MB", BUNDLE_MEGABYTES),
        ]
    return report("on the disk", rows)


def _megabytes(folder: Path) -> float:
    """Disk space of a folder, 10 ** 6 bytes; a file that is linked twice counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            status = Path(place, name).lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                # Windows tells no blocks.
                total += getattr(status, "st_blocks", 0) * 512 or status.st_size
    return total / 1e6


if __name__ == "__main__":
    sys.exit(main())
