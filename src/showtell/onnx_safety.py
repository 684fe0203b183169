"""What an ONNX file from a stranger could reach: refuses graphs that name other files, before ONNX Runtime sees them.

ONNX is protocol buffers. This walks the wire format (https://protobuf.dev/programming-guides/encoding) through every
place where a tensor can stand, so that use needs no onnx package. Numbers below are field numbers of onnx.proto.
"""

from collections.abc import Iterator

from showtell.errors import BundleError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH = 64  # of graphs within graphs; what people export has one or two

# Message -> its fields that hold further messages in which a tensor or a node can stand.
_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_MODEL_GRAPH = 7
_NODE_OP_TYPE = 4
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
# Nodes of ONNX Runtime that load a compiled graph from a path in an attribute.
_REACHING_OPS = frozenset({b"EPContext"})


def refuse_unsafe_graph(data: bytes, name: str) -> None:
    """Check that an ONNX model stands for itself: no external data anywhere, no node that opens a path.

    Raises `BundleError`, beginning with `name`, where it does not or where the bytes are no ONNX model.
    """
    try:
        graphs = sum(field == _MODEL_GRAPH for field, _, _ in _fields(memoryview(data)))
        if graphs == 0:
            raise _MalformedError("it holds no graph")
        _walk(memoryview(data), "ModelProto", name, 0)
    except _MalformedError as error:
        raise BundleError(f"{name}: is no ONNX model ({error}); export the bundle again") from error


class _MalformedError(Exception):
    """Bytes that break the wire format."""


def _walk(message: memoryview, kind: str, name: str, depth: int) -> None:
    if depth > _DEPTH:
        raise _MalformedError(f"more than {_DEPTH} messages inside each other")
    children = _CHILDREN[kind]
    for field, number, content in _fields(message):
        if kind == "TensorProto" and (field == _TENSOR_EXTERNAL_DATA or (field == _TENSOR_DATA_LOCATION and number)):
            raise BundleError(
                f"{name}: a tensor points to data outside the file, expected all data inside; "
                "a bundle from elsewhere that does this is not safe to open, your own: export it again"
            )
        if kind == "NodeProto" and field == _NODE_OP_TYPE and content is not None and bytes(content) in _REACHING_OPS:
            raise BundleError(
                f"{name}: holds a {bytes(content).decode()} node, which opens other files; not safe to open"
            )
        if field in children:
            if content is None:
                raise _MalformedError(f"{kind} field {field} is no message")
            _walk(content, children[field], name, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview | None]]:
    """(field number, value if a number or else 0, content if bytes or else None) of each field of a message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        number, content = 0, None
        if field == 0:
            raise _MalformedError("a field has number 0")
        if wire == _VARINT:
            number, at = _varint(message, at)
        elif wire == _BYTES:
            length, at = _varint(message, at)
            content = message[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError(f"wire type {wire}")
        if at > end:
            raise _MalformedError("it ends inside a field")
        yield field, number, content


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _MalformedError("it ends inside a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError("a number is longer than 64 bits")
