"""Structural similarity as a reconstruction loss."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast._matplotlib import any_backend
from drawgan_fast.losses._checks import check_same_shape

WINDOW = 11
"""Width in pixels of the Gaussian window (sigma 1.5), as in the SSIM paper."""


def ssim_loss(reconstruction: Tensor, x: Tensor) -> Tensor:
    r"""1 - SSIM of each image, the mean over pixels and channels of the local index.

    .. math::
        \mathrm{SSIM} = \frac{(2\mu_a\mu_b + c_1)(2\sigma_{ab} + c_2)}
        {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)},
        \qquad c_1 = 0.01^2,\; c_2 = 0.03^2

    with local moments under an 11×11 Gaussian window of sigma 1.5, images mirrored at the border,
    data range 1. Computed by torchmetrics; twice differentiable.

    Args:
        reconstruction: [B, C, H, W]  pixels in [0, 1], H and W at least 11.
        x: [B, C, H, W]  pixels in [0, 1], the shape and dtype of ``reconstruction``.

    Returns:
        [B]  in [0, 2], 0 for equal images; no unit (not nats).

    Raises:
        TypeError: if an argument is no float tensor, or the dtypes differ.
        ValueError: if the shapes differ, are not [B, C, H, W], or an image is smaller than the
            window.

    Source:
        Wang et al. 2004, equations 13 and 14.

    Example:
        >>> x = torch.linspace(0, 1, 144).view(1, 1, 12, 12)
        >>> ssim_loss(x, x).abs().item() < 1e-6, ssim_loss(1 - x, x).item() > 1
        (True, True)
    """
    check_same_shape("reconstruction", reconstruction, "x", x)
    if x.dtype != reconstruction.dtype:
        raise TypeError(f"x must have dtype {reconstruction.dtype}, got {x.dtype}")
    if x.dim() != 4:
        raise ValueError(f"x must be images [B, C, H, W], got shape {list(x.shape)}")
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"x must be at least {WINDOW}x{WINDOW} pixels, the SSIM window, "
            f"got {x.shape[2]}x{x.shape[3]}"
        )
    if x.shape[0] == 0:
        return reconstruction.sum(dim=(1, 2, 3))
    # torchmetrics takes seconds to import, and imports matplotlib.
    with any_backend():
        from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        reconstruction, x, data_range=1.0, reduction="none"
    )
    if not isinstance(similarity, torch.Tensor):
        raise TypeError("torchmetrics returned no tensor for the SSIM")
    return 1 - similarity
