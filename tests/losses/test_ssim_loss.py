from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from drawgan_fast.losses import ssim_loss


def images(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """1 - SSIM of one channel, from SciPy's Gaussian filter of the same 11-pixel window."""

    def smooth(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma=1.5, mode="mirror", truncate=5 / 1.5)

    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a**2
    var_b = smooth(b * b) - mean_b**2
    cov = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    index /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return 1 - float(index.mean())


@pytest.mark.parametrize(("height", "width"), [(28, 28), (11, 11), (19, 31)])
def test_value_by_scipy(height: int, width: int) -> None:
    a, b = images(2, 3, height, width, seed=0), images(2, 3, height, width, seed=1)
    b = 0.5 * (a + b)  # alike, so that every term of the index counts
    expected = [
        np.mean([by_scipy(a[i, c].numpy(), b[i, c].numpy()) for c in range(3)]) for i in range(2)
    ]
    assert ssim_loss(a, b).tolist() == pytest.approx(expected, rel=1e-6)


def test_equal_images_and_their_negatives() -> None:
    a = images(2, 1, 12, 12, seed=0)
    assert ssim_loss(a, a).abs().max() < 1e-12
    assert ssim_loss(1 - a, a).min() > 1


def test_each_image_has_its_own_loss() -> None:
    a, b = images(3, 1, 12, 12, seed=0), images(3, 1, 12, 12, seed=1)
    alone = torch.cat([ssim_loss(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(ssim_loss(a, b), alone)
    assert ssim_loss(a[:0], b[:0]).shape == (0,)


def test_gradients_by_finite_differences() -> None:
    a = images(1, 1, 11, 12, seed=0).requires_grad_()
    b = images(1, 1, 11, 12, seed=1)
    assert torch.autograd.gradcheck(ssim_loss, (a, b), fast_mode=True)
    assert torch.autograd.gradgradcheck(ssim_loss, (a, b), fast_mode=True)


def test_flat_images_have_finite_gradients() -> None:
    a = torch.zeros(1, 1, 28, 28, requires_grad=True)
    ssim_loss(a, images(1, 1, 28, 28, seed=1).float()).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


def test_wrong_arguments_are_named() -> None:
    a = torch.zeros(1, 1, 28, 28)
    with pytest.raises(ValueError, match="at least 11x11 pixels, the SSIM window, got 28x10"):
        ssim_loss(a[..., :10], a[..., :10])
    with pytest.raises(ValueError, match="x must have the shape of reconstruction"):
        ssim_loss(a, a[..., :20])
    with pytest.raises(ValueError, match=r"x must be images \[B, C, H, W\], got shape \[28, 28\]"):
        ssim_loss(a[0, 0], a[0, 0])
    with pytest.raises(TypeError, match=r"x must have dtype torch.float32, got torch.float64"):
        ssim_loss(a, a.double())


def test_importing_the_losses_leaves_torchmetrics_alone() -> None:
    code = "import sys, drawgan_fast.losses; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
