"""Java processes are found, fed and ended, whatever happens; a Python program stands in for Java."""

import importlib.util
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fake_java import install_fake_java, is_running
from showtell.errors import JavaError, MissingExtraError
from showtell.metrics.jvm import JavaProcess, find_program

METEOR = "meteor/meteor-1.5.jar"
HANG = "time.sleep(600)"
ECHO = "for line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"

posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for Java is a shell script")


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Make a Python text the `java` of the test; returns a function of text and timeout that makes its process."""

    def make(program: str, timeout: float = 60.0) -> JavaProcess:
        command = install_fake_java(tmp_path / "bin", monkeypatch, program)
        return JavaProcess("METEOR", [str(command)], timeout)

    return make


@posix
def test_each_line_gets_its_answer_over_many_questions(java):
    with java(ECHO) as process:
        assert process.ask(["a dog", "", "café 🐶"]) == ["a dog", "", "café 🐶"]
        assert process.ask([]) == []
        assert process.ask(["again"]) == ["again"]


@posix
def test_lines_larger_than_any_pipe_in_both_directions_do_not_stop_it(java):
    lines = [letter * 1_000_000 for letter in "abcdefgh"]
    with java(ECHO) as process:
        assert process.ask(lines) == lines


@posix
def test_much_standard_error_does_not_stop_it(java):
    with java("sys.stderr.write('noise\\n' * 100_000)\n" + ECHO) as process:
        assert process.ask(["a"]) == ["a"]


@posix
def test_half_a_surrogate_pair_is_sent_as_a_question_mark(java):
    with java(ECHO) as process:
        assert process.ask(["a \ud83d dog"]) == ["a ? dog"]


@posix
def test_a_hung_program_is_ended_and_told_in_one_line(java, tmp_path):
    with java(HANG, timeout=1.0) as process, pytest.raises(JavaError) as caught:
        process.ask(["four", "b" * 1_000_000])
    assert str(caught.value) == (
        "METEOR: candidate 1 of 2 (4 characters with its references): Java gave no answer in 1 s and was ended; "
        "shorten the captions or allow more time"
    )
    assert not is_running(tmp_path / "bin")


@posix
def test_the_candidate_that_has_no_answer_is_named(java):
    with (
        java("for _ in 'ab': print(sys.stdin.readline().strip(), flush=True)") as process,
        pytest.raises(JavaError) as caught,
    ):
        process.ask(["x", "y", "the one", "z"])
    assert str(caught.value) == (
        "METEOR: candidate 3 of 4 (7 characters with its references): Java ended early: it said nothing"
    )


@posix
def test_a_program_that_ends_early_is_quoted_without_its_stack(java, tmp_path):
    trace = 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\\n\\tat Meteor.main(Meteor.java)\\n'
    with java(f"sys.stderr.write({trace!r}.encode().decode('unicode_escape')); sys.exit(1)") as process:
        with pytest.raises(JavaError) as caught:
            process.ask(["a dog"] * 100_000)  # more than a pipe holds: the writing fails too
        with pytest.raises(JavaError, match="not running"):
            process.ask(["a dog"])
    assert str(caught.value) == (
        "METEOR: candidate 1 of 100000 (5 characters with its references): Java ended early: "
        'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space'
    )
    assert not is_running(tmp_path / "bin")


@posix
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_any_exception_ends_process_and_threads(java, tmp_path, error):
    before = threading.active_count()
    process = java(ECHO + "\n" + HANG)
    with pytest.raises(error):
        _fail_inside(process, error, tmp_path / "bin")
    assert not is_running(tmp_path / "bin")
    assert threading.active_count() == before


def _fail_inside(process, error, folder):
    with process:
        process.ask(["a"])
        assert is_running(folder)
        raise error


@posix
def test_an_interrupt_while_it_waits_ends_the_process(java, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = threading.active_count()
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with java("print('ready', flush=True)\n" + HANG) as process:
            process.ask(["a"])
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                process.ask(["b" * 1_000_000] * 4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert not is_running(tmp_path / "bin")
    assert threading.active_count() == before


@posix
def test_what_a_wrapper_script_started_ends_too(java, tmp_path):
    wrapper = "import subprocess\nchild = subprocess.Popen(['/bin/sleep', '600'], stdout=subprocess.DEVNULL)\n"
    with java(wrapper + "print(child.pid, flush=True)\n" + HANG) as process:
        child = int(process.ask([""])[0])
        assert os.getpgid(child) != os.getpgid(0)
    assert not is_running(tmp_path / "bin")
    for _ in range(1000):  # killed by now, but not ours to wait for
        if not _runs(child):
            break
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process is neither gone nor a zombie, where the system tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@posix
def test_a_command_that_is_no_program_is_told_in_one_line(tmp_path):
    (tmp_path / "java").write_text("")
    with pytest.raises(JavaError, match=r"^METEOR: .*java cannot be started \(Permission denied\)$"):
        JavaProcess("METEOR", [str(tmp_path / "java")], 1.0).__enter__()


@posix
def test_java_home_comes_before_path_and_folders_may_have_spaces(tmp_path, monkeypatch):
    pytest.importorskip("pycocoevalcap")
    home = install_fake_java(tmp_path / "my java" / "bin", monkeypatch, "")
    other = install_fake_java(tmp_path / "other", monkeypatch, "")
    assert find_program("METEOR", METEOR)[0] == str(other)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "my java"))
    assert find_program("METEOR", METEOR)[0] == str(home)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert find_program("METEOR", METEOR)[0] == str(other)


def test_missing_java_is_one_line_that_says_how_to_get_it(tmp_path, monkeypatch):
    pytest.importorskip("pycocoevalcap")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError) as caught:
        find_program("METEOR", METEOR)
    assert str(caught.value) == (
        "METEOR needs a Java runtime, which is neither in $JAVA_HOME nor on PATH: "
        "`apt install default-jre-headless`, or from https://adoptium.net"
    )


def test_all_that_is_missing_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        find_program("SPICE", "spice/spice-1.0.jar")
    assert "pip install 'showtell[java-metrics]'" in str(caught.value)
    assert "https://adoptium.net" in str(caught.value)
    assert "\n" not in str(caught.value)
