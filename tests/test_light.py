"""What use must not need, and what --help must not wait for, each in a process of its own."""

import os
import subprocess
import sys

import pytest

from showtell.cli import COMMANDS

HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxscript", "safetensors", "matplotlib", "skimage")


def loaded_after(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running the code."""
    report = f"import sys\n{code}\nprint('LOADED', *(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", report, *arguments], capture_output=True, text=True, check=True)
    line = next(line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


RUN = """
from showtell.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def test_light_side_never_imports_torch():
    loaded = loaded_after("import showtell\nshowtell.Captioner, showtell.load, showtell.DecodeOptions")
    assert loaded.isdisjoint(HEAVY)
    assert "numpy" in loaded


def test_captioning_keeps_nothing_in_the_users_home_and_tells_nobody(tiny_bundle, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "x.png")
    home = tmp_path / "home"
    home.mkdir()
    silencing = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")  # what else keeps ONNX Runtime from it
    places = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "SHOWTELL_CACHE")
    environment = {k: v for k, v in os.environ.items() if k not in (*silencing, *places)} | {"HOME": str(home)}
    command = [sys.executable, "-m", "showtell", "caption", "--model", str(tiny_bundle), str(tmp_path / "x.png")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "a red picture" in done.stdout
    assert not [*home.rglob("*")]


@pytest.mark.parametrize(("asked", "set_to"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_the_switch_of_onnx_runtime_is_the_users(asked, set_to):
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | asked
    code = "import showtell, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == set_to


def test_captioning_a_picture_never_imports_torch(tiny_bundle, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "x.png")
    arguments = [
        "caption",
        "--model",
        str(tiny_bundle),
        "--attention",
        str(tmp_path / "map.png"),
        str(tmp_path / "x.png"),
    ]
    loaded = loaded_after(RUN, *arguments)
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert (tmp_path / "map.png").is_file()


def test_info_never_imports_torch_unasked():
    assert loaded_after(RUN, "info").isdisjoint(HEAVY)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_nothing_heavy(command):
    loaded = loaded_after(RUN, *([command] if command else []), "--help")
    assert loaded.isdisjoint({*HEAVY, "numpy", "onnxruntime", "PIL", "tqdm"})


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import showtell").isdisjoint({*HEAVY, "numpy", "onnxruntime", "PIL", "click", "tqdm"})
