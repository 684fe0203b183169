"""Torch: feature store, loop, losses, checkpoints, validation."""

import os

# oneDNN, under torch on a processor, keeps compiled code for each shape that it has met, up to 1,024 of them: gigabytes
# where no two batches have captions of the same lengths. Fewer are as fast.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
