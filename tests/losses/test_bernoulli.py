from __future__ import annotations

import math

import pytest
import torch

from drawgan_fast.losses import bernoulli_nll


def test_value_by_a_loop_over_pixels() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = [0.0, 0.0]
    for b in range(2):
        for value, logit in zip(x[b].flatten().tolist(), logits[b].flatten().tolist()):
            p = 1 / (1 + math.exp(-logit))
            expected[b] -= value * math.log(p) + (1 - value) * math.log(1 - p)
    assert bernoulli_nll(logits, x).tolist() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_probability_minus_pixel() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 1, 3, 3, dtype=torch.float64)
    bernoulli_nll(logits, x).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.sigmoid() - x).detach())
    assert torch.autograd.gradcheck(bernoulli_nll, (logits, x.requires_grad_()))
    assert torch.autograd.gradgradcheck(lambda logit: bernoulli_nll(logit, x), (logits,))


def test_huge_logits_stay_finite() -> None:
    logits = torch.tensor([[1e30, -1e30, 200.0, -200.0]], requires_grad=True)
    right = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    assert bernoulli_nll(logits, right).item() == 0.0
    wrong = bernoulli_nll(logits[:, 2:], 1 - right[:, 2:])
    assert wrong.item() == pytest.approx(400.0)
    bernoulli_nll(logits, 1 - right).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, -1.0, 1.0, -1.0]]


def test_no_image_and_no_pixel_dimension() -> None:
    assert bernoulli_nll(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2)).shape == (0,)
    one = bernoulli_nll(torch.zeros(3), torch.ones(3))
    assert one.tolist() == pytest.approx([math.log(2)] * 3)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"x must have the shape of logits, \[2, 4\], got \[2, 1\]"
    ):
        bernoulli_nll(torch.zeros(2, 4), torch.zeros(2, 1))
    with pytest.raises(TypeError, match=r"x must be a float tensor, got dtype torch.uint8"):
        bernoulli_nll(torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="logits must have a batch dimension"):
        bernoulli_nll(torch.zeros(()), torch.zeros(()))
