"""`showtell info`: facts for a bug report."""

import json
import sys
from importlib import metadata

import pytest

from showtell import __version__
from showtell.cli import main


@pytest.fixture
def info(monkeypatch, capsys):
    def run(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["showtell", "info", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


def test_json_holds_versions_paths_devices_and_the_model(info, monkeypatch, tiny_bundle):
    monkeypatch.setattr("showtell.model_folder.EMBEDDED", tiny_bundle)
    facts = json.loads(info("--json"))
    assert facts["versions"]["showtell"] == __version__
    assert facts["versions"]["numpy"] == metadata.version("numpy")
    assert facts["paths"]["model"] == str(tiny_bundle)
    assert facts["devices"]["cores"] >= 1
    assert "CPUExecutionProvider" in facts["devices"]["onnxruntime"]
    assert facts["model"]["name"] == "tiny"
    assert facts["model"]["scores"] == {"CIDEr": 12.5}
    files = [path for path in tiny_bundle.iterdir() if path.name != "manifest.json"]
    assert facts["model"]["bytes"] == sum(path.stat().st_size for path in files)


def test_text_has_a_section_for_each_and_names_what_is_not_installed(info, monkeypatch, tmp_path):
    def version(package):
        if package == "torch":
            raise metadata.PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr("showtell.model_folder.EMBEDDED", tmp_path / "pocket")
    lines = info().splitlines()
    assert {line for line in lines if not line.startswith(" ")} == {"versions:", "paths:", "devices:", "model:"}
    assert ["torch", "not installed"] in [line.split(maxsplit=1) for line in lines]
    assert any("problem" in line and "no bundle" in line for line in lines)


def test_the_cache_of_weights_follows_the_variables_of_the_hub(info, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "/somewhere/hf")
    assert json.loads(info("--json"))["paths"]["weights"] == "/somewhere/hf/hub"
