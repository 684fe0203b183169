"""Help of every command, and the command lines in the documents, which must be ones that the tool takes."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from command_line import showtell as typed
from showtell.cli import COMMANDS, showtell

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for pattern in ("README.md", "docs/*.md", "examples/*.md", "examples/*.ipynb")
    for path in sorted(REPOSITORY.glob(pattern))
]
HEAVY = ("numpy", "PIL", "onnxruntime", "tqdm", "torch", "timm", "onnx", "safetensors", "matplotlib")

# Prints as JSON what each command path said to --help, and which heavy modules are loaded after all of them.
ALL_HELP = """
import contextlib, io, json, sys
from showtell.cli import COMMANDS, showtell
import click
said = {}
def ask(path):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        showtell.main([*path, "--help"], prog_name="showtell", standalone_mode=False)
    said[" ".join(path)] = out.getvalue()
ask([])
for name in COMMANDS:
    ask([name])
    command = showtell.get_command(click.Context(showtell), name)
    for inner in getattr(command, "commands", ()):
        ask([name, inner])
print(json.dumps([said, [name for name in sys.argv[1:] if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def all_help():
    done = subprocess.run([sys.executable, "-c", ALL_HELP, *HEAVY], capture_output=True, text=True, check=True)
    said, heavy = json.loads(done.stdout)
    return said, heavy


def test_help_of_every_command_needs_no_heavy_import(all_help):
    assert all_help[1] == []


def test_every_command_says_how_it_is_used(all_help):
    said, _ = all_help
    assert {"", *COMMANDS} <= set(said)
    for path, text in said.items():
        assert text.startswith(" ".join(["Usage: showtell", path]).rstrip() + " "), path
        assert len(text.splitlines()) > 4, path


def test_the_list_of_commands_tells_what_each_is_for(all_help):
    for name, line in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", all_help[0][""], re.MULTILINE)


def parse(arguments: list[str]) -> list[str]:
    """Parse a command line as the tool would without running it; gives the path of the command."""
    command: click.Command = showtell
    context = showtell.make_context("showtell", list(arguments), resilient_parsing=False)
    path = []
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert name is not None
        command, context = found, found.make_context(name, rest, parent=context)
        path.append(name)
    return path


def written(document: Path) -> str:
    """A document's text; of a notebook that of its cells, those for the shell as code blocks."""
    text = document.read_text(encoding="utf-8")
    if document.suffix != ".ipynb":
        return text
    cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    return "\n".join(re.sub(r"\A%%sh\n(.*)\Z", r"```sh\n\1\n```", cell, flags=re.DOTALL) for cell in cells)


def documented() -> list[tuple[str, str]]:
    """Every line of a document's code blocks that calls showtell: (document, line)."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", written(document), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(document.name, line) for line in lines if re.match(r"(\.venv/bin/)?showtell\b", line)]
    return found


@pytest.mark.parametrize(("document", "line"), documented())
def test_command_lines_in_the_documents_are_understood(document, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = re.split(r"\s[|>&]\s?|\s2>", line)[0]
    words = shlex.split(arguments, comments=True)[1:]
    for word in words:  # options that take a file which must be there, or a file in a folder which must be there
        if word.endswith((".md", ".txt", ".png")):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
        if word.endswith((".md", ".txt")):
            Path(word).touch()
    if words != ["--version"] and "--help" not in words:
        assert parse(words)


@pytest.mark.parametrize(("document", "line"), [entry for entry in documented() if "--set" in entry[1]])
def test_settings_in_the_documents_are_keys_of_recipes(document, line):
    from showtell.recipe_reader import read_recipe

    def toml_of(text):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"value = {text}")["value"]

    words = shlex.split(line, comments=True)
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    recipe = read_recipe("pocket", settings).to_dict()
    for key, _, value in (setting.partition("=") for setting in settings):
        table, name = key.split(".")
        assert recipe[table][name] in (value, toml_of(value))  # text needs no quotes


def test_readme_holds_command_lines_to_check():
    commands = {
        words[1] for document, line in documented() if document == "README.md" and len(words := line.split()) > 1
    }
    assert {"caption", "data", "train", "evaluate", "export"} <= commands


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total capacity of"),
    ],
)
def test_too_little_memory_is_one_line_that_tells_what_to_take_less_of(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("showtell.cli.showtell.main", fail)
    result = typed("train")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "not enough memory" in result.err
    assert "take fewer pictures at a time" in result.err
    assert "unexpected" not in result.err


def test_an_error_of_none_of_ours_is_one_line(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("first\nsecond line " + "x" * 9000)

    monkeypatch.setattr("showtell.cli.showtell.main", fail)
    result = typed("train")
    assert result.err.startswith("showtell: unexpected RuntimeError: first second line xxx")
    assert result.err.count("\n") == 1
    assert len(result.err) < 700
