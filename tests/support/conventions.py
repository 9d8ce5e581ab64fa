"""Read and write of each public implementation, one pixel at a time, from its own formulas.

Written from the published formulas, without AttentionSpec and without PyTorch, so that a preset
that is wrong cannot agree with it by sharing a mistake. Images are [H, W], A = W and B = H.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def gaussian(p: float, mu: float, sigma2: float) -> float:
    return math.exp(-((p - mu) ** 2) / (2 * sigma2))


def bank(
    centres: list[float], pixels: list[float], sigma2: float, scale: Callable[[Array], Array]
) -> Array:
    """[N, P] filters, ``scale`` normalises the raw ones."""
    raw = np.array([[gaussian(p, mu, sigma2) for p in pixels] for mu in centres])
    return scale(raw)


def plus(eps: float) -> Callable[[Array], Array]:
    return lambda raw: np.array([row / (sum(row) + eps) for row in raw])


@dataclass
class Row:
    """One implementation: raw numbers → (F_x [N, A], F_y [N, B], γ on read, γ on write)."""

    banks: Callable[[Array, int, int, int], tuple[Array, Array, float, float]]
    read: Callable[[Array, Array, Array], Array] = lambda F_y, image, F_x: F_y @ image @ F_x.T
    write: Callable[[Array, Array, Array], Array] = lambda F_y, w, F_x: F_y.T @ w @ F_x


def _stride(A: int, B: int, N: int) -> float:
    return (max(A, B) - 1) / (N - 1)


def paper(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    # Equations 19-26, i, a and b from 1.
    g_x, g_y = (A + 1) / 2 * (n[0] + 1), (B + 1) / 2 * (n[1] + 1)
    sigma2, delta, gamma = math.exp(n[2]), _stride(A, B, N) * math.exp(n[3]), math.exp(n[4])
    offsets = [(i - N / 2 - 0.5) * delta for i in range(1, N + 1)]
    F_x = bank([g_x + o for o in offsets], list(range(1, A + 1)), sigma2, plus(0.0))
    F_y = bank([g_y + o for o in offsets], list(range(1, B + 1)), sigma2, plus(0.0))
    return F_x, F_y, gamma, 1 / gamma


def forks(
    shift: float, scale: Callable[[Array], Array], *, base: int = 0, wide: bool = False
) -> Callable[[Array, int, int, int], tuple[Array, Array, float, float]]:
    """The PyTorch forks: μ = g + (i − shift)·δ with i from 0, pixels from ``base``."""

    def banks(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
        g_x, g_y = (A + 1) / 2 * (n[0] + 1), (B + 1) / 2 * (n[1] + 1)
        s, delta, gamma = math.exp(n[2]), _stride(A, B, N) * math.exp(n[3]), math.exp(n[4])
        # exp(−((p−μ)/2s)²) = exp(−(p−μ)²/4s²): a Gaussian of variance 2s².
        sigma2 = 2 * s * s if wide else s
        offsets = [(i - (N / 2 + shift)) * delta for i in range(N)]
        F_x = bank([g_x + o for o in offsets], [base + a for a in range(A)], sigma2, scale)
        F_y = bank([g_y + o for o in offsets], [base + b for b in range(B)], sigma2, scale)
        return F_x, F_y, gamma, 1 / gamma

    return banks


def jbornschein(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    centre_y, centre_x = (n[0] + 1) / 2 * B, (n[1] + 1) / 2 * A
    delta, sigma, gamma = _stride(A, B, N) * math.exp(n[2]), math.exp(n[3] / 2), math.exp(n[4])
    offsets = [(i - N / 2 + 0.5) * delta for i in range(N)]
    F_x = bank([centre_x + o for o in offsets], list(range(A)), sigma**2, plus(1e-4))
    F_y = bank([centre_y + o for o in offsets], list(range(B)), sigma**2, plus(1e-4))
    return F_x, F_y, gamma, 1 / gamma


def text2image(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    swapped = np.array([n[0], n[1], n[3], n[2], n[4]])  # x, y, δ, σ², γ
    return forks(0.5, plus(1e-4))(swapped, A, B, N)


def czm0_python2(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    # There N / 2 is a whole number: for odd N the grid stands half a stride further right.
    return forks(0.5 if N % 2 == 0 else 0.0, plus(1e-9), wide=True)(n, A, B, N)


def rhychen(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    # x is scaled by the width but its filters span the height, and the other way round.
    g_x, g_y = (n[0] + 1) * (A + 1) / 2, (n[1] + 1) * (B + 1) / 2
    delta, gamma = _stride(A, B, N) * math.exp(n[3]), math.exp(n[4])
    offsets = [(i - N / 2 - 0.5) * delta for i in range(1, N + 1)]
    F_x = bank([g_x + o for o in offsets], list(range(B)), math.exp(n[2]), plus(1e-9))
    F_y = bank([g_y + o for o in offsets], list(range(A)), math.exp(n[2]), plus(1e-9))
    return F_x, F_y, gamma, gamma


def vivanov(n: Array, A: int, B: int, N: int) -> tuple[Array, Array, float, float]:
    # Torch7: i and pixels from 1, exponent −(p−μ)²/2σ² with log σ given, γ inside both banks.
    g_x, g_y = (A + 1) / 2 * (n[0] + 1), (B + 1) / 2 * (n[1] + 1)
    sigma2, delta, gamma = math.exp(n[2]) ** 2, _stride(A, B, N) * math.exp(n[3]), math.exp(n[4])
    offsets = [(i - N / 2 - 0.5) * delta for i in range(1, N + 1)]
    F_x = bank([g_x + o for o in offsets], list(range(1, A + 1)), sigma2, lambda raw: gamma * raw)
    F_y = bank([g_y + o for o in offsets], list(range(1, B + 1)), sigma2, lambda raw: gamma * raw)
    return F_x, F_y, 1.0, 1.0


ROWS: dict[str, Row] = {
    "paper": Row(paper),
    "natsu": Row(forks(0.5, plus(1e-8))),
    "amarsaini": Row(forks(-0.5, plus(1e-8))),
    "czm0": Row(forks(0.5, plus(1e-9), wide=True)),
    "czm0-python2": Row(czm0_python2),
    "shuaiyihuang": Row(forks(0.5, lambda raw: raw / raw.sum(), wide=True)),
    "kamen": Row(forks(-0.5, lambda raw: np.array([row / sum(row + 1e-8) for row in raw]), base=1)),
    "rhychen": Row(
        rhychen,
        read=lambda F_y, image, F_x: F_y @ image.T @ F_x.T,
        # Its write multiplies [A, N]·[N, N]·[N, B] and flattens, which is only right on a square.
        write=lambda F_y, w, F_x: F_y.T @ w @ F_x,
    ),
    "jbornschein": Row(jbornschein),
    "text2image": Row(text2image),
    "ericjang": Row(forks(0.5, lambda raw: np.array([row / max(sum(row), 1e-8) for row in raw]))),
    "vivanov": Row(vivanov, read=lambda F_y, image, F_x: F_x @ image @ F_y.T),
}

# These two swap the axes of the image, which their authors only ever ran on squares.
SQUARE_ONLY = ("rhychen", "vivanov")
