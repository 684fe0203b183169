import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the training extra")
timm = pytest.importorskip("timm", reason="needs the training extra")

from safetensors.torch import save_file  # noqa: E402

from showtell.errors import EncoderError, RecipeError  # noqa: E402
from showtell.images import open_picture, to_pixels  # noqa: E402
from showtell.models.build_encoder import build_encoder  # noqa: E402
from showtell.recipe import EncoderOptions  # noqa: E402
from showtell.training.run import save_encoder  # noqa: E402

SHARED = Path(__file__).parents[2].parent / "shared" / "weights"
MOBILENET = SHARED / "mobilenetv2_100.tf_in1k.safetensors"
METADATA = {
    "timm_name": "resnet10t",
    "timm_args": "{}",
    "input_size": "[3, 48, 48]",
    "mean": "[0.5, 0.5, 0.5]",
    "std": "[0.5, 0.5, 0.5]",
    "resize": "squash",
    "interpolation": "bilinear",
    "licence": "test",
}


def _options(**changes):
    return EncoderOptions(**{"name": "resnet10t", "pretrained": False, **changes})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weight file as ours are: no classifier counted on, no `num_batches_tracked`, preparation in the metadata."""
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", pretrained=False)
    tensors = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(tensors, path, METADATA)
    return path


@pytest.fixture
def photo(tmp_path):
    """A generated picture, wider than high, so that squash, crop and pad differ."""
    y, x = np.mgrid[:90, :130]
    values = np.stack([x * 255 / 129, y * 255 / 89, (x * y) % 256], 2).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_features_equal_a_preparation_done_by_hand(weights, photo):
    encoder = build_encoder(_options(), weights=weights).eval()
    with torch.inference_mode():
        ours = encoder(torch.from_numpy(to_pixels(open_picture(photo), encoder.images))[None])[0]

    squashed = np.asarray(Image.open(photo).convert("RGB").resize((48, 48), Image.Resampling.BILINEAR), np.float32)
    pixels = torch.from_numpy(squashed.transpose(2, 0, 1)[None] / 127.5 - 1)
    network = timm.create_model("resnet10t", pretrained=False)
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights), strict=False)
    with torch.inference_mode():
        grid = network.eval().forward_features(pixels)[0]  # (D, h, w)
    by_hand = torch.stack([grid[:, row, column] for row in range(grid.shape[1]) for column in range(grid.shape[2])])
    assert encoder.grid == tuple(grid.shape[1:])
    assert ours.shape == by_hand.shape == (encoder.region_count, encoder.region_size)
    assert torch.allclose(ours, by_hand, atol=1e-4), (ours - by_hand).abs().max()
    # The same test must be able to fail: another preparation gives other features.
    with torch.inference_mode():
        wrong = network.forward_features((pixels + 1) / 2)[0].flatten(1).T
    assert not torch.allclose(ours, wrong, atol=1e-2)


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"needs the development weights {MOBILENET.name}")
@pytest.mark.parametrize(
    ("photo_name", "classes"), [("chelsea", (281, 282, 285)), ("coffee", (967,)), ("rocket", (657,))]
)
def test_imagenet_photos_are_recognised_through_our_preparation(photo_name, classes):
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    from safetensors.torch import load_file

    tensors = load_file(MOBILENET)
    encoder = build_encoder(EncoderOptions(name="mobilenetv2_100"), weights=MOBILENET).eval()
    pixels = to_pixels(open_picture(getattr(data, photo_name)()), encoder.images)
    with torch.inference_mode():
        pooled = encoder(torch.from_numpy(pixels)[None])[0].mean(0)  # (1280,)
    logits = tensors["classifier.weight"].float() @ pooled + tensors["classifier.bias"].float()
    assert int(logits.argmax()) in classes


def test_preparation_of_the_metadata_is_obeyed_and_survives_saving(weights, tmp_path):
    encoder = build_encoder(_options(), weights=weights)
    assert (encoder.images.size, encoder.images.fit, encoder.images.interpolation) == (48, "squash", "bilinear")
    assert encoder.images.mean == encoder.images.std == (0.5, 0.5, 0.5)
    save_encoder(tmp_path / "again.safetensors", encoder)
    again = build_encoder(encoder.options, weights=tmp_path / "again.safetensors")
    assert again.identity() == encoder.identity()
    assert again.licence == "test"


def test_identity_changes_with_weights_preparation_and_output(weights, tmp_path):
    def identity(path=weights, **changes):
        return json.dumps(build_encoder(_options(**changes), weights=path).identity(), sort_keys=True)

    from safetensors.torch import load_file

    tensors = load_file(weights)
    tensors["conv1.0.weight"][0, 0, 0, 0] += 0.01
    save_file(tensors, tmp_path / "other.safetensors", METADATA)
    every = {
        identity(),
        identity(fit="crop"),
        identity(size=64),
        identity(output="pooled"),
        identity(layer="layer2"),
        identity(tmp_path / "other.safetensors"),
    }
    assert len(every) == 6
    assert identity() == identity()


def test_pooled_and_inner_layers_have_the_shapes_they_promise(weights):
    pictures = torch.zeros(2, 48, 48, 3, dtype=torch.uint8)
    for changes, shape in (
        ({}, (2, 4, 512)),
        ({"output": "pooled"}, (2, 1, 512)),
        ({"layer": "layer2"}, (2, 36, 128)),
        ({"layer": "layer2", "output": "pooled"}, (2, 1, 128)),
        ({"output": "flat"}, (2, 1, 4 * 512)),
        ({"layer": "layer2", "output": "flat"}, (2, 1, 36 * 128)),
    ):
        encoder = build_encoder(_options(**changes), weights=weights).eval()
        with torch.inference_mode():
            assert tuple(encoder(pictures).shape) == shape == (2, encoder.region_count, encoder.region_size)


def test_a_flat_grid_is_read_row_by_row_with_all_numbers_of_a_place_together(weights):
    pictures = torch.randint(0, 256, (2, 48, 64, 3), dtype=torch.uint8)[:, :48, :48]
    flat = build_encoder(_options(layer="layer2", output="flat"), weights=weights).eval()
    assert flat.grid is None
    with torch.inference_mode():
        found = flat(pictures)[:, 0]
        grid = flat.network((pictures.permute(0, 3, 1, 2).float() - flat.mean) / flat.deviation)["layer"]
    count, rows, columns = grid.shape[1:]
    for row, column, number in ((0, 0, 0), (0, 1, 7), (1, 0, 7), (rows - 1, columns - 1, count - 1)):
        assert torch.equal(found[:, (row * columns + column) * count + number], grid[:, number, row, column])


@pytest.mark.slow  # half a gigabyte of random weights
def test_the_last_convolution_of_vgg16_flattened_has_25088_numbers():
    encoder = build_encoder(EncoderOptions(name="vgg16.tv_in1k", pretrained=False, output="flat", size=224))
    assert (encoder.region_count, encoder.region_size) == (1, 25_088)


# Regions from files in an encoder's place


def test_files_stand_in_an_encoders_place_and_pass_regions_on():
    encoder = build_encoder(EncoderOptions(name="files", regions=3, region_size=5))
    assert (encoder.region_count, encoder.region_size, encoder.grid, encoder.images) == (3, 5, None, None)
    regions = torch.randn(2, 3, 5)
    assert torch.equal(encoder(regions), regions)
    assert encoder.blank(2).shape == (2, 3, 5)
    assert not list(encoder.parameters())
    other = build_encoder(EncoderOptions(name="files", regions=4, region_size=5))
    assert other.identity() != encoder.identity()
    pooled = build_encoder(EncoderOptions(name="files", regions=3, region_size=5, output="pooled"))
    assert pooled.region_count == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "files"}, "encoder.regions is 0 and encoder.region_size 0, expected 1 or more; .*--regions DIR"),
        ({"name": "files", "regions": 3}, "encoder.region_size 0, expected 1 or more"),
        ({"regions": 3}, "are of regions from files, but encoder.name is resnet10t"),
    ],
)
def test_sizes_belong_to_files_and_files_need_them(options, message):
    with pytest.raises(RecipeError, match=message):
        build_encoder(_options(**options))


def test_tokens_of_a_vision_transformer_are_a_grid_without_the_class_token():
    encoder = build_encoder(_options(name="test_vit", arguments={"img_size": 64}, size=64)).eval()
    assert encoder.grid == (4, 4)
    assert encoder.region_count == 16


def test_what_its_output_does_not_need_does_not_learn():
    """The classifier's last convolution of a MobileNetV3, where the grid before it is what is taken."""
    options = {"name": "mobilenetv3_small_050", "size": 32, "train": True}
    encoder = build_encoder(_options(**options))
    learns = {name: parameter.requires_grad for name, parameter in encoder.network.named_parameters()}
    assert {name for name, does in learns.items() if not does} == {"conv_head.weight", "conv_head.bias"}
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(
        parameter.requires_grad for parameter in build_encoder(_options(**options, output="pooled")).parameters()
    )
    with pytest.raises(EncoderError, match=r"its output depends on no weight from encoder\.train_from 'conv_head' on"):
        build_encoder(_options(**options, train_from="conv_head"))


