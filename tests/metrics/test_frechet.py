from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from drawgan_fast.metrics.frechet import frechet_distance, moments, moments_from_covariance


def samples(n: int, m: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix
    y = torch.randn(m, d, generator=generator, dtype=torch.float64) * 2 + 0.5
    return x, y


def test_moments_are_numpys() -> None:
    x, _ = samples(50, 2, 7)
    m = moments(x)
    np.testing.assert_allclose(m.mean, x.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(m.covariance, np.cov(x.numpy().T), rtol=1e-10, atol=1e-12)
    assert m.n == 50


def test_equals_the_matrix_square_root_form() -> None:
    x, y = (t.numpy() for t in samples(90, 120, 11))
    a, b = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    got = frechet_distance(moments(torch.from_numpy(x)), moments(torch.from_numpy(y)))
    assert got == pytest.approx(expected, rel=1e-10)


def test_equals_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")

    class Flat(nn.Module):
        num_features = 12

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).double()

    generator = torch.Generator().manual_seed(3)
    x = torch.rand(80, 3, 2, 2, generator=generator)
    y = torch.rand(60, 3, 2, 2, generator=generator) ** 2
    metric = fid.FrechetInceptionDistance(feature=Flat(), normalize=True).double()
    metric.set_dtype(torch.float64)
    metric.update(x, real=True)
    metric.update(y, real=False)
    got = frechet_distance(moments(x), moments(y))
    assert got == pytest.approx(float(metric.compute()), rel=1e-6)


def test_closed_form_for_commuting_covariances() -> None:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    p, q = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    mean = rng.normal(size=6)
    got = frechet_distance(
        moments_from_covariance(mean, basis @ np.diag(p) @ basis.T),
        moments_from_covariance(np.zeros(6), basis @ np.diag(q) @ basis.T),
    )
    assert got == pytest.approx((mean**2).sum() + ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(), rel=1e-11)


def test_exact_where_the_covariance_lacks_rank() -> None:
    x, _ = samples(20, 2, 50)  # rank 19 of 50
    assert frechet_distance(moments(x), moments(x + 1.0)) == pytest.approx(50.0, rel=1e-10)
    flat = x[:, :1] * torch.ones(4)  # 20 rows on a line: rank 1 by the other branch
    assert moments(flat).root.shape == (1, 4)
    assert frechet_distance(moments(x), moments(3 * x - 2 * x.mean(0))) == pytest.approx(
        4 * float(x.var(0).sum()), rel=1e-10
    )


def test_all_equal_images_have_no_covariance() -> None:
    x, _ = samples(30, 2, 5)
    point = torch.zeros(4, 5)
    expected = float((x.mean(0) ** 2).sum() + x.var(0).sum())
    assert frechet_distance(moments(x), moments(point)) == pytest.approx(expected)
    assert frechet_distance(moments(point), moments(point)) == 0.0


def test_symmetric_and_float32_close_to_float64() -> None:
    x, y = samples(100, 100, 8)
    there, back = frechet_distance(moments(x), moments(y)), frechet_distance(moments(y), moments(x))
    assert there == pytest.approx(back, rel=1e-12)
    single = frechet_distance(moments(x.float()), moments(y.float()))
    assert single == pytest.approx(there, rel=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 3), "n >= 2"),
        (torch.full((4, 2), torch.nan), "finite"),
        (torch.zeros(5), r"\(5,\)"),
    ],
)
def test_bad_samples_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        moments(x)


def test_dimensions_must_agree() -> None:
    with pytest.raises(ValueError, match="got 3 and 2"):
        frechet_distance(moments(torch.rand(4, 3)), moments(torch.rand(4, 2)))
