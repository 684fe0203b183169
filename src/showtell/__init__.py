"""Show a picture, tell what is in it."""

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime's own builds, since 1.29, send what they are used for to their makers, and keep an id of the machine in
# the user's home. Captioning is offline. It is read when ONNX Runtime is first imported; who sets it, even to nothing,
# has decided otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from showtell.caption import Caption, Failure
    from showtell.captioner import Captioner, load
    from showtell.decoding.options import DecodeOptions
    from showtell.errors import (
        BundleError,
        CheckpointError,
        DataError,
        EncoderError,
        ExportError,
        FeatureError,
        ImageError,
        JavaError,
        MissingExtraError,
        RecipeError,
        ServeError,
        ShowtellError,
        VocabularyError,
    )

# Public names and the modules that hold them. They load on first use, so that `--help` needs neither numpy nor
# ONNX Runtime.
_PUBLIC = {
    "Caption": "caption",
    "Captioner": "captioner",
    "Failure": "caption",
    "load": "captioner",
    "DecodeOptions": "decoding.options",
} | dict.fromkeys(
    (
        "BundleError",
        "CheckpointError",
        "DataError",
        "EncoderError",
        "ExportError",
        "FeatureError",
        "ImageError",
        "JavaError",
        "MissingExtraError",
        "RecipeError",
        "ServeError",
        "ShowtellError",
        "VocabularyError",
    ),
    "errors",
)

__all__ = [
    "BundleError",
    "Caption",
    "Captioner",
    "CheckpointError",
    "DataError",
    "DecodeOptions",
    "EncoderError",
    "ExportError",
    "Failure",
    "FeatureError",
    "ImageError",
    "JavaError",
    "MissingExtraError",
    "RecipeError",
    "ServeError",
    "ShowtellError",
    "VocabularyError",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'showtell' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"showtell.{_PUBLIC[name]}"), name)
