"""What kernels on a GPU do not take, with the reason: float64, large windows, old chips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.tracing import constant_when_traced


def tensors_of(args: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a call, with the name of its argument."""
    for name, value in args.items():
        for tensor in value if isinstance(value, tuple) else (value,):
            if isinstance(tensor, Tensor):
                yield name, tensor


def against_float64(args: Mapping[str, Any]) -> str | None:
    """Why kernels that compute in float32 do not take a call, or None if they do."""
    for name, tensor in tensors_of(args):
        if tensor.dtype is torch.float64:
            return f"{name} has dtype torch.float64, and it computes in float32"
    return None


def windows_of(op: str, args: Mapping[str, Any]) -> dict[str, int]:
    """Grid points a side of a call's windows, by what the call names them."""
    if op == "attention_write":
        return {"N": args["patch"].shape[-1]}
    if "N" in args:
        return {"N": args["N"]}
    if "cfg" in args and args["cfg"].attention:
        return {name: getattr(args["cfg"], name) for name in ("read_size", "write_size")}
    return {}


def against_windows(op: str, args: Mapping[str, Any], most: int) -> str | None:
    """Why windows of at most ``most`` grid points a side do not serve a call, or None."""
    for name, side in windows_of(op, args).items():
        if side > most:
            return f"{name} is {side}, and its windows have at most {most} grid points a side"
    return None


@lru_cache(maxsize=64)
def _against_capability(device: torch.device, least: tuple[int, int]) -> str | None:
    if device.type != "cuda" or torch.version.hip:
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability < least:
        wanted, has = (".".join(map(str, version)) for version in (least, capability))
        name = torch.cuda.get_device_name(device)
        return f"{name} has compute capability {has}, and its kernels need {wanted}"
    return None


# A compiler that traces a call takes the answer as it is.
@constant_when_traced
def against_capability(device: torch.device, least: tuple[int, int]) -> str | None:
    """Why a device is too old for the kernels, or None if it is not."""
    return _against_capability(device, least)
