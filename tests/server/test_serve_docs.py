"""The examples of the documentation for clients of other APIs, run as they stand against a running server."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live_server import live_server
from scripted_site import PUBLIC, Site, answer
from server_pictures import picture_file
from showtell.server.app import create_app
from showtell.server.fetching import Fetcher
from showtell.server.options import ServeOptions

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "serve.md"
SECTION = re.compile(r"^## Clients of other APIs\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```json\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
EXAMPLES = [found for found in BLOCK.findall(SECTION.search(PAGE.read_text(encoding="utf-8"))[0]) if found[0] != "json"]
RUNNERS = {"bash": ("bash", "-eu"), "js": ("node", "--input-type=module"), "python": (sys.executable, "-")}


@pytest.fixture(scope="module")
def address(captioner):
    app = create_app(ServeOptions(allow_url_fetch=True), {"tiny": captioner})
    site = Site(pages={"/cat.jpg": answer(picture_file("green"))}, names={"photos.example": [PUBLIC]})

    app.state.service.fetcher = Fetcher(max_bytes=100_000, resolve=site.resolve, connect=site.connect_once)
    with live_server(app) as address:
        yield address


def keys(value):
    """The keys of JSON, with those of what is in it; of a list, those of its first member."""
    if isinstance(value, list):
        return [keys(member) for member in value[:1]]
    return {key: keys(member) for key, member in value.items()} if isinstance(value, dict) else None


def test_the_documentation_has_examples_in_each_language():
    assert {language for language, *_ in EXAMPLES} == set(RUNNERS)


@pytest.mark.parametrize(("language", "code", "answer"), EXAMPLES, ids=[f"{e[0]}{n}" for n, e in enumerate(EXAMPLES)])
def test_an_example_runs_as_it_stands(language, code, answer, address, tmp_path):
    runner = RUNNERS[language]
    for program in (runner[0], "curl") if language == "bash" else (runner[0],):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    (tmp_path / "photo.jpg").write_bytes(picture_file("green", form="JPEG"))
    assert "http://127.0.0.1:8000" in code
    code = code.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(runner, input=code, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    if answer:
        assert keys(json.loads(done.stdout)) == keys(json.loads(answer))
    else:
        assert "a green picture" in done.stdout.splitlines()
