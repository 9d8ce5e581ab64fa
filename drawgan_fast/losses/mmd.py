"""Maximum mean discrepancy between two samples, as a differentiable loss."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.losses._checks import check_float


def mmd(x: Tensor, y: Tensor, bandwidth: float | None = None) -> Tensor:
    r"""Biased squared MMD of two samples under one Gaussian kernel.

    .. math::
        \overline{k(x_i, x_j)} + \overline{k(y_i, y_j)} - 2\,\overline{k(x_i, y_j)},
        \qquad k(a, b) = \exp(-\lVert a - b \rVert^2 / h)

    The means run over all pairs, i = j included (V-statistic), so the value is never negative
    (but for rounding) and two samples of one distribution do not give 0: the expectation is then
    (1/m + 1/n)·(1 - E k). The default bandwidth h = z² is InfoVAE's kernel
    exp(-mean((a-b)²)/z).

    Args:
        x: [m, z]  one sample, m >= 1, any float dtype.
        y: [n, z]  the other, n >= 1.
        bandwidth: h above, > 0, in squared units of x; z² if None.

    Returns:
        []  squared MMD, in [0, 2], no unit.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if a sample is empty or not two-dimensional, the widths differ, or
            ``bandwidth`` is not positive.

    Source:
        Gretton et al. 2012, equation 5; Zhao et al. 2017 (InfoVAE), section 3.3, and the kernel
        of the authors' MMD-VAE code.

    Example:
        >>> import torch
        >>> mmd(torch.zeros(2, 1), torch.ones(3, 1))  # 2 - 2/e
        tensor(1.2642)
    """
    for name, sample in (("x", x), ("y", y)):
        check_float(name, sample)
        if sample.dim() != 2 or sample.numel() == 0:
            raise ValueError(f"{name} must be a sample [n, z], got shape {list(sample.shape)}")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"y must have the width of x, {x.shape[1]}, got {y.shape[1]}")
    scale = float(x.shape[1] ** 2) if bandwidth is None else bandwidth
    if not scale > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
    # Distances do not move with the origin, but |a|² + |b|² - 2ab loses digits far from it.
    origin = y.detach().mean(dim=0)
    x, y = x - origin, y - origin
    within = _kernel(x, x, scale).mean() + _kernel(y, y, scale).mean()
    return within - 2 * _kernel(x, y, scale).mean()


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Gaussian kernel of all pairs, [m, n], with no [m, n, z] in memory."""
    squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * (a @ b.T)
    return (squared.clamp_min(0) / -scale).exp()
