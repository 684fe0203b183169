"""The ONNX graphs say what torch says, whatever the recipe, and compressing changes no more than rounding must."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
onnx = pytest.importorskip("onnx", reason="needs the training extra")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from showtell.architectures import AttendOptions  # noqa: E402
from showtell.bundle import Manifest, RegionGeometry, read_bundle, write_bundle  # noqa: E402
from showtell.decoding.arrays import NumpyArrays  # noqa: E402
from showtell.decoding.options import DecodeOptions  # noqa: E402
from showtell.decoding.search import generate  # noqa: E402
from showtell.errors import ExportError  # noqa: E402
from showtell.export import graphs as module  # noqa: E402
from showtell.export.graphs import compress, encoder_graph, start_graph, step_graph  # noqa: E402
from showtell.models.attend import AttendDecoder  # noqa: E402
from showtell.models.build_encoder import build_encoder  # noqa: E402
from showtell.recipe import EncoderOptions  # noqa: E402
from showtell.runtime import OnnxModel  # noqa: E402
from showtell.training.arrays import TorchArrays  # noqa: E402
from showtell.training.validation import TorchDecoder  # noqa: E402
from showtell.vocabulary import SPECIALS, Vocabulary  # noqa: E402

VOCABULARY = Vocabulary((*SPECIALS, *(f"w{i}" for i in range(40))))
SMALL = {"projection": 16, "embedding": 12, "hidden": 20, "attention": 8}
KINDS = {
    "lstm": {"cell": "lstm", "initial_state": "mean", "gate": True},
    "gru": {"cell": "gru", "initial_state": "zero", "gate": False, "places": True},
    "tied": {"cell": "gru", "initial_state": "mean", "gate": True, "tie_embedding": True, "projection": 0},
    "hidden": {"cell": "lstm", "initial_state": "zero", "gate": False, "output": "hidden"},
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options = EncoderOptions(name="resnet10t", pretrained=False, layer="layer1", size=32, fit="squash")
    return build_encoder(options).eval()


@pytest.fixture(scope="module")
def encoder_model(encoder):
    return encoder_graph(encoder)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=KINDS)
def decoder(request, encoder):
    torch.manual_seed(1)
    options = AttendOptions(**{**SMALL, **KINDS[request.param]})
    decoder = AttendDecoder(options, encoder.region_count, encoder.region_size, len(VOCABULARY)).eval()
    for parameter in decoder.parameters():  # so strong that every picture is told in its own words
        parameter.data += 0.7 * torch.randn_like(parameter)
    return decoder


@pytest.fixture(scope="module")
def models(decoder, encoder, encoder_model):
    return {
        "encoder.onnx": encoder_model,
        "start.onnx": start_graph(decoder, encoder),
        "step.onnx": step_graph(decoder, encoder),
    }


def _bundle(folder, models, encoder):
    manifest = Manifest(
        name="test",
        images=encoder.images,
        regions=RegionGeometry(count=encoder.region_count, size=encoder.region_size, grid=encoder.grid),
    )
    files = {name: model.SerializeToString() for name, model in models.items()}
    files["vocabulary.json"] = VOCABULARY.to_json().encode()
    return OnnxModel(read_bundle(write_bundle(folder, files=files, manifest=manifest)), threads=1)


@pytest.fixture(scope="module")
def runtime(models, encoder, tmp_path_factory):
    return _bundle(tmp_path_factory.mktemp("graphs") / "bundle", models, encoder)


def _shapes(values):
    return {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _types(values):
    return {v.name: v.type.tensor_type.elem_type for v in values}


def test_names_shapes_and_types_are_those_that_bundles_use(models, decoder, encoder):
    count, size, words = encoder.region_count, encoder.region_size, len(VOCABULARY)
    projected = decoder.options.projection or size
    state = dict.fromkeys(decoder.cell.state_names, decoder.options.hidden)
    memory = {
        "memory.regions": ("B", count, projected),
        "memory.keys": ("B", count, decoder.options.attention),
    }
    graph = models["encoder.onnx"].graph
    assert _shapes(graph.input) == {"pictures": ("B", 32, 32, 3)}
    assert _types(graph.input) == {"pictures": TensorProto.UINT8}
    assert _shapes(graph.output) == {"regions": ("B", count, size)}
    graph = models["start.onnx"].graph
    assert _shapes(graph.input) == {"regions": ("B", count, size)}
    assert _shapes(graph.output) == {**memory, **{f"state.{name}": ("B", 1, h) for name, h in state.items()}}
    graph = models["step.onnx"].graph
    assert _shapes(graph.input) == {
        "tokens": ("B", "K"),
        **memory,
        **{f"state.{name}": ("B", "K", h) for name, h in state.items()},
    }
    assert _types(graph.input)["tokens"] == TensorProto.INT64
    assert _shapes(graph.output) == {
        "log_probs": ("B", "K", words),
        **{f"next.{name}": ("B", "K", h) for name, h in state.items()},
        "attention": ("B", "K", count),
    }
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)


def test_nothing_in_the_files_tells_of_the_machine_that_wrote_them(models):
    for model in models.values():
        content = model.SerializeToString()
        for trace in (b"/root", b"/home", b"/usr", b"/tmp", b"site-packages", b".py", b"Traceback", b"showtell"):
            assert trace not in content
        assert not model.doc_string
        assert not model.metadata_props
        assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


@torch.inference_mode()
def test_the_encoder_gives_torchs_regions_for_any_number_of_pictures(encoder, runtime, pictures):
    expected = encoder(torch.from_numpy(pictures)).numpy()
    for count in (1, 2, 5):
        np.testing.assert_allclose(runtime.encode(pictures[:count]), expected[:count], rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("batch", "width"), [(1, 1), (1, 4), (3, 1), (5, 2)])
def test_steps_say_what_torch_says_for_any_number_of_pictures_and_hypotheses(
    decoder, encoder, runtime, pictures, batch, width
):
    regions = encoder(torch.from_numpy(pictures[:batch]))
    memory, state = decoder.start(regions)
    memory_there, state_there = runtime.decoder.start(regions.numpy())
    state = {name: value.repeat_interleave(width, 1) for name, value in state.items()}
    state_there = {name: np.repeat(value, width, 1) for name, value in state_there.items()}
    for name, value in memory.items():
        np.testing.assert_allclose(memory_there[f"memory.{name}"], value.numpy(), rtol=1e-4, atol=1e-4)
    words = np.random.default_rng(2)
    for _ in range(4):
        tokens = words.integers(0, len(VOCABULARY), (batch, width))
        log_probs, state, attention = decoder.step(torch.from_numpy(tokens), state, memory)
        log_probs_there, state_there, attention_there = runtime.decoder.step(tokens, state_there, memory_there)
        assert state_there.keys() == state.keys()
        np.testing.assert_allclose(log_probs_there, log_probs.numpy(), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(attention_there, attention.numpy(), rtol=1e-3, atol=1e-4)
        for name, value in state.items():
            np.testing.assert_allclose(state_there[name], value.numpy(), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("width", [1, 3])
def test_onnx_and_torch_captions_agree_on_every_recipe(decoder, encoder, runtime, pictures, width):
    options = DecodeOptions(beam_width=width, num_captions=width, max_words=8)
    theirs = generate(runtime.decoder, runtime.encode(pictures), options, NumpyArrays())
    regions = encoder(torch.from_numpy(pictures))
    ours = generate(TorchDecoder(decoder, None, CPU), regions, options, TorchArrays(CPU))
    assert [[h.tokens for h in of_picture] for of_picture in ours] == [
        [h.tokens for h in of_picture] for of_picture in theirs
    ]
    for a, b in zip(ours, theirs, strict=True):
        assert [h.log_probability for h in a] == pytest.approx([h.log_probability for h in b], abs=1e-3)


def test_the_pictures_are_told_apart_by_these_weights(runtime, pictures):
    # Else the tests above could not fail.
    options = DecodeOptions(beam_width=3, max_words=8)
    told = generate(runtime.decoder, runtime.encode(pictures), options, NumpyArrays())
    assert len({hypotheses[0].tokens for hypotheses in told}) >= 2


def test_what_torch_cannot_export_is_one_line(encoder, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("an operator is missing\nand a long trace")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ExportError, match=r"^encoder graph: torch cannot export it \(an operator is missing\)$"):
        encoder_graph(encoder)


# Compression


def _linear(weight):
    """x (N, I) @ weight (I, O)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weight.shape[1]])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _run(model, **inputs):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


