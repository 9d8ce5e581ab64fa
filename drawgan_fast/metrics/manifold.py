"""Precision, recall, density and coverage from balls around each sample's points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drawgan_fast.metrics._pairwise import distance_blocks, flatten, pair


@dataclass(frozen=True)
class ManifoldScores:
    """Shares in [0, 1], except ``density``, which may exceed 1. Higher is better for each."""

    precision: float
    recall: float
    density: float
    coverage: float


def squared_radii(
    x: Tensor,  # [n, ...]
    k: int = 5,
) -> Tensor:
    """Squared distance from each row of ``x`` to its k-th nearest other row: [n].

    k is cut to n - 1 where the sample is that small.

    >>> squared_radii(torch.tensor([[0.0], [1.0], [3.0]]), k=1).tolist()
    [1.0, 1.0, 4.0]
    """
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    rows = flatten("x", x, at_least=2)
    k = min(k, len(rows) - 1)
    radii = torch.empty(len(rows), dtype=rows.dtype, device=rows.device)
    for start, squared in distance_blocks(rows, rows):
        block = torch.arange(len(squared), device=rows.device)
        squared[block, start + block] = torch.inf  # a point is no neighbour of itself
        radii[start : start + len(squared)] = squared.topk(k, largest=False).values[:, -1]
    return radii


def manifold_scores(
    real: Tensor,  # [n, ...]
    fake: Tensor,  # [m, ...]
    *,
    k: int = 5,
    real_radii: Tensor | None = None,  # [n]
) -> ManifoldScores:
    r"""Improved precision and recall, and density and coverage.

    With B(p) the closed ball around p whose radius reaches p's k-th nearest neighbour in p's own
    sample, of n real points r and m generated points f:

    - precision = mean over f of [f lies in some B(r)], recall = mean over r of [r in some B(f)];
    - density = 1/(k m) · the number of pairs with f in B(r);
    - coverage = mean over r of [some f lies in B(r)].

    Args:
        real, fake: features (or pixels) [n, ...] and [m, ...], n, m >= 2; k is cut to the size
            of a smaller sample.
        k: which neighbour sets the radius.
        real_radii: ``squared_radii(real, k)`` where it is known already.

    Returns:
        :class:`ManifoldScores`.

    Source: Kynkäänniemi et al. 2019, eqs. 1 and 2; Naeem et al. 2020, eqs. 3 and 5. (Their ball is
    open in the second paper's code; that differs on ties only.)

    >>> line = torch.arange(8.0)[:, None]
    >>> manifold_scores(line, line + 100).coverage
    0.0
    """
    a, b = pair(real, fake, ("real", "fake"), at_least=2)
    k_real = min(k, len(a) - 1)
    radii_a = squared_radii(a, k) if real_radii is None else real_radii
    if radii_a.shape != (len(a),):
        raise ValueError(
            f"real_radii must be [{len(a)}], one for each real row, got {tuple(radii_a.shape)}"
        )
    radii_b = squared_radii(b, k)
    inside, in_a_real_ball, in_a_fake_ball, covered = 0, 0, 0, 0
    in_real = torch.zeros(len(b), dtype=torch.bool, device=b.device)
    for start, squared in distance_blocks(a, b):
        hits = squared <= radii_a[start : start + len(squared), None]
        inside += int(hits.sum())
        covered += int(hits.any(1).sum())
        in_real |= hits.any(0)
        in_a_fake_ball += int((squared <= radii_b).any(1).sum())
    in_a_real_ball = int(in_real.sum())
    return ManifoldScores(
        precision=in_a_real_ball / len(b),
        recall=in_a_fake_ball / len(a),
        density=inside / (k_real * len(b)),
        coverage=covered / len(a),
    )
