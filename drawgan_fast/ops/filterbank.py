"""filterbank: validate; the filters are materialised by the reference on every device."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast import reference
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends.precision import computing_dtype, without_autocast
from drawgan_fast.ops.checks import Shapes
from drawgan_fast.sizes import height_and_width, whole


def filterbank(
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    N: int,
    spec: str | AttentionSpec,
    writing: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``functional.filterbank``."""
    Shapes().check("params", params, ("B", 5))
    size = height_and_width("size", size)
    N = whole("N", N)
    spec = resolve_spec(spec)
    with without_autocast(params.device):
        banks = reference.filterbank(
            params.to(computing_dtype(params.dtype)), size, N, spec, writing=writing
        )
    F_y, F_x, gamma = (bank.to(params.dtype) for bank in banks)
    return F_y, F_x, gamma
