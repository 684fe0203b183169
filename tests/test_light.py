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


def test_captioning_leaves_nothing_in_the_users_home(tiny_bundle, tmp_path):
    from PIL import Image

    picture, home = tmp_path / "x.png", tmp_path / "home"
    Image.new("RGB", (40, 30), "red").save(picture)
    home.mkdir()
    kept = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in kept} | {"HOME": str(home)}
    command = [sys.executable, "-m", "showtell", "caption", "--model", str(tiny_bundle), str(picture)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "a red picture" in done.stdout
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0"), ("", "")])
def test_onnx_runtime_tells_nothing_of_itself_unless_the_user_has_decided(before, after):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if before is None else {"ORT_DISABLE_TELEMETRY": before}
    code = "import os, sys, showtell; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{after} False\n"
