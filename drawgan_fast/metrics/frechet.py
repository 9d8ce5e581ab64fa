"""Fréchet distance between two samples' Gaussian moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from drawgan_fast.metrics._pairwise import flatten

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a sample, the covariance kept as a factor.

    ``mean`` [d] and ``root`` [r, d] with ``root.T @ root`` equal to the unbiased sample covariance
    (divided by n - 1) and r ≤ min(n, d), both float64; ``n`` is the size of the sample.
    """

    mean: Float64
    root: Float64
    n: int

    @property
    def covariance(self) -> Float64:
        """The covariance [d, d]."""
        covariance: Float64 = self.root.T @ self.root
        return covariance


def moments(
    x: Tensor,  # [n, ...]
) -> Moments:
    """Mean and unbiased covariance of the rows of ``x``, in float64.

    Args:
        x: sample [n, ...], n >= 2, any real dtype; everything behind n is flattened.

    Returns:
        :class:`Moments`, in the units of ``x`` and their square.

    Raises:
        TypeError, ValueError: ``x`` is no tensor, or has fewer than two rows, or is not finite.

    >>> import torch
    >>> m = moments(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    >>> m.mean.tolist(), m.covariance.round(12).tolist()
    ([1.0, 0.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    rows: Float64 = flatten("x", x, at_least=2).cpu().numpy().astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("x must be finite, got NaN or infinity")
    mean = rows.mean(0)
    centred = rows - mean
    if len(rows) <= rows.shape[1]:  # the sample itself is a factor, exact and for nothing
        return Moments(mean, centred / np.sqrt(len(rows) - 1), len(rows))
    return Moments(mean, _root(centred.T @ centred / (len(rows) - 1)), len(rows))


def moments_from_covariance(mean: Float64, covariance: Float64, n: int = 0) -> Moments:
    """:class:`Moments` from a mean [d] and a symmetric positive semi-definite covariance [d, d].

    >>> moments_from_covariance(np.zeros(2), np.eye(2)).root.shape
    (2, 2)
    """
    return Moments(np.asarray(mean, np.float64), _root(np.asarray(covariance, np.float64)), n)


def _root(covariance: Float64) -> Float64:
    """R [r, d] with RᵀR = covariance, without the directions that are only rounding."""
    from scipy.linalg import eigh

    values, vectors = eigh(covariance)
    # The square root turns an eigenvalue of 1e-16 that should be 0 into 1e-8: drop those first.
    keep = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    root: Float64 = np.sqrt(values[keep])[:, None] * vectors[:, keep].T
    return root


def frechet_distance(p: Moments, q: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians.

    .. math:: |μ_p - μ_q|² + tr Σ_p + tr Σ_q - 2 tr (Σ_p Σ_q)^{1/2}

    With Σ = RᵀR the last trace is the nuclear norm (the sum of the singular values) of
    ``R_p R_qᵀ``, which needs no square root of a matrix and has no trouble with covariances that
    lack rank, as those of 640 images of 784 pixels do.

    Args:
        p, q: moments of one dimension d, from :func:`moments`.

    Returns:
        The distance, ≥ 0, in the square of the sample's units. This is what "FID" prints; the
        paper's convention is its square root on pixels of 0 to 255.

    Raises:
        ValueError: the dimensions differ.

    Source: Dowson & Landau 1982; Heusel et al. 2017 (FID), eq. 6.

    >>> import numpy as np
    >>> one = moments_from_covariance(np.array([0.0]), np.array([[1.0]]))
    >>> two = moments_from_covariance(np.array([3.0]), np.array([[4.0]]))
    >>> round(frechet_distance(one, two), 9)  # 3² + (2 - 1)²
    10.0
    """
    if p.mean.shape != q.mean.shape:
        raise ValueError(
            f"p and q must have one dimension, got {p.mean.shape[0]} and {q.mean.shape[0]}"
        )
    difference = p.mean - q.mean
    trace = np.square(p.root).sum() + np.square(q.root).sum()
    cross = 0.0
    if len(p.root) and len(q.root):
        from scipy.linalg import svdvals

        cross = float(svdvals(p.root @ q.root.T).sum())
    return max(0.0, float(difference @ difference + trace - 2.0 * cross))
