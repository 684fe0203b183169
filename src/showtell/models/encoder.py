"""Picture networks from timm as encoders: pixels in, regions out, with their own preparation of pictures.

`build_encoder.py` makes them. Where regions come from files, `RegionFiles` stands in an encoder's place.

B pictures, S side in pixels, R regions, D region size.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from showtell.errors import EncoderError, RecipeError
from showtell.images import ImageOptions
from showtell.recipe import EncoderOptions


class Encoder(nn.Module):
    """A timm network with the normalisation of its pictures inside.

    `images` tells how photos become its input (None where regions come from files), `grid` is (h, w) of the regions
    (None where they form no grid), `region_count` R, `region_size` D, `licence` the weights' own.
    """

    images: ImageOptions | None

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, options: EncoderOptions, images: ImageOptions, licence: str) -> None:
        super().__init__()
        self.network = network
        self.options = options
        self.images = images
        self.licence = licence
        self.register_buffer("mean", 255 * torch.tensor(images.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(images.std).view(1, 3, 1, 1), persistent=False)
        self.grid: tuple[int, int] | None = None
        was_training = self.training
        with torch.no_grad():
            regions = self.eval()(torch.zeros(1, images.size, images.size, 3, dtype=torch.uint8))
        self.train(was_training)
        self.region_count, self.region_size = int(regions.shape[1]), int(regions.shape[2])
        self._choose_learning()

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 (B, S, S, 3), RGB -> regions float32 (B, R, D)."""
        pixels = (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.deviation  # (B, 3, S, S)
        if self.options.layer:
            features = self.network(pixels)["layer"]
        elif self.options.output == "pooled":
            features = self.network.forward_features(pixels)  # type: ignore[operator]
            vector: Tensor = self.network.forward_head(features, pre_logits=True)  # type: ignore[operator]
            return vector.float().unsqueeze(1)
        else:
            features = self.network.forward_features(pixels)  # type: ignore[operator]
        return self._regions(features).float()

    def _regions(self, features: Tensor) -> Tensor:
        """Bring (B, D, h, w), (B, h, w, D), (B, prefix + R, D) or (B, D) to (B, R, D)."""
        if features.ndim == 4:
            channels_last = features.shape[3] == getattr(self.network, "num_features", -1) != features.shape[1]
            if channels_last:  # the swin family
                features = features.permute(0, 3, 1, 2)
            self.grid = (int(features.shape[2]), int(features.shape[3]))
            regions = features.flatten(2).transpose(1, 2)  # (B, h * w, D)
        elif features.ndim == 3:
            prefix = int(getattr(self.network, "num_prefix_tokens", 0) or 0)  # class and register tokens are no place
            regions = features[:, prefix:]
            side = round(regions.shape[1] ** 0.5)
            self.grid = (side, side) if side * side == regions.shape[1] else None
        elif features.ndim == 2:
            regions = features.unsqueeze(1)
        else:
            raise EncoderError(
                f"{self.options.name}: output has shape {tuple(features.shape)}, expected a grid, tokens or a vector; "
                "name another encoder.layer"
            )
        if self.options.output == "pooled":
            regions, self.grid = regions.mean(1, keepdim=True), None
        elif self.options.output == "flat":
            # Row by row from above, in a row from the left, all numbers of a place together: (B, 1, h * w * D).
            regions, self.grid = regions.flatten(1).unsqueeze(1), None
        return regions

    def blank(self, pictures: int) -> Tensor:
        """Input that shows nothing: grey pictures (B, S, S, 3), or from files regions of zeros (B, R, D)."""
        if self.images is None:
            return torch.zeros(pictures, self.region_count, self.region_size)
        return torch.full((pictures, self.images.size, self.images.size, 3), 128, dtype=torch.uint8)

    def _choose_learning(self) -> None:
        """Let the parameters learn that the recipe says: none, all, or those from `train_from` on."""
        first = self.options.train_from
        learns = self.options.train and not first
        for name, parameter in self.network.named_parameters():
            learns = learns or (self.options.train and (name == first or name.startswith(f"{first}.")))
            parameter.requires_grad_(learns)
        if learns:
            self._leave_unused()
        if self.options.train and self.options.checkpointing:
            if not hasattr(self.network, "set_grad_checkpointing"):
                raise EncoderError(
                    f"{self.options.name}: encoder.checkpointing needs the whole network as timm makes it; leave "
                    "encoder.layer empty, or encoder.checkpointing out"
                )
            self.network.set_grad_checkpointing()  # type: ignore[operator]
        if self.options.train and not learns:
            layers = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name, _ in self.network.named_parameters()))
            raise EncoderError(f"{self.options.name} has no layer {first!r} with weights; it has {layers[:400]}")

    def _leave_unused(self) -> None:
        """Let only those parameters learn that the output depends on: some networks end in layers that are not asked.

        The gradients of one picture tell. Raises `EncoderError` where none is left.
        """
        assert self.images is not None
        training = self.training
        with torch.enable_grad():
            regions = self.eval()(self.blank(1))
            if regions.requires_grad:
                regions.sum().backward()
        self.train(training)
        for parameter in self.network.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        if not regions.requires_grad:
            raise EncoderError(
                f"{self.options.name}: its output depends on no weight from encoder.train_from "
                f"{self.options.train_from!r} on; name an earlier layer"
            )

    def train(self, mode: bool = True) -> "Encoder":
        """Training mode; batch norms that do not learn stay at their statistics, all where the recipe says so."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                learns = module.weight is None or module.weight.requires_grad
                module.train(mode and learns and not self.options.frozen_norms)
        return self

    def identity(self) -> dict[str, Any]:
        """All that its output depends on, as plain values: two encoders of one identity give the same regions."""
        if self.images is None:
            return {"name": self.options.name, "regions": [self.region_count, self.region_size]}
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return {
            "name": self.options.name,
            "arguments": self.options.arguments,
            "output": self.options.output,
            "layer": self.options.layer,
            "images": json.loads(json.dumps(asdict(self.images))),
            "regions": [self.region_count, self.region_size],
            "weights": digest.hexdigest(),
        }


class RegionFiles(Encoder):
    """In an encoder's place where regions come from files: without weights, it gives back what it gets."""

    def __init__(self, options: EncoderOptions) -> None:
        """Raises `RecipeError` where the options do not tell how many regions there are and how large."""
        if not (options.regions and options.region_size):
            raise RecipeError(
                f"encoder.regions is {options.regions} and encoder.region_size {options.region_size}, expected 1 or "
                "more; name the files' folder with --regions DIR, which tells them"
            )
        nn.Module.__init__(self)
        self.network, self.options = nn.Identity(), options
        self.images, self.grid, self.licence = None, None, "none: regions come from files"
        self.region_count = 1 if options.output == "pooled" else options.regions
        self.region_size = options.region_size

    def forward(self, regions: Tensor) -> Tensor:
        """Regions (B, R, D), as they are."""
        return regions
