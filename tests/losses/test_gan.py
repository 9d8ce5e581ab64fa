from __future__ import annotations

import math

import pytest
import torch

from drawgan_fast.losses import discriminator_loss, generator_loss


def logits(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, generator=generator, dtype=torch.float64)


def test_discriminator_value_is_minus_the_objective_of_algorithm_1() -> None:
    real, prior, rec = logits(4, 0), logits(4, 1), logits(4, 2)
    objective = sum(
        (math.log(d) + math.log(1 - d_prior) + math.log(1 - d_rec)) / 4
        for d, d_prior, d_rec in zip(
            real.sigmoid().tolist(), prior.sigmoid().tolist(), rec.sigmoid().tolist()
        )
    )
    assert discriminator_loss(real, prior, rec).item() == pytest.approx(-objective, rel=1e-12)


def test_discriminator_gradients() -> None:
    real, prior, rec = (
        logits(count, seed).requires_grad_() for seed, count in enumerate((4, 4, 6))
    )
    discriminator_loss(real, prior, rec).backward()
    torch.testing.assert_close(real.grad, -(1 - real.detach().sigmoid()) / 4)
    torch.testing.assert_close(prior.grad, prior.detach().sigmoid() / 4)
    torch.testing.assert_close(rec.grad, rec.detach().sigmoid() / 6)


def test_minimax_generator_descends_what_the_discriminator_ascends() -> None:
    prior, rec = logits(4, 1).requires_grad_(), logits(6, 2).requires_grad_()
    loss = generator_loss(prior, rec)
    expected = (1 - prior.sigmoid()).log().mean() + (1 - rec.sigmoid()).log().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    torch.testing.assert_close(prior.grad, -prior.detach().sigmoid() / 4)
    torch.testing.assert_close(rec.grad, -rec.detach().sigmoid() / 6)


def test_non_saturating_generator() -> None:
    prior, rec = logits(4, 1).requires_grad_(), logits(6, 2).requires_grad_()
    loss = generator_loss(prior, rec, form="non_saturating")
    torch.testing.assert_close(loss, -prior.sigmoid().log().mean() - rec.sigmoid().log().mean())
    loss.backward()
    torch.testing.assert_close(prior.grad, -(1 - prior.detach().sigmoid()) / 4)
    torch.testing.assert_close(rec.grad, -(1 - rec.detach().sigmoid()) / 6)


def test_the_forms_differ_where_the_discriminator_is_certain() -> None:
    fake = torch.tensor([-40.0], dtype=torch.float64, requires_grad=True)
    (saturated,) = torch.autograd.grad(generator_loss(fake), fake)
    (driven,) = torch.autograd.grad(generator_loss(fake, form="non_saturating"), fake)
    assert saturated.item() == pytest.approx(-math.exp(-40), rel=1e-12)
    assert driven.item() == -1.0


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_logits_stay_finite(scale: float) -> None:
    values = torch.tensor([scale, -scale], requires_grad=True)
    for loss, expected, gradient in (
        (discriminator_loss(values[:1], values[1:]), 0.0, [0.0, 0.0]),
        (discriminator_loss(values[1:], values[:1]), 2 * scale, [1.0, -1.0]),
        (generator_loss(values[:1], values[1:]), -scale, [-1.0, 0.0]),
        (generator_loss(values[:1], values[1:], form="non_saturating"), scale, [0.0, -1.0]),
    ):
        (got,) = torch.autograd.grad(loss, values)
        assert loss.item() == pytest.approx(expected)
        assert got.tolist() == gradient


def test_gradients_by_finite_differences() -> None:
    real, fake = logits(3, 0).requires_grad_(), logits(2, 1).requires_grad_()
    assert torch.autograd.gradcheck(discriminator_loss, (real, fake))
    assert torch.autograd.gradgradcheck(discriminator_loss, (real, fake))
    for form in ("minimax", "non_saturating"):
        assert torch.autograd.gradgradcheck(
            lambda f, form=form: generator_loss(f, form=form), (fake,)
        )


def test_wrong_arguments_are_named() -> None:
    one = torch.zeros(1)
    with pytest.raises(
        ValueError, match="form must be one of minimax, non_saturating, got 'hinge'"
    ):
        generator_loss(one, form="hinge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fake_logits must hold at least one tensor"):
        generator_loss()
    with pytest.raises(ValueError, match="fake_logits must hold at least one tensor"):
        discriminator_loss(one)
    with pytest.raises(ValueError, match=r"fake_logits\[1\] must hold at least one logit"):
        discriminator_loss(one, one, torch.zeros(0))
    with pytest.raises(
        TypeError, match=r"real_logits must be a float tensor, got dtype torch.bool"
    ):
        discriminator_loss(one.bool(), one)
