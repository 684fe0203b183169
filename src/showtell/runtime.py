"""ONNX Runtime: the graphs of a bundle as an encoder and a step decoder.

B pictures, S side of a picture, R regions, D region size, K hypotheses per picture, V words, T words of a caption.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from showtell.bundle import Bundle
from showtell.decoding.arrays import NumpyArrays
from showtell.decoding.options import DecodeOptions
from showtell.decoding.search import Search
from showtell.errors import BundleError
from showtell.region_files import apart
from showtell.threads import default_threads
from showtell.vocabulary import PAD, START, UNKNOWN

BANNED = (PAD, START, UNKNOWN)  # words that no caption may hold
# Pictures in one call of the encoder, however large the batch: beyond, its layers outgrow a processor's cache, and with
# MobileNetV2 sixteen cost 1.5 times the time and 150 MB more. Decoding gains from every picture.
ENCODER_PICTURES = 4
_MEMORY, _STATE, _NEXT = "memory.", "state.", "next."


class OnnxDecoder:
    """A `StepDecoder` (see `decoding/protocol.py`) over the start and step graphs."""

    def __init__(self, start: onnxruntime.InferenceSession, step: onnxruntime.InferenceSession) -> None:
        self._start, self._step = start, step
        self._masked = any(value.name == "mask" for value in start.get_inputs())
        self._start_outputs = [output.name for output in start.get_outputs()]
        self._step_inputs = {value.name for value in step.get_inputs()}
        self._states = [name.removeprefix(_STATE) for name in self._start_outputs if name.startswith(_STATE)]
        self._step_outputs = ["log_probs", "attention", *(_NEXT + name for name in self._states)]

    def start(self, regions: NDArray[np.float32]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Regions (B, R, D), NaN where a picture has fewer -> memory arrays (B, ...), state arrays (B, 1, ...)."""
        feeds = dict(zip(("regions", "mask"), apart(regions), strict=True)) if self._masked else {"regions": regions}
        values = dict(zip(self._start_outputs, self._start.run(None, feeds), strict=True))
        memory = {name: value for name, value in values.items() if name.startswith(_MEMORY)}
        state = {name.removeprefix(_STATE): value for name, value in values.items() if name.startswith(_STATE)}
        return memory, state

    def step(
        self, tokens: NDArray[np.int64], state: Mapping[str, Any], memory: Mapping[str, Any]
    ) -> tuple[NDArray[np.float32], dict[str, Any], NDArray[np.float32]]:
        """Tokens (B, K) -> log-probabilities (B, K, V), new state, attention (B, K, R)."""
        feeds = {"tokens": tokens, **memory, **{_STATE + name: value for name, value in state.items()}}
        feeds = {name: value for name, value in feeds.items() if name in self._step_inputs}
        log_probs, attention, *new = self._step.run(self._step_outputs, feeds)
        return log_probs, dict(zip(self._states, new, strict=True)), attention


class OnnxModel:
    """Encoder and decoder of one bundle on the CPU. Safe to call from several threads."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """`threads` are those of one call into ONNX Runtime; None is all cores up to four. Raises `BundleError`."""
        threads = threads or default_threads()
        sessions = {name: _session(bundle, name, threads) for name in bundle.graphs}
        self._encoder = sessions.get("encoder.onnx")
        _check_graphs(bundle, sessions)
        self.decoder = OnnxDecoder(sessions["start.onnx"], sessions["step.onnx"])

    def encode(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (B, S, S, 3), 0..255 -> regions (B, R, D); without an encoder regions, as they are."""
        if self._encoder is None:
            return pixels
        parts = [pixels[i : i + ENCODER_PICTURES] for i in range(0, max(len(pixels), 1), ENCODER_PICTURES)]
        return np.concatenate([self._encoder.run(["regions"], {"pictures": part})[0] for part in parts])

    def search(self, options: DecodeOptions, *, with_attention: bool = False) -> Search:
        """A search that regions (B, R, D) can be added to, NaN where a picture has fewer."""
        return Search(self.decoder, options, NumpyArrays(), banned=BANNED, with_attention=with_attention)


def _session(bundle: Bundle, name: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: results go to stdout, and stderr is for people
    # Spinning threads win microseconds and cost whole cores, which the reading of pictures needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The graph was checked as ONNX; bytes must not be taken for ONNX Runtime's own format, which was not.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(bundle.graphs[name], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(
            f"{bundle.path / name}: ONNX Runtime refuses it ({reason}); export the bundle again"
        ) from error


def _check_graphs(bundle: Bundle, sessions: Mapping[str, onnxruntime.InferenceSession]) -> None:
    """The graphs must fit each other, the manifest and the vocabulary."""
    manifest, regions = bundle.manifest, bundle.manifest.regions
    start, step = sessions["start.onnx"], sessions["step.onnx"]
    states = {v.name.removeprefix(_STATE) for v in start.get_outputs() if v.name.startswith(_STATE)}
    given = {v.name for v in start.get_outputs()} | {"tokens"}
    taken = {"encoder.onnx": {"pictures"}, "start.onnx": {"regions", "mask"} if manifest.masked else {"regions"}}
    for name, expected in taken.items():
        if name in sessions:
            _expect(bundle, name, expected, {v.name for v in sessions[name].get_inputs()}, "inputs")
    needed = {v.name for v in step.get_inputs()} - given
    if needed:
        raise BundleError(f"{bundle.path / 'step.onnx'}: needs {sorted(needed)}, which start.onnx does not give")
    made = {v.name for v in step.get_outputs()}
    _expect(bundle, "step.onnx", {"log_probs", "attention"} | {_NEXT + s for s in states}, made, "outputs")
    side = manifest.images.size if manifest.images else None
    for name, value, shape in (
        ("encoder.onnx", "pictures", (None, side, side, 3)),
        ("encoder.onnx", "regions", (None, regions.count, regions.size)),
        ("start.onnx", "regions", (None, regions.count, regions.size)),
        ("step.onnx", "log_probs", (None, None, len(bundle.vocabulary))),
    ):
        if name not in sessions:
            continue
        values = (*sessions[name].get_inputs(), *sessions[name].get_outputs())
        found: list[Any] = next((v.shape for v in values if v.name == value), [])
        # A size that the graph leaves open is text or None.
        differing = any(a != b for a, b in zip(shape, found, strict=False) if a is not None and isinstance(b, int))
        if len(found) != len(shape) or differing:
            raise BundleError(
                f"{bundle.path / name}: {value} has shape {found}, manifest and vocabulary say {list(shape)}; "
                "export the bundle again"
            )


def _expect(bundle: Bundle, name: str, expected: set[str], found: set[str], what: str) -> None:
    if expected != found:
        raise BundleError(
            f"{bundle.path / name}: {what} are {sorted(found)}, expected {sorted(expected)}; export again"
        )
