"""The command line, run in this process as a user runs it."""

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

from showtell.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str


def showtell(*arguments):
    """Run the command line: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["showtell", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return Result(ended.code, out.getvalue(), err.getvalue())
    raise AssertionError("main always exits")
