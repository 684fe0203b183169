"""What a picture shows, changed at random while a model learns from it.

B pictures, S side in pixels, R regions.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def random_crops(pictures: Tensor, smallest: float) -> Tensor:
    """Pictures uint8 (B, S, S, 3) -> a random square part of each, brought back to S, uint8 (B, S, S, 3).

    A part's side is an even share of S between `smallest` and 1. Torch's random numbers decide.
    """
    side = pictures.shape[1]
    shares = smallest + (1 - smallest) * torch.rand(len(pictures))
    sides = (shares * side).round().clamp(1, side).long().tolist()
    cropped = []
    for picture, length in zip(pictures.permute(0, 3, 1, 2).float(), sides, strict=True):
        top, left = (int(torch.randint(side - length + 1, ()).item()) for _ in range(2))
        part = picture[:, top : top + length, left : left + length].unsqueeze(0)
        cropped.append(F.interpolate(part, size=(side, side), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(cropped).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def hide_regions(mask: Tensor, share: float) -> Tensor:
    """Mask (B, R), true where a region is real -> one that leaves out about `share` of those, bool (B, R).

    One real region of each picture always stays. Torch's random numbers decide.
    """
    drawn = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1)
    return mask & ((drawn >= share) | (drawn == drawn.amax(1, keepdim=True)))
