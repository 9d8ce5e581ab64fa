"""Reference read: γ·F_y·I·F_xᵀ (DRAW eq. 27)."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.reference.filterbank import filterbank


def attention_read(
    images: tuple[Tensor, ...],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    N: int,
    spec: AttentionSpec,
    canvas: Tensor | None = None,  # [B, C, H, W]
) -> tuple[Tensor, ...]:
    """Read every image through one window; see ``functional.attention_read``.

    With ``canvas`` the error image x − σ(canvas) of the one image x is read after it.

    Returns:
        One [B, C, N, N] glimpse per image.
    """
    if canvas is not None:
        images = (images[0], images[0] - torch.sigmoid(canvas))
    size = (images[0].shape[-2], images[0].shape[-1])
    F_y, F_x, gamma = filterbank(params, size, N, spec)

    def read(image: Tensor) -> Tensor:
        glimpse = F_y[:, None] @ image @ F_x[:, None].mT  # [B, C, N, N]
        if spec.read_axes == "transposed":
            glimpse = glimpse.mT
        return gamma[:, None, None, None] * glimpse

    return tuple(read(image) for image in images)
