"""What computes: which device, in which precision, with how many threads."""

from typing import Any

import torch

from showtell.errors import ShowtellError


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises `ShowtellError` where CUDA is asked for and missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ShowtellError("--device cuda: torch finds no CUDA device; use --device cpu, or a torch built for CUDA")
    return torch.device(name)


def choose_autocast(amp: str, device: torch.device) -> bool:
    """bf16 where asked, or where it is `auto` and the device multiplies bf16 faster than float32."""
    if amp != "auto":
        return amp == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without these instructions the processor emulates bf16, slower than float32.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def torch_threads(count: int) -> None:
    """Use this many processor threads; 0 leaves torch's choice."""
    if count:
        torch.set_num_threads(count)
