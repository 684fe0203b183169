"""A tiny bundle with hand-made graphs that really looks at pictures: it says "a COLOUR picture" of the mean colour.

The chain of words is <start> -> a -> red | green | blue -> picture -> <end>, each with logit 10 against 0, and after
"a" the colours have logit 8 * (mean of that channel, 0..1). Attention is the softmax of 4 * brightness over the grid.

B pictures, S side of a picture, R = 4 regions of a 2 x 2 grid, D = 3 (mean R, G, B of the region, 0..1), K hypotheses.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from showtell.bundle import Manifest, RegionGeometry, write_bundle
from showtell.decoding.options import DecodeOptions
from showtell.images import ImageOptions
from showtell.vocabulary import END, SPECIALS, START, Vocabulary

SIZE, GRID = 32, (2, 2)
VOCABULARY = Vocabulary((*SPECIALS, "a", "red", "green", "blue", "picture"))
WORDS = VOCABULARY.ids
CHAIN_LOGIT, COLOUR_LOGIT, ATTENTION_SHARPNESS = 10.0, 8.0, 4.0


def encoder_model() -> onnx.ModelProto:
    half = SIZE // 2
    nodes = [
        helper.make_node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "full"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "blocks"], ["blocked"]),  # (B, 2, S/2, 2, S/2, 3)
        helper.make_node("ReduceMean", ["blocked", "within"], ["means"], keepdims=0),  # (B, 2, 2, 3)
        helper.make_node("Reshape", ["means", "rows"], ["regions"]),  # (B, 4, 3)
    ]
    constants = {
        "full": np.float32(255),
        "blocks": np.array([0, 2, half, 2, half, 3], np.int64),
        "within": np.array([2, 4], np.int64),
        "rows": np.array([0, 4, 3], np.int64),
    }
    inputs = [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["B", SIZE, SIZE, 3])]
    outputs = [helper.make_tensor_value_info("regions", TensorProto.FLOAT, ["B", 4, 3])]
    return model("encoder", nodes, inputs, outputs, constants)


def start_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Identity", ["regions"], ["memory.regions"]),
        helper.make_node("ReduceMean", ["regions", "places"], ["state.colour"], keepdims=1),  # (B, 1, 3)
    ]
    inputs = [helper.make_tensor_value_info("regions", TensorProto.FLOAT, ["B", 4, 3])]
    outputs = [
        helper.make_tensor_value_info("memory.regions", TensorProto.FLOAT, ["B", 4, 3]),
        helper.make_tensor_value_info("state.colour", TensorProto.FLOAT, ["B", 1, 3]),
    ]
    return model("start", nodes, inputs, outputs, {"places": np.array([1], np.int64)})


def step_model() -> onnx.ModelProto:
    size = len(VOCABULARY)
    table = np.zeros((size, size), np.float32)  # row: last word, column: logit of the next
    table[START, WORDS["a"]] = CHAIN_LOGIT
    for colour in ("red", "green", "blue"):
        table[WORDS[colour], WORDS["picture"]] = CHAIN_LOGIT
    table[WORDS["picture"], END] = CHAIN_LOGIT
    after_a = np.zeros((size, 1), np.float32)
    after_a[WORDS["a"]] = COLOUR_LOGIT
    to_words = np.zeros((3, size), np.float32)
    for channel, colour in enumerate(("red", "green", "blue")):
        to_words[channel, WORDS[colour]] = 1
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["chain"]),  # (B, K, V)
        helper.make_node("Gather", ["after_a", "tokens"], ["told"]),  # (B, K, 1)
        helper.make_node("MatMul", ["state.colour", "to_words"], ["colours"]),  # (B, K, V)
        helper.make_node("Mul", ["colours", "told"], ["asked"]),
        helper.make_node("Add", ["chain", "asked"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"], axis=-1),
        helper.make_node("Identity", ["state.colour"], ["next.colour"]),
        helper.make_node("ReduceMean", ["memory.regions", "channels"], ["brightness"], keepdims=0),  # (B, R)
        helper.make_node("Mul", ["brightness", "sharpness"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["one"], axis=-1),
        helper.make_node("Unsqueeze", ["one", "middle"], ["each"]),  # (B, 1, R)
        helper.make_node("Shape", ["tokens"], ["batch_and_k"]),
        helper.make_node("Concat", ["batch_and_k", "unit"], ["wide"], axis=0),
        helper.make_node("Expand", ["each", "wide"], ["attention"]),  # (B, K, R)
    ]
    constants = {
        "table": table,
        "after_a": after_a,
        "to_words": to_words,
        "channels": np.array([2], np.int64),
        "sharpness": np.float32(ATTENTION_SHARPNESS),
        "middle": np.array([1], np.int64),
        "unit": np.array([1], np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "K"]),
        helper.make_tensor_value_info("memory.regions", TensorProto.FLOAT, ["B", 4, 3]),
        helper.make_tensor_value_info("state.colour", TensorProto.FLOAT, ["B", "K", 3]),
    ]
    outputs = [
        helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["B", "K", size]),
        helper.make_tensor_value_info("next.colour", TensorProto.FLOAT, ["B", "K", 3]),
        helper.make_tensor_value_info("attention", TensorProto.FLOAT, ["B", "K", 4]),
    ]
    return model("step", nodes, inputs, outputs, constants)


def model(name, nodes, inputs, outputs, constants) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def tiny_files() -> dict[str, bytes]:
    return {
        "encoder.onnx": encoder_model().SerializeToString(),
        "start.onnx": start_model().SerializeToString(),
        "step.onnx": step_model().SerializeToString(),
        "vocabulary.json": VOCABULARY.to_json().encode(),
        "card.md": b"# tiny\n",
        "LICENSE.txt": b"Free for all.\n",
    }


def tiny_manifest(**changes) -> Manifest:
    values = {
        "name": "tiny",
        "images": ImageOptions(size=SIZE, interpolation="bilinear"),
        "regions": RegionGeometry(count=4, size=3, grid=GRID),
        "decoding": DecodeOptions(beam_width=3, max_words=6),
        "scores": {"CIDEr": 12.5},
        "licence": "CC0-1.0",
        "recipe": {"name": "tiny"},
    }
    return Manifest(**values | changes)


def build_tiny_bundle(folder: Path, **changes) -> Path:
    return write_bundle(folder, files=tiny_files(), manifest=tiny_manifest(**changes))
