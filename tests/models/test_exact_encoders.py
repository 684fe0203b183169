"""The picture networks of the recipes are those of the tutorials and papers, whatever weights they carry."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
timm = pytest.importorskip("timm", reason="needs the training extra")
torchvision = pytest.importorskip("torchvision", reason="needs the training extra")

from torch import nn  # noqa: E402

from showtell.models.build_encoder import build_encoder  # noqa: E402
from showtell.recipe_reader import read_recipe, recipe_names  # noqa: E402

VGG16, RESNET50, RESNET101, INCEPTION = 138_357_544, 25_557_032, 44_549_160, 23_834_568  # published, top included
EXACT = {
    # recipe: parameters with the classifier, those of the classifier that the encoder leaves out, (R, D), grid
    "show-attend-tell": (INCEPTION, 2048 * 1000 + 1000, (64, 2048), (8, 8)),
    "show-attend-tell-r": (INCEPTION, 2048 * 1000 + 1000, (64, 2048), (8, 8)),
    "init-inject": (VGG16, 4096 * 1000 + 1000, (1, 4096), None),  # fc1 and fc2 stay
    "merge": (RESNET50, 2048 * 1000 + 1000, (1, 2048), None),
    "show-and-tell": (RESNET50, 2048 * 1000 + 1000, (1, 2048), None),
    "up-down": (RESNET101, 2048 * 1000 + 1000, (49, 2048), (7, 7)),
    "sequence-attend": (RESNET50, 2048 * 1000 + 1000, (49, 2048), (7, 7)),
    "topic": (RESNET50, 2048 * 1000 + 1000, (49, 2048), (7, 7)),
    "transformer": (RESNET50, 2048 * 1000 + 1000, (49, 2048), (7, 7)),
    "pocket": (3_504_872, 1280 * 1000 + 1000, (49, 1280), (7, 7)),  # MobileNetV2
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BETWEEN_MINUS_ONE_AND_ONE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_every_recipe_has_its_encoder_here():
    assert set(EXACT) == set(recipe_names()) - {"shapes"}  # whose encoder is its own


@pytest.mark.parametrize("name", EXACT)
def test_an_encoder_has_the_parameters_and_gives_the_regions_that_are_published(name):
    whole, top, regions, grid = EXACT[name]
    options = read_recipe(name).encoder
    with torch.device("meta"):  # shapes without numbers: no memory and no time
        network = timm.create_model(options.name, pretrained=False, **options.arguments)
        encoder = build_encoder(replace(options, pretrained=False))
    assert parameters(network) == whole
    assert parameters(encoder) == whole - top
    assert (encoder.region_count, encoder.region_size) == regions
    assert encoder.grid == grid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "normalisation"),
    [
        ("init-inject", "classifier.4", IMAGENET),  # fc2 after its ReLU
        ("merge", "avgpool", IMAGENET),
        ("show-and-tell", "avgpool", IMAGENET),
        ("up-down", "layer4", IMAGENET),
        ("transformer", "layer4", IMAGENET),
        ("show-attend-tell", "Mixed_7c", BETWEEN_MINUS_ONE_AND_ONE),
    ],
)
@torch.inference_mode()
def test_an_encoder_gives_what_torchvisions_network_of_the_same_weights_gives(name, layer, normalisation):
    torch.manual_seed(0)
    options = read_recipe(name).encoder
    encoder = build_encoder(replace(options, pretrained=False)).eval()
    unlike_each_other(encoder.network)
    reference = torchvision_network(options.name, encoder.network.state_dict())
    found = []
    reference.get_submodule(layer).register_forward_hook(lambda _, __, output: found.append(output))

    pictures = torch.randint(0, 256, (2, options.size, options.size, 3), dtype=torch.uint8)
    mean, deviation = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in normalisation)
    reference((pictures.permute(0, 3, 1, 2) / 255 - mean) / deviation)
    expected = found[0].flatten(2).transpose(1, 2) if found[0].ndim == 4 else found[0].unsqueeze(1)
    regions = encoder(pictures)
    assert regions.shape == expected.shape
    assert expected.std() > 1e-3
    torch.testing.assert_close(regions, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert regions.min() >= 0  # each of these layers ends with a ReLU, or with the mean of one


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def unlike_each_other(network):
    """New batch norms are all alike, and some of them zero: no mistake in their order would be seen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)


def torchvision_network(name, weights):
    """Torchvision's network with timm's weights, whose memory it shares, and without its last layer."""
    name = name.partition(".")[0]
    arguments = {} if name.startswith("resnet") else {"init_weights": False}
    if name == "inception_v3":
        arguments["aux_logits"] = False
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, **arguments)
    if name == "vgg16":  # timm has fc1 and fc2 as convolutions
        network.classifier[6] = nn.Identity()
        for ours, theirs in (("pre_logits.fc1", "classifier.0"), ("pre_logits.fc2", "classifier.3")):
            weights[f"{theirs}.weight"] = weights.pop(f"{ours}.weight").flatten(1)
            weights[f"{theirs}.bias"] = weights.pop(f"{ours}.bias")
    else:
        network.fc = nn.Identity()
    network.load_state_dict(weights, assign=True)
    return network.eval()