def _stored(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_int8_rounds_each_channel_to_its_own_scale():
    values = np.array([[1.27, -0.504, 0.004], [-25.4, 10.11, 0.2]], np.float32)
    integers, scale = module._integers(values, channel=0)
    assert integers.dtype == np.int8
    np.testing.assert_allclose(scale, [[0.01], [0.2]], rtol=1e-6)
    assert integers.tolist() == [[127, -50, 0], [-127, 51, 1]]
    integers, scale = module._integers(values, channel=1)
    np.testing.assert_allclose(scale, [[0.2, 10.11 / 127, 0.2 / 127]], rtol=1e-6)
    assert integers.tolist() == [[6, -6, 3], [-127, 127, 127]]
    integers, scale = module._integers(np.zeros((2, 3), np.float32), channel=0)
    assert not integers.any()
    assert np.isfinite(scale).all()


def test_fp16_rounds_each_weight_to_its_nearest():
    weight = np.full((64, 64), 1 + 2.0**-12, np.float32)  # nearer to 1 than to 1 + 2 ** -10
    weight[0] = 1 + 2.0**-10
    stored = _stored(compress(_linear(weight), "fp16"))["weight.stored"]
    assert stored.dtype == np.float16
    assert np.array_equal(stored[1:], np.ones((63, 64)))
    assert np.array_equal(stored[0], np.full(64, 1 + 2.0**-10))


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_a_product_with_compressed_weights_errs_no_more_than_rounding_can(kind):
    random = np.random.default_rng(0)
    weight = (random.normal(size=(64, 70)) * np.logspace(-3, 2, 70)).astype(np.float32)  # channels of all sizes
    x = random.normal(size=(9, 64)).astype(np.float32)
    small = compress(_linear(weight), kind)
    exact, found = _run(_linear(weight), x=x), _run(small, x=x)
    if kind == "int8":
        bound = np.abs(x).sum(1, keepdims=True) * np.abs(weight).max(0) / 127 / 2  # half a step of each output's scale
    else:
        bound = np.abs(x) @ np.abs(weight) * 2.0**-11 + np.abs(x).sum(1, keepdims=True) * 2.0**-25
    assert (np.abs(found - exact) <= bound * (1 + 1e-3) + 1e-6).all()
    assert not np.array_equal(found, exact)
    share = {"fp16": 2, "int8": 4}[kind]
    assert len(small.SerializeToString()) < len(_linear(weight).SerializeToString()) / share + 1000


def test_small_tensors_and_those_that_are_no_floats_stay_as_they_are():
    few = np.ones((64, 63), np.float32)  # one column below the limit
    for kind in ("fp16", "int8"):
        assert _stored(compress(_linear(few), kind)).keys() == {"weight"}
    model = _linear(np.ones((64, 64), np.float32))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(5000, np.int64), "numbers"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(5000, np.float32), "vector"))
    stored = _stored(compress(model, "int8"))
    assert stored["numbers"].dtype == np.int64
    assert stored.keys() == {"numbers", "vector", "weight.stored", "weight.scale"}
    assert _stored(model).keys() == {"weight", "numbers", "vector"}  # the model that was given is untouched


