"""Maximum mean discrepancy with Gaussian kernels, and the kernel distance (KID) on features."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from drawgan_fast.metrics._pairwise import block_rows, distance_blocks, flatten, pair


@dataclass(frozen=True)
class RBFKernel:
    """k(x, y) = Σ_s exp(-|x - y|² / 2s), s in squared units of x.

    >>> RBFKernel((0.5,))(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.3679])
    """

    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scales or not all(s > 0 for s in self.scales):
            raise ValueError(f"scales must be one or more positive numbers, got {self.scales}")

    def __call__(
        self,
        squared: Tensor,  # any shape
    ) -> Tensor:
        """The kernel at squared distances, same shape."""
        scales = sorted(self.scales, reverse=True)
        values = torch.exp(squared * (-0.5 / scales[0]))
        total = values.clone()
        for wider, scale in itertools.pairwise(scales):
            if wider == 2.0 * scale:  # exp(-d²/2s) is the square of exp(-d²/4s): no new exponential
                values.mul_(values)
            else:
                torch.mul(squared, -0.5 / scale, out=values).exp_()
            total += values
        return total


#: The kernel sum of generative moment matching networks (Li, Swersky & Zemel 2015, section 5),
#: meant for pixels in [0, 1].
GMMN_KERNEL = RBFKernel((2.0, 5.0, 10.0, 20.0, 40.0, 80.0))


def mean_squared_distance(
    x: Tensor,  # [n, ...]
) -> float:
    """Mean of |x_i - x_j|² over the pairs i ≠ j: twice the trace of the unbiased covariance.

    >>> mean_squared_distance(torch.tensor([[0.0], [3.0]]))
    9.0
    """
    rows = flatten("x", x, at_least=2).double()
    return float(2.0 * rows.var(0, correction=1).sum())


def kernel_mean(
    x: Tensor,  # [n, ...]
    y: Tensor | None = None,  # [m, ...]
    *,
    kernel: RBFKernel,
    unbiased: bool = False,
) -> float:
    """Mean of k(x_i, y_j) over all pairs; with ``y=None``, of k(x_i, x_j).

    Needs O(n) memory: distances pass in blocks, in the dtype of ``x``, and are summed in float64.

    Args:
        x, y: samples [n, ...] and [m, ...] whose rows have one size.
        kernel: the kernel.
        unbiased: leave out the pairs i = j (``y=None`` only; needs n >= 2).

    Returns:
        The mean, between 0 and the number of the kernel's scales.

    >>> kernel_mean(torch.tensor([[0.0], [0.0]]), kernel=RBFKernel((1.0,)))
    1.0
    """
    if y is not None:
        if unbiased:
            raise ValueError("unbiased leaves out i = j of one sample: it needs y=None")
        a, b = pair(x, y)
        total = sum(float(kernel(d).sum(dtype=torch.float64)) for _, d in distance_blocks(a, b))
        return total / (len(a) * len(b))
    a = flatten("x", x, at_least=2 if unbiased else 1)
    n, total = len(a), 0.0
    rows = block_rows(n)
    for start in range(0, n, rows):  # k is symmetric: the diagonal square, and twice what is right
        ((_, squared),) = distance_blocks(a[start : start + rows], a[start:], rows=rows)
        squared.fill_diagonal_(0.0)
        values = kernel(squared)
        total += float(values[:, : len(values)].sum(dtype=torch.float64))
        total += 2.0 * float(values[:, len(values) :].sum(dtype=torch.float64))
    if unbiased:
        return (total - n * len(kernel.scales)) / (n * (n - 1))
    return total / (n * n)


def mmd_squared(
    x: Tensor,  # [n, ...]
    y: Tensor,  # [m, ...]
    kernel: RBFKernel,
    *,
    unbiased: bool = False,
    xx: float | None = None,
) -> float:
    """Squared maximum mean discrepancy.

    .. math:: MMD² = mean k(x_i, x_j) + mean k(y_i, y_j) - 2 mean k(x_i, y_j)

    Biased: all pairs, never negative, above 0 even for two samples of one distribution.
    Unbiased: i ≠ j in the first two means; its expectation is 0 then, so it can be negative.

    Args:
        x, y: samples [n, ...] and [m, ...] whose rows have one size, n, m >= 2 when unbiased.
        kernel: the kernel, for instance :data:`GMMN_KERNEL`.
        unbiased: which estimator.
        xx: ``kernel_mean(x, kernel=kernel, unbiased=unbiased)`` where it is known already.

    Returns:
        MMD², dimensionless.

    Source: Gretton et al. 2012, eqs. 3 (unbiased) and 5 (biased).

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> round(mmd_squared(x, x, RBFKernel((2.0,))), 12)
    0.0
    >>> round(mmd_squared(x, x, RBFKernel((2.0,)), unbiased=True), 6)  # exp(-1) - 1
    -0.632121
    """
    a, b = pair(x, y, at_least=2 if unbiased else 1)
    if xx is None:
        xx = kernel_mean(a, kernel=kernel, unbiased=unbiased)
    yy = kernel_mean(b, kernel=kernel, unbiased=unbiased)
    squared = xx + yy - 2.0 * kernel_mean(a, b, kernel=kernel)
    return squared if unbiased else max(0.0, squared)


@dataclass(frozen=True)
class KernelDistance:
    """KID: mean and standard deviation over the subsets."""

    mean: float
    std: float


def kernel_distance(
    x: Tensor,  # [n, ...]
    y: Tensor,  # [m, ...]
    *,
    subsets: int = 50,
    subset_size: int = 1000,
    degree: int = 3,
    seed: int = 0,
) -> KernelDistance:
    """Kernel (Inception) distance: unbiased MMD² with k(x, y) = (xᵀy/d + 1)^degree on features.

    Args:
        x, y: features [n, d] and [m, d], n, m >= 2.
        subsets: how many random subsets are averaged.
        subset_size: rows of each subset, drawn without replacement; at most min(n, m) is used.
        degree: of the polynomial, 3 in the paper.
        seed: of the subsets.

    Returns:
        :class:`KernelDistance`; the mean is 0 in expectation for two samples of one distribution.

    Source: Bińkowski et al. 2018, section 4.

    >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> kernel_distance(x, x + 3, subsets=4, subset_size=32).mean > 1
    True
    """
    if subsets < 1 or subset_size < 2 or degree < 1:
        raise ValueError(
            "subsets and degree must be >= 1 and subset_size >= 2, "
            f"got {subsets}, {degree} and {subset_size}"
        )
    a, b = (t.double() for t in pair(x, y, at_least=2))
    size = min(subset_size, len(a), len(b))
    generator = torch.Generator().manual_seed(seed)
    values = torch.empty(subsets, dtype=torch.float64)
    for i in range(subsets):
        rows = torch.randperm(len(a), generator=generator)[:size].to(a.device)
        columns = torch.randperm(len(b), generator=generator)[:size].to(a.device)
        values[i] = _polynomial_mmd(a[rows], b[columns], degree)
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


def _polynomial_mmd(x: Tensor, y: Tensor, degree: int) -> Tensor:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        base = (a @ b.T).div_(a.shape[1]).add_(1.0)
        power = base.clone()
        for _ in range(degree - 1):  # products: several times faster than pow in float64
            power.mul_(base)
        return power

    n = len(x)
    xx, yy = kernel(x, x), kernel(y, y)
    within = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return within / (n * (n - 1)) - 2.0 * kernel(x, y).mean()
