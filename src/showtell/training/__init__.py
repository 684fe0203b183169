"""Torch: feature store, loop, losses, checkpoints, validation."""