def _rounded(model, kind):
    """The float32 model with each weight rounded, one output at a time."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    second = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for tensor in rounded.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < module.SMALLEST_COMPRESSED:
            continue
        if kind == "int8" and values.ndim == 1:  # one scale for one value would be no smaller
            continue
        if kind == "fp16":
            values = values.astype(np.float16).astype(np.float32)
        else:
            outputs = np.moveaxis(values.copy(), -1 if tensor.name in second else 0, 0)
            for output in outputs:
                step = np.abs(output).max() / np.float32(127)
                output[...] = np.rint(output / step) * step if step else 0
            values = np.moveaxis(outputs, 0, -1 if tensor.name in second else 0)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
    return rounded


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_compressed_graphs_compute_with_the_rounded_weights_and_nothing_else_changes(
    models, runtime, encoder, pictures, kind, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "SMALLEST_COMPRESSED", 64)
    small = {name: compress(model, kind) for name, model in models.items()}
    for name, model in small.items():
        onnx.checker.check_model(model, full_check=True)
        assert len(model.SerializeToString()) < 0.8 * len(models[name].SerializeToString())
    found = _bundle(tmp_path / "small", small, encoder)
    expected = _bundle(tmp_path / "rounded", {name: _rounded(m, kind) for name, m in models.items()}, encoder)
    regions = [model.encode(pictures) for model in (found, expected, runtime)]
    np.testing.assert_allclose(regions[0], regions[1], rtol=1e-3, atol=1e-4)
    assert not np.allclose(regions[0], regions[2], rtol=1e-3, atol=1e-4)
    tokens = np.full((5, 1), 1)
    log_probs = [
        model.decoder.step(tokens, state, memory)[0]
        for model in (found, expected, runtime)
        for memory, state in [model.decoder.start(regions[2])]
    ]
    np.testing.assert_allclose(log_probs[0], log_probs[1], rtol=1e-4, atol=1e-3)
    rounding = np.abs(log_probs[0] - log_probs[2]).max()
    assert rounding > 5 * np.abs(log_probs[0] - log_probs[1]).max()
