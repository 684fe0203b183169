"""`showtell info`: versions, paths and devices."""

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from showtell import __version__

_PACKAGES = ("numpy", "pillow", "onnxruntime", "pillow-heif", "torch", "torchvision", "timm", "onnx", "safetensors")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--model", type=click.Path(path_type=Path), metavar="BUNDLE", help="Not the embedded model but this one.")
@click.option("--devices", is_flag=True, help="Ask PyTorch for accelerators too, which takes seconds.")
def command(as_json: bool, model: Path | None, devices: bool) -> int:
    """Tell versions, paths, devices and the embedded model: what to write into a bug report."""
    facts: dict[str, dict[str, Any]] = {
        "versions": _versions(),
        "paths": _paths(),
        "devices": _devices(devices),
        "model": _model(model),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for section, rows in facts.items():
            click.echo(f"{section}:")
            for name, value in rows.items():
                click.echo(f"  {name:<12} {_plain(value)}")
    return 0


def _versions() -> dict[str, str | None]:
    """Versions as installed, without importing anything; None where a package is not there."""
    versions: dict[str, str | None] = {
        "showtell": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _paths() -> dict[str, str]:
    from showtell.model_folder import EMBEDDED

    # timm downloads encoder weights by the Hugging Face hub, which reads these variables in this order.
    home = os.environ.get("HF_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "huggingface"
    )
    return {
        "python": sys.executable,
        "package": str(EMBEDDED.parent.parent),
        "model": str(EMBEDDED),
        "weights": os.environ.get("HF_HUB_CACHE") or str(Path(home) / "hub"),
    }


def _devices(ask_torch: bool) -> dict[str, Any]:
    import onnxruntime

    from showtell.threads import default_threads, usable_cores

    found: dict[str, Any] = {
        "cores": usable_cores(),
        "threads": default_threads(),
        "onnxruntime": onnxruntime.get_available_providers(),
    }
    if ask_torch:
        try:
            import torch
        except ImportError:
            found["cuda"] = None
        else:
            found["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def _model(path: Path | None) -> dict[str, Any]:
    from showtell.bundle import read_manifest
    from showtell.errors import BundleError
    from showtell.model_folder import EMBEDDED, is_embedded

    try:
        manifest, files = read_manifest(EMBEDDED if path is None or is_embedded(path) else path)
    except BundleError as error:
        return {"name": None, "problem": str(error)}
    side = manifest.images.size if manifest.images else 0
    count, size = manifest.regions.count, manifest.regions.size
    return {
        "name": manifest.name,
        "takes": f"pictures of {side} x {side}" if side else f"files of up to {count} regions of {size} numbers",
        "weights": manifest.weights,
        "bytes": sum(entry.bytes for entry in files.values()),
        "licence": manifest.licence,
        "scores": dict(manifest.scores),
    }


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not installed" if value is None else str(value)
