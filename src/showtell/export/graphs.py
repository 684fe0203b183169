"""Torch modules -> ONNX graphs with the names that bundles use.

B pictures, K hypotheses of each, S side in pixels, R regions, D region size.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from showtell.errors import ExportError
from showtell.models.decoder import Decoder
from showtell.models.encoder import Encoder

# Tensors smaller than this many values stay float32: they weigh nothing.
SMALLEST_COMPRESSED = 4096


def encoder_graph(encoder: Encoder) -> onnx.ModelProto:
    """`pictures` uint8 (B, S, S, 3) -> `regions` float32 (B, R, D), normalisation inside."""
    return _export(encoder, (encoder.blank(2),), ["pictures"], ["regions"], [{0: "B"}])


def start_graph(decoder: Decoder, encoder: Encoder, masked: bool = False) -> onnx.ModelProto:
    """`regions` (B, R, D), and if `masked` bool `mask` (B, R), -> `memory.*` (B, ...) and `state.*` (B, 1, ...)."""
    inputs = _inputs(encoder, masked)
    with torch.inference_mode():
        memory, state = decoder.start(*inputs.values())
    outputs = [f"memory.{name}" for name in memory] + [f"state.{name}" for name in state]
    return _export(_Start(decoder), tuple(inputs.values()), list(inputs), outputs, [{0: "B"} for _ in inputs])


def step_graph(decoder: Decoder, encoder: Encoder, masked: bool = False) -> onnx.ModelProto:
    """`tokens` int64 (B, K), `memory.*`, `state.*` (B, K, ...) -> `log_probs` (B, K, V), `next.*`, `attention`."""
    with torch.inference_mode():
        memory, state = decoder.start(*_inputs(encoder, masked).values())
        arguments = (
            torch.zeros(2, 3, dtype=torch.int64),
            *memory.values(),
            *(value.repeat(1, 3, *[1] * (value.ndim - 2)) for value in state.values()),
        )
    return _export(
        _Step(decoder, list(memory), list(state)),
        tuple(argument.clone() for argument in arguments),
        ["tokens", *(f"memory.{name}" for name in memory), *(f"state.{name}" for name in state)],
        ["log_probs", *(f"next.{name}" for name in state), "attention"],
        [{0: "B", 1: "K"}, *({0: "B"} for _ in memory), *({0: "B", 1: "K"} for _ in state)],
    )


def compress(model: onnx.ModelProto, weights: str) -> onnx.ModelProto:
    """Store large weights as `fp16`, or `int8` with one scale per output channel; arithmetic stays float32.

    The conversion back is part of the graph; ONNX Runtime does it once, when it loads.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    nodes, initializers = [], []
    transposed = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        too_small = values.size < SMALLEST_COMPRESSED or (weights == "int8" and values.ndim < 2)  # a scale a value
        if tensor.data_type != TensorProto.FLOAT or too_small:
            initializers.append(tensor)
            continue
        stored = f"{tensor.name}.stored"
        if weights == "fp16":
            initializers.append(numpy_helper.from_array(values.astype(np.float16), stored))
            nodes.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        else:
            integers, scale = _integers(values, channel=values.ndim - 1 if tensor.name in transposed else 0)
            initializers += [
                numpy_helper.from_array(integers, stored),
                numpy_helper.from_array(scale, f"{tensor.name}.scale"),
            ]
            nodes += [
                helper.make_node("Cast", [stored], [f"{tensor.name}.cast"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{tensor.name}.cast", f"{tensor.name}.scale"], [tensor.name]),
            ]
    nodes += list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)
    return small


def _integers(values: NDArray[Any], channel: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 and its scale, one for each index of axis `channel`."""
    axes = tuple(axis for axis in range(values.ndim) if axis != channel)
    scale = np.maximum(np.abs(values).max(axes, keepdims=True), 1e-12) / 127
    return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)


class _Start(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, regions: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        memory, state = self.decoder.start(regions, mask)
        return (*memory.values(), *state.values())


class _Step(nn.Module):
    def __init__(self, decoder: Decoder, memory: list[str], state: list[str]) -> None:
        super().__init__()
        self.decoder, self.memory, self.state = decoder, memory, state

    def forward(self, tokens: Tensor, *arrays: Tensor) -> tuple[Tensor, ...]:
        memory = dict(zip(self.memory, arrays, strict=False))
        state = dict(zip(self.state, arrays[len(self.memory) :], strict=True))
        log_probs, new, attention = self.decoder.step(tokens, state, memory)
        return (log_probs, *(new[name] for name in self.state), attention)  # `step` may name them in another order


def _inputs(encoder: Encoder, masked: bool) -> dict[str, Tensor]:
    """What the start graph takes, by name."""
    inputs = {"regions": torch.zeros(2, encoder.region_count, encoder.region_size)}
    return inputs | {"mask": torch.ones(2, encoder.region_count, dtype=torch.bool)} if masked else inputs


def _export(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Sequence[dict[int, str]],
) -> onnx.ModelProto:
    dims = {name: torch.export.Dim(name) for shape in dynamic for name in shape.values()}
    shapes: Any = tuple({axis: dims[name] for axis, name in shape.items()} for shape in dynamic)
    if isinstance(module, _Step):
        shapes = (shapes[0], shapes[1:])  # `tokens`, then `*arrays` as one tuple
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of its own coming changes
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"{type(module).__name__.strip('_').lower()} graph: torch cannot export it ({reason})"
        ) from error
    assert program is not None
    return _strip(program.model_proto)


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes of its machine: source paths, stack traces, names of modules."""
    model.doc_string = ""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        del graph.value_info[:]  # shapes between nodes: readers infer them, and torch 2.11 notes false ones for an LSTM
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return model
