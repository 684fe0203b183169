"""docs/serve.md: its examples are run, its numbers and options are those of the code."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live_server import live_server
from server_pictures import picture_file
from showtell.cli.serve import command
from showtell.server import patience, run
from showtell.server.app import create_app
from showtell.server.options import ServeOptions
from showtell.server.service import FETCH_SECONDS, LIMITS

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
ASK = re.search(r"^## Ask for captions\n.*?(?=^## )", TEXT, re.DOTALL | re.MULTILINE)[0]
EXAMPLES = [
    block
    for block in re.findall(r"^```(\w+)\n(.*?)^```", ASK, re.DOTALL | re.MULTILINE)
    if block[0] in ("bash", "python")
]
RUNNERS = {"bash": ("bash", "-eu"), "python": (sys.executable, "-")}


@pytest.fixture(scope="module")
def address(captioner):
    with live_server(create_app(ServeOptions(), {"tiny": captioner})) as address:
        yield address


@pytest.mark.parametrize(("language", "text"), EXAMPLES)
def test_the_examples_say_what_is_in_the_picture(address, tmp_path, language, text):
    if not shutil.which(RUNNERS[language][0]) or ("curl" in text and not shutil.which("curl")):
        pytest.skip(f"needs what runs {language}")
    (tmp_path / "photo.jpg").write_bytes(picture_file("red", form="JPEG"))
    text = text.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(
        RUNNERS[language], input=text, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "a red picture" in done.stdout


def options_of(words):
    """The switches among the words of a command."""
    return {word for word in words if word.startswith("--")}


def test_commands_in_the_document_use_options_that_exist():
    known = {name for parameter in command.params for name in parameter.opts}
    found = set()
    for language, text in BLOCKS:
        for line in text.splitlines():
            if "showtell serve" in line and language in ("", "ini"):
                found |= options_of(shlex.split(line.partition("showtell serve")[2].partition("  ")[0]))
    assert len(found) > 4
    assert found <= known
    entry = re.search(r"ENTRYPOINT \[(.*)\]", TEXT)[1]
    assert options_of(re.findall(r'"([^"]*)"', entry)) <= known
    ours = re.sub(r"^## Clients of other APIs\n.*?(?=^## )", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(--[a-z-]+)", ours)) <= known


def test_limits_in_the_document_are_those_of_the_server():
    options = ServeOptions()
    section = re.search(r"^## Limits\n.*?(?=^## )", TEXT, re.DOTALL | re.MULTILINE)[0]
    told = dict(re.findall(r"^\| ([^|]*?)(?:, told by[^|]*)? \| ([^|]*) \|", section, re.MULTILINE))
    for what, value in (
        ("body of a request", f"{options.max_body_bytes:,} bytes"),
        ("pixels of a picture", f"{options.max_pixels:,}"),
        ("pictures of a request", str(options.max_pictures)),
        ("pictures received, waiting or in work, in each worker", str(options.queue)),
        ("bytes of all bodies and downloads in work, in each worker", f"{options.queue_bytes:,}"),
        ("time for an answer", f"{options.deadline_s:g} s"),
        ("time for a body to come", f"{options.receive_s:g} s"),
        ("time for a head to come", f"{patience.HEAD_SECONDS:g} to {2 * patience.HEAD_SECONDS:g} s"),
        ("time for one download", f"{FETCH_SECONDS:g} s"),
        ("connections, in each worker", f"{run.CONNECTIONS:,}"),
    ):
        assert told[what] == value
    assert f"`--batch` ({options.batch})" in section
    assert f"`--batch-ms` ({options.batch_ms:g})" in section


def test_every_field_and_its_limits_are_in_the_table():
    for name, (_, lowest, highest) in LIMITS.items():
        row = next(line for line in ASK.splitlines() if line.startswith("|") and f"`{name}`" in line)
        assert "2^63 - 1" in row if name == "seed" else f"{lowest:g} to " in row
        assert name == "seed" or f"to {highest}" in row


def verified(unit):
    """What `systemd-analyze verify` says of the unit's file: exit code, and the lines that name it."""
    command = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_unit_of_the_document(tmp_path):
    unit = tmp_path / "showtell.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nDynamicUser=yes\nLoadCredential=a:/etc/a\n")
    if verified(unit) != (0, []):
        pytest.skip("systemd-analyze is too old, or cannot work here")
    [(_, text)] = [block for block in BLOCKS if block[0] == "ini"]
    assert text.count("/opt/showtell/bin/showtell ") == 1
    unit.write_text(text.replace("/opt/showtell/bin/showtell ", "/bin/true "))
    assert verified(unit) == (0, [])
