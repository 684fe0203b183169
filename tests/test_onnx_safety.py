"""Graphs that reach outside of their file are refused wherever in the model they do it."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from showtell.errors import BundleError
from showtell.onnx_safety import refuse_unsafe_graph
from tiny_bundle import encoder_model, start_model, step_model

OUTSIDE = "points to data outside the file"


def outside() -> TensorProto:
    """A tensor whose numbers are in another file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def graph(**parts) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return helper.make_graph(parts.pop("nodes", []), "g", [], [value], **parts)


def as_model(made: onnx.GraphProto, **parts) -> onnx.ModelProto:
    return helper.make_model(made, **parts)


def in_initializer():
    return as_model(graph(initializer=[outside()]))


def in_sparse_initializer(part="values"):
    sparse = onnx.SparseTensorProto(dims=[4])
    getattr(sparse, part).CopyFrom(outside())
    return as_model(graph(sparse_initializer=[sparse]))


def in_sparse_indices():
    return in_sparse_initializer("indices")


def in_attribute():
    return as_model(graph(nodes=[helper.make_node("Constant", [], ["y"], value=outside())]))


def in_attribute_list():
    return as_model(graph(nodes=[helper.make_node("Odd", [], ["y"], values=[outside(), outside()])]))


def in_sparse_attribute():
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.add(name="sparse_value").sparse_tensor.values.CopyFrom(outside())
    return as_model(graph(nodes=[node]))


def in_subgraph():
    inner = graph(initializer=[outside()])
    return as_model(graph(nodes=[helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph())]))


def in_subgraph_of_a_subgraph():
    inner = graph(nodes=[helper.make_node("Loop", ["m"], ["y"], body=graph(initializer=[outside()]))])
    return as_model(graph(nodes=[helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph())]))


def in_function():
    node = helper.make_node("Constant", [], ["y"], value=outside())
    function = helper.make_function("local", "F", [], ["y"], [node], [helper.make_opsetid("", 18)])
    return as_model(graph(), functions=[function])


def in_function_default():
    function = helper.make_function("local", "F", [], ["y"], [], [helper.make_opsetid("", 18)])
    function.attribute_proto.append(helper.make_attribute("w", outside()))
    return as_model(graph(), functions=[function])


def in_training_graph():
    made = as_model(graph())
    made.training_info.add().algorithm.CopyFrom(graph(initializer=[outside()]))
    return made


def by_location_alone():
    tensor = outside()
    tensor.ClearField("external_data")
    return as_model(graph(initializer=[tensor]))


def by_entries_alone():
    tensor = outside()
    tensor.ClearField("data_location")
    return as_model(graph(initializer=[tensor]))


PLACES = [
    in_initializer,
    in_sparse_initializer,
    in_sparse_indices,
    in_attribute,
    in_attribute_list,
    in_sparse_attribute,
    in_subgraph,
    in_subgraph_of_a_subgraph,
    in_function,
    in_function_default,
    in_training_graph,
    by_location_alone,
    by_entries_alone,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_external_data_is_refused_wherever_it_stands(place):
    with pytest.raises(BundleError, match=f"^x.onnx: a tensor {OUTSIDE}"):
        refuse_unsafe_graph(place().SerializeToString(), "x.onnx")


def test_a_second_graph_behind_a_harmless_one_is_seen():
    # Readers of protocol buffers merge a field that comes twice; so an appended one counts as well.
    twice = as_model(graph()).SerializeToString() + in_initializer().SerializeToString()
    with pytest.raises(BundleError, match=OUTSIDE):
        refuse_unsafe_graph(twice, "x.onnx")


def test_a_node_that_opens_a_compiled_graph_is_refused():
    node = helper.make_node("EPContext", [], ["y"], domain="com.microsoft", ep_cache_context="/tmp/engine")
    with pytest.raises(BundleError, match="holds a EPContext node, which opens other files"):
        refuse_unsafe_graph(as_model(graph(nodes=[node])).SerializeToString(), "x.onnx")


def test_graphs_that_stand_for_themselves_pass():
    for made in (encoder_model(), start_model(), step_model()):
        refuse_unsafe_graph(made.SerializeToString(), "x.onnx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it holds no graph"),
        (b"just text", "no ONNX model"),
        (b"\x3a\xff\xff\xff\xff\x0f", "ends inside a field"),
        (b"\x3a", "ends inside a number"),
        (b"\x38\x01", "field 7 is no message"),
        (b"\x3b\x3c", "wire type 3"),
        (b"\x02\x00", "number 0"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "longer than 64 bits"),
    ],
)
def test_bytes_that_are_no_model_are_refused(content, reason):
    with pytest.raises(BundleError, match=reason):
        refuse_unsafe_graph(content, "x.onnx")


def test_endless_nesting_is_refused():
    content = b""
    for _ in range(40):
        content = message(1, message(5, message(6, content)))  # a node with an attribute with a graph with a node ...
    with pytest.raises(BundleError, match="inside each other"):
        refuse_unsafe_graph(message(7, content), "x.onnx")


def message(field: int, content: bytes) -> bytes:
    """A field of bytes on the wire: tag, length as a number of seven bits a byte, content."""
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([field << 3 | 2, *length, size]) + content


@given(st.binary(max_size=200), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_damaged_models_pass_or_are_refused_in_one_line(data, at):
    content = step_model_bytes()
    problem = ""
    try:
        refuse_unsafe_graph(content[:at] + data + content[at + len(data) :], "x.onnx")
    except BundleError as error:
        problem = str(error)
    assert not problem or problem.startswith("x.onnx: ")


def step_model_bytes(cache={}) -> bytes:  # noqa: B006 - the cache is the point
    return cache.setdefault("step", step_model().SerializeToString())
