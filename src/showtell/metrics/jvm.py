"""Java programs of scores: found, started, fed and always ended."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Self

from showtell.errors import JavaError, MissingExtraError

_GET_JARS = "the programs that pycocoevalcap carries: pip install 'showtell[java-metrics]'"
_GET_JAVA = (
    "a Java runtime, which is neither in $JAVA_HOME nor on PATH: "
    "`apt install default-jre-headless`, or from https://adoptium.net"
)
_POSIX = os.name == "posix"


def find_program(name: str, file: str) -> tuple[str, Path]:
    """The Java command and a file of pycocoevalcap, which is not imported; `name` is the score that needs them.

    Raises `MissingExtraError`, one line that names all that is missing and how to get it.
    """
    jar, java = _find_file(file), _find_java()
    if jar is None or java is None:
        missing = [text for text, found in ((_GET_JARS, jar), (_GET_JAVA, java)) if found is None]
        raise MissingExtraError(f"{name} needs {'; and '.join(missing)}")
    return java, jar


def _find_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    found = (home and shutil.which("java", path=str(Path(home) / "bin"))) or shutil.which("java")
    return os.path.abspath(found) if found else None  # noqa: PTH100, resolving links would leave java's own folder


def _find_file(file: str) -> Path | None:
    package = importlib.util.find_spec("pycocoevalcap")
    folders = (package and package.submodule_search_locations) or ()
    return next((path for path in (Path(folder).absolute() / file for folder in folders) if path.is_file()), None)


class JavaProcess:
    """A Java program that runs while its `with` block does.

    It reads nothing and writes nothing but its pipes and the files that its arguments name. Leaving the block, by an
    exception too, ends it and whatever it started. Every failure is one `JavaError` with the last line it said.
    """

    def __init__(self, name: str, command: Sequence[str], timeout: float, folder: Path | None = None) -> None:
        """`timeout` in seconds, of one answer or of the whole run; `folder` is the one that it runs in."""
        self._name, self.command, self._timeout, self._folder = name, command, timeout, folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        # A file, as nobody reads while it runs and a full pipe would stop it.
        self._said = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=self._folder,
                process_group=0 if _POSIX else None,  # so that a wrapper script around Java ends with it
            )
        except OSError as error:
            self._said.close()
            raise JavaError(f"{self._name}: {self.command[0]} cannot be started ({error.strerror})") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = self._process.stdin
        self._answers: SimpleQueue[bytes | None] = SimpleQueue()  # None: there is no more
        self._reader = Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def ask(self, lines: Sequence[str]) -> list[str]:
        """Write lines, which must hold no line ends, and return the line it answers to each.

        Raises `JavaError` where it ends early or an answer takes too long, and ends it, as whatever stops this does.
        """
        if self._process is None:
            raise JavaError(f"{self._name}: Java is not running; ask inside of a `with` block, and not after a failure")
        # Written beside the reading: both pipes are full at times, and neither side may wait for the other then.
        writer = Thread(target=_write, args=(self._input, lines), daemon=True)
        writer.start()
        try:
            answers = [self._answer(f"{n} of {len(lines)}", line) for n, line in enumerate(lines, start=1)]
        except BaseException:  # an interrupt too: the next answer would be one to these lines
            self.close()
            raise
        finally:
            writer.join()
        return answers

    def finish(self) -> None:
        """Wait for its end. Raises `JavaError` where it takes too long or ends with an error."""
        assert self._process is not None
        try:
            code = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            raise JavaError(
                f"{self._name}: Java was not done in {self._timeout:g} s and was ended; allow more time"
            ) from None
        if code:
            raise JavaError(f"{self._name}: Java ended with exit code {code}: {self._last_words()}")

    def close(self) -> None:
        """End it now, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.wait()
        with suppress(OSError):  # what was not written yet never will be
            self._input.close()
        self._reader.join()
        self._said.close()

    def _answer(self, place: str, line: str) -> str:
        where = f"{self._name}: candidate {place} ({len(line)} characters with its references)"
        try:
            answer = self._answers.get(timeout=self._timeout)
        except Empty:
            raise JavaError(
                f"{where}: Java gave no answer in {self._timeout:g} s and was ended; shorten the captions or allow "
                "more time"
            ) from None
        if answer is None:
            raise JavaError(f"{where}: Java ended early: {self._last_words()}")
        return answer.decode("utf-8", "replace").strip()

    def _last_words(self) -> str:
        """The last line of its standard error that is no frame of a stack trace."""
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(self._said.tell() - 65536, 0))
        lines = self._said.read().decode("utf-8", "replace").splitlines()
        return next((line for line in reversed(lines) if line.strip() and not line[0].isspace()), "it said nothing")[
            :300
        ]


def _read(pipe: IO[bytes], answers: "SimpleQueue[bytes | None]") -> None:
    with pipe:
        for line in pipe:
            answers.put(line)
    answers.put(None)


def _write(pipe: IO[bytes], lines: Sequence[str]) -> None:
    with suppress(OSError, ValueError):  # it has ended, or its pipe is closed: the reader tells
        for line in lines:
            pipe.write(line.encode("utf-8", "replace") + b"\n")  # half a surrogate pair becomes a question mark
        pipe.flush()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is not None:  # waited for, so the number may belong to another by now
        return
    if _POSIX:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
