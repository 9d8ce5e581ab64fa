from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from drawgan_fast.metrics import _pairwise
from drawgan_fast.metrics.manifold import ManifoldScores, manifold_scores, squared_radii


def two(n: int = 40, m: int = 33, d: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(m, d, generator=generator, dtype=torch.float64) * 0.6 + 0.8


def by_loops(real: np.ndarray, fake: np.ndarray, k: int) -> ManifoldScores:
    def radius(points: np.ndarray, i: int) -> float:
        return sorted(np.linalg.norm(points[i] - p) for j, p in enumerate(points) if j != i)[k - 1]

    r = [radius(real, i) for i in range(len(real))]
    s = [radius(fake, j) for j in range(len(fake))]
    distance = [[np.linalg.norm(p - q) for q in fake] for p in real]
    n, m = range(len(real)), range(len(fake))
    return ManifoldScores(
        precision=float(np.mean([any(distance[i][j] <= r[i] for i in n) for j in m])),
        recall=float(np.mean([any(distance[i][j] <= s[j] for j in m) for i in n])),
        density=sum(distance[i][j] <= r[i] for i in n for j in m) / (k * len(fake)),
        coverage=float(np.mean([any(distance[i][j] <= r[i] for j in m) for i in n])),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_loops(k: int) -> None:
    x, y = two()
    expected = by_loops(x.numpy(), y.numpy(), k)
    assert manifold_scores(x, y, k=k) == expected
    assert len({expected.precision, expected.recall, expected.density, expected.coverage}) == 4


def test_blocks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = two()
    whole = manifold_scores(x, y)
    monkeypatch.setattr(_pairwise, "_PAIRS_PER_BLOCK", 3 * len(y))
    assert manifold_scores(x, y) == whole
    assert manifold_scores(x, y, real_radii=squared_radii(x)) == whole


def test_memorised_collapsed_and_distant_samples() -> None:
    x, _ = two(200)
    assert manifold_scores(x, x) == ManifoldScores(1.0, 1.0, pytest.approx(1.0, abs=0.25), 1.0)
    collapsed = manifold_scores(x, x[:1].expand(50, 3))
    assert collapsed.precision == 1.0  # the point lies on the data ...
    assert collapsed.recall < 0.02  # ... and shows one real image at most
    assert collapsed.coverage < 0.2
    assert manifold_scores(x, x + 100) == ManifoldScores(0.0, 0.0, 0.0, 0.0)


def test_small_samples_cut_k() -> None:
    x, y = two(3, 2)
    assert torch.equal(squared_radii(x, 5), squared_radii(x, 2))
    scores = manifold_scores(x, y, k=5)
    assert all(np.isfinite([scores.precision, scores.recall, scores.density, scores.coverage]))


def test_bad_arguments_are_named() -> None:
    x, y = two()
    with pytest.raises(ValueError, match="k must be >= 1"):
        manifold_scores(x, y, k=0)
    with pytest.raises(ValueError, match="n >= 2"):
        manifold_scores(x[:1], y)
    with pytest.raises(ValueError, match=r"real_radii must be \[40\]"):
        manifold_scores(x, y, real_radii=torch.zeros(3))