def test_batch_norms_that_learn_cannot_be_computed_twice():
    with pytest.raises(
        RecipeError, match=r"encoder\.checkpointing computes a step twice, and with encoder\.frozen_norms"
    ):
        _options(train=True, checkpointing=True, frozen_norms=False)


def test_frozen_norms_keep_their_statistics_in_training(weights):
    pictures = torch.randint(0, 256, (4, 48, 48, 3), dtype=torch.uint8)
    for frozen in (True, False):
        encoder = build_encoder(_options(train=True, frozen_norms=frozen), weights=weights).train()
        before = encoder.network.bn1.running_mean.clone()
        encoder(pictures)
        assert torch.equal(before, encoder.network.bn1.running_mean) == frozen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timm_name": "resnet18"}, "weights of resnet18, but the recipe's encoder is resnet10t"),
        ({"timm_name": None}, r"no `timm_name` in its metadata.*--encoder-config FILE\.json"),
        ({"resize": "stretch"}, "resize 'stretch', known are"),
    ],
)
def test_metadata_that_do_not_fit_are_told(weights, tmp_path, change, message):
    from safetensors.torch import load_file

    metadata = {k: v for k, v in {**METADATA, **change}.items() if v is not None}
    save_file(load_file(weights), tmp_path / "w.safetensors", metadata)
    with pytest.raises(EncoderError, match=message):
        build_encoder(_options(), weights=tmp_path / "w.safetensors")


