"""From a recipe to its encoder: a network of timm, with weights and how they want pictures, from a file or a hub."""

import difflib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from showtell.errors import EncoderError, RecipeError
from showtell.images import ImageOptions
from showtell.models.encoder import Encoder, RegionFiles
from showtell.recipe import FILES, EncoderOptions

# How timm names the ways to bring a picture to a square, and how we do.
_FITS = {"center": "crop", "squash": "squash", "border": "pad", "crop": "crop", "pad": "pad"}


def build_encoder(options: EncoderOptions, *, weights: Path | None = None, config: Path | None = None) -> Encoder:
    """Make the encoder of a recipe.

    `weights` is a safetensors file whose `__metadata__` (or else `config`, a JSON file of the same keys: timm_name,
    timm_args, input_size, mean, std, resize, interpolation, licence) is obeyed. Without it timm gives the weights, or
    none where `options.pretrained` is false.
    Raises `EncoderError` where the name or a layer is unknown, or the weights are missing, damaged or do not fit.
    """
    if options.name == FILES:
        return RegionFiles(options)
    if options.regions or options.region_size:
        raise RecipeError(
            f"encoder.regions and encoder.region_size are of regions from files, but encoder.name is {options.name}; "
            "name their folder with --regions DIR, or leave both at 0"
        )
    preparation = _read_config(weights, config) if weights or config else {}
    name = str(preparation.get("timm_name", options.name))
    if name.split(".")[0] != options.name.split(".")[0]:
        raise EncoderError(
            f"{weights or config}: weights of {name}, but the recipe's encoder is {options.name}; "
            f"add --set encoder.name={name} or give other weights"
        )
    last_good = str(preparation.get("last_good", "all"))
    if not options.layer and last_good != "all":
        options = replace(options, layer=last_good)  # nothing behind this layer can be trusted
    options = replace(options, arguments={**_json(preparation.get("timm_args", {})), **options.arguments})
    from_timm = weights is None and options.pretrained
    network = _create(options, pretrained=from_timm)
    images = _images(network, preparation, options)
    if options.layer:
        try:
            network = _cut(create_feature_extractor(network.eval(), {options.layer: "layer"}))
        except ValueError as error:
            raise EncoderError(_no_layer(network, options)) from error
    if weights:
        _load(network, weights)
    licence = str(preparation.get("licence", getattr(network, "pretrained_cfg", {}).get("license", "") or "unknown"))
    return Encoder(network, options, images, licence if weights or from_timm else "none: random initial weights")


def _no_layer(network: nn.Module, options: EncoderOptions) -> str:
    """What to say where a network has no layer of a name: those that are near, or else those on top."""
    names = [name for name, _ in network.named_modules() if name]
    near = difflib.get_close_matches(options.layer, names, n=4)
    found = f"near are {', '.join(near)}" if near else f"on top are {', '.join(n for n in names if '.' not in n)}"
    return f"{options.name} has no layer {options.layer!r}; {found}"


def _cut(network: Any) -> nn.Module:
    """Drop what stands behind the layer, which torchvision leaves in where it takes batch norms for side effects."""
    used: set[str] = set()
    for graph in (network.train_graph, network.eval_graph):
        graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
        used |= {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    for name, module in list(network.named_modules()):
        if list(module.parameters(recurse=False)) and not any(f"{kept}.".startswith(f"{name}.") for kept in used):
            network.delete_submodule(name)
    network.recompile()
    cut: nn.Module = network
    return cut


def _create(options: EncoderOptions, *, pretrained: bool) -> nn.Module:
    try:
        with _quiet_hub():
            network = timm.create_model(options.name, pretrained=pretrained, num_classes=0, **options.arguments)
    except Exception as error:  # timm raises what its hub client raises: OSError, RuntimeError, its own
        if (name := options.name.split(".")[0]) not in timm.list_models():
            close = difflib.get_close_matches(name, timm.list_models(), n=4)
            raise EncoderError(
                f"timm knows no model {options.name!r}; near are {', '.join(close) or 'none'}; see timm.list_models()"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"{options.name}: timm could not make it ({reason}); "
            "without a network give --encoder-weights FILE.safetensors"
        ) from error
    if not isinstance(network, nn.Module):
        raise EncoderError(f"{options.name}: timm gave {type(network).__name__}, expected a network")
    return network


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Without what the hub's client tells of each try; the last failure is an error, and told as one."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read_config(weights: Path | None, config: Path | None) -> Mapping[str, Any]:
    if config:
        try:
            content = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EncoderError(f"{config}: not a readable JSON file ({error})") from error
        if not isinstance(content, dict):
            raise EncoderError(f"{config}: holds {type(content).__name__}, expected an object of keys")
        return content
    assert weights is not None
    metadata = _open(weights)[1]
    if "timm_name" not in metadata:
        raise EncoderError(
            f"{weights}: no `timm_name` in its metadata, so its preparation of pictures is unknown; "
            "describe it with --encoder-config FILE.json (timm_name, timm_args, input_size, mean, std, resize)"
        )
    return metadata


def _open(weights: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(weights, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{weights}: not a readable safetensors file ({error})") from error


def _load(network: nn.Module, weights: Path) -> None:
    tensors, _ = _open(weights)
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name in own and own[name].shape != tensor.shape:
            raise EncoderError(
                f"{weights}: {name} has shape {tuple(tensor.shape)}, the network's is {tuple(own[name].shape)}"
            )
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing:
        raise EncoderError(
            f"{weights}: {len(missing)} of the network's tensors are missing, {missing[0]} first; "
            "other weights, or an encoder.layer before it?"
        )
    network.load_state_dict({name: tensors[name].float() for name in own if name in tensors}, strict=False)


def _images(network: nn.Module, preparation: Mapping[str, Any], options: EncoderOptions) -> ImageOptions:
    """The preparation that belongs to the weights: their file's word first, else timm's, then the recipe's wishes."""
    theirs = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    size = _json(preparation.get("input_size", theirs["input_size"]))[-1]
    fit = preparation.get("resize", theirs.get("crop_mode", "center"))
    if fit not in _FITS:
        raise EncoderError(f"{options.name}: its metadata says resize {fit!r}, known are {', '.join(_FITS)}")
    interpolation = preparation.get("interpolation", theirs["interpolation"])
    fit = options.fit or _FITS[fit]
    return ImageOptions(
        size=options.size or int(size),
        fit=fit,
        crop_fraction=float(preparation.get("crop_pct", theirs["crop_pct"])) if fit == "crop" else 1.0,
        interpolation=interpolation if interpolation != "random" else "bicubic",
        mean=tuple(_json(preparation.get("mean", theirs["mean"]))),
        std=tuple(_json(preparation.get("std", theirs["std"]))),
    )


def _json(value: Any) -> Any:
    """Metadata of a safetensors file is text; a JSON file's values are not."""
    return json.loads(value) if isinstance(value, str) else value
