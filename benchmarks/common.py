"""What every benchmark shares: two cores, a child process measured, a table of asked and measured."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# As showtell does: what is compared with it must not be slower for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# ru_maxrss is in KiB, on macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Row:
    """One figure. `asked` is the bar: at most that, or at least where `at_least` is set; None only tells the figure."""

    what: str
    measured: float
    unit: str
    asked: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.asked is None:
            return True
        return self.measured >= self.asked if self.at_least else self.measured <= self.asked


@dataclass(frozen=True)
class Finished:
    """A child process that has ended well."""

    seconds: float  # from start to end
    megabytes: float  # the most memory that was resident at once
    out: str


def report(title: str, rows: Sequence[Row]) -> int:
    """Print the table; 0 if every bar is met, else 1: the exit code of the script."""
    print(title)
    width = max(len(row.what) for row in rows)
    print(f"  {'':<{width}}  {'asked':>16}  {'measured':>16}")
    for row in rows:
        sign = ">=" if row.at_least else "<="
        asked = "" if row.asked is None else f"{sign} {row.asked:g} {row.unit}"
        verdict = "" if row.asked is None else ("  met" if row.met else "  MISSED")
        print(f"  {row.what:<{width}}  {asked:>16}  {f'{row.measured:.4g} {row.unit}':>16}{verdict}")
    return 0 if all(row.met for row in rows) else 1


def two_cores() -> None:
    """Keep this process and its children on two processor cores, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def machine(*parts: str) -> str:
    """One line that says what the figures are of: processor, cores, Python, and libraries with their versions."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        models = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "; ".join([name, f"{cores} cores", f"Python {platform.python_version()}", *parts])


def run(arguments: Sequence[str | Path]) -> Finished:
    """Run a program to its end and measure it. Raises `SystemExit` with its own message where it fails.

    The caller should be small: a new process starts as a copy of it, and its first size counts as the child's.
    """
    # Byte code that is never kept would be compiled anew in every run, which no user's installation does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    child = subprocess.Popen([str(part) for part in arguments], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    with child.stdout:
        out = child.stdout.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: exit code {child.returncode}")
    return Finished(seconds, usage.ru_maxrss * _RSS_UNIT / 1e6, out)


def showtell() -> Path:
    """The command beside the Python that runs this script."""
    command = Path(sys.executable).with_name("showtell")
    if not command.exists():
        raise SystemExit(f"{command}: not there; install the package for this Python: pip install -e .")
    return command


def make_photos(folder: Path, count: int) -> list[Path]:
    """Fill a folder with distinct photos (see photos.py), in a process of its own, and give their paths in order."""
    run([sys.executable, Path(__file__).with_name("photos.py"), folder, str(count)])
    return sorted(folder.glob("*.jpg"))