def test_a_config_file_speaks_for_weights_without_metadata(weights, tmp_path):
    from safetensors.torch import load_file

    save_file(load_file(weights), tmp_path / "bare.safetensors")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"timm_name": "resnet10t", "input_size": [3, 32, 32], "resize": "pad"}))
    encoder = build_encoder(_options(), weights=tmp_path / "bare.safetensors", config=config)
    assert (encoder.images.size, encoder.images.fit) == (32, "pad")
    config.write_text("{")
    with pytest.raises(EncoderError, match=r"config\.json: not a readable JSON file"):
        build_encoder(_options(), weights=tmp_path / "bare.safetensors", config=config)


def test_missing_tensors_wrong_shapes_and_damaged_files_are_told(weights, tmp_path):
    from safetensors.torch import load_file

    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "layer3" not in k}, tmp_path / "less.safetensors", METADATA)
    with pytest.raises(EncoderError, match=r"tensors are missing, layer3\.0\.conv1\.weight first"):
        build_encoder(_options(), weights=tmp_path / "less.safetensors")
    build_encoder(_options(layer="layer2"), weights=tmp_path / "less.safetensors")  # nothing of layer3 is needed
    save_file({**tensors, "conv1.0.weight": torch.zeros(1)}, tmp_path / "shape.safetensors", METADATA)
    with pytest.raises(EncoderError, match=r"conv1\.0\.weight has shape \(1,\), the network's is"):
        build_encoder(_options(), weights=tmp_path / "shape.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(EncoderError, match="not a readable safetensors file"):
        build_encoder(_options(), weights=tmp_path / "text.safetensors")


def test_nothing_behind_an_inner_layer_is_kept():
    encoder = build_encoder(_options(name="inception_v3", layer="Mixed_5b", arguments={"aux_logits": False}))
    kept = {name.split(".")[1] for name, _ in encoder.named_parameters()}
    assert "Mixed_5b" in kept
    assert not kept & {"Mixed_5c", "Mixed_6a", "Mixed_7c"}


def test_unknown_models_and_layers_are_told_with_near_names():
    with pytest.raises(EncoderError, match="timm knows no model 'resnet10x'; near are"):
        build_encoder(_options(name="resnet10x"))
    with pytest.raises(EncoderError, match="resnet10t has no layer 'layer9'"):
        build_encoder(_options(layer="layer9"))


def test_weights_that_timm_brings_are_used_with_timms_preparation(weights, tmp_path):
    # timm's own loading of pretrained weights, from a file in place of its hub.
    overlay = {"pretrained_cfg_overlay": {"file": str(weights), "mean": (0.1, 0.2, 0.3), "crop_pct": 0.5}}
    encoder = build_encoder(_options(pretrained=True, arguments=overlay))
    from safetensors.torch import load_file

    assert torch.equal(encoder.network.conv1[0].weight, load_file(weights)["conv1.0.weight"])
    assert encoder.images.mean == (0.1, 0.2, 0.3)
    assert (encoder.images.fit, encoder.images.crop_fraction) == ("crop", 0.5)
    assert encoder.images.size == 176  # resnet10t's own


def test_without_a_network_the_way_out_is_named(monkeypatch):
    def no_network(*_, **__):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", no_network)
    with pytest.raises(EncoderError, match=r"couldn't connect.*give --encoder-weights FILE\.safetensors"):
        build_encoder(_options(pretrained=True))
