"""The notebooks of examples/, executed as Jupyter does. `python tests/notebooks.py [NAME...]` renews their outputs."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
ENCODER = EXAMPLES / "shapes-encoder.safetensors"
CELL_SECONDS = 300  # a cell that takes longer hangs


def notebooks():
    """Names of the notebooks."""
    return sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))


def read(name):
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def execute(name, folder):
    """Execute a notebook in an empty folder, with nothing there but the encoder; gives it back with its new outputs.

    The command `showtell` is that of this Python. Raises nbclient's errors where a cell fails.
    """
    shutil.copy(ENCODER, folder)
    book = read(name)
    told = book.metadata.copy()
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    try:
        NotebookClient(
            book,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        os.environ["PATH"] = path
    book.metadata = told  # without this machine's version of Python
    return book


def renew(names):
    """Execute notebooks and write them back with their outputs."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SHOWTELL_CACHE"] = f"{folder}/cache"
            work = Path(folder) / "examples"
            work.mkdir()
            nbformat.write(execute(name, work), EXAMPLES / f"{name}.ipynb")
        print(EXAMPLES / f"{name}.ipynb")


if __name__ == "__main__":
    renew(sys.argv[1:] or notebooks())
