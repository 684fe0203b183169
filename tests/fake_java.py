"""A program in Java's place: a Python text run as `java`, alone on PATH."""

import os
import shlex
import sys
from pathlib import Path

import pytest


def install_fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """Make `program` the `java` of this test; it gets Java's arguments as `sys.argv[1:]`. Returns the command's path.

    Before anything else it writes its process id to `pid` in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = f"import os, sys, time, json\nopen({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    (folder / "program.py").write_text(start + program)
    command = folder / "java"
    script = shlex.join([sys.executable, "-I", "-S", str(folder / "program.py")])
    command.write_text(f'#!/bin/sh\nexec {script} "$@"\n')
    command.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    return command


def is_running(folder: Path) -> bool:
    """Whether the fake that was installed in `folder` is there still, as a zombie too.

    One that was ended before it could write its id is not.
    """
    path = folder / "pid"
    text = path.read_text() if path.exists() else ""
    try:
        os.kill(int(text), 0)
    except (ProcessLookupError, ValueError):
        return False
    return True
