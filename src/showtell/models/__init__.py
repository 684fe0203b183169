"""Torch: encoders from timm, one file per decoder architecture."""
