"""The recurrence on every tier: values, gradients, options."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from drawgan_fast import DrawConfig, record_backends, use_backend
from drawgan_fast import functional as F
from tests.support.scans import SMALL, scan_inputs, scan_of, weights_of
from tests.support.truth import assert_matches

WIDE = DrawConfig((7, 11), channels=2, hidden_size=19, latent_size=7, read_size=3, write_size=4)
BLIND = replace(SMALL, attention=False)


def expect(tier: str, cfg: DrawConfig) -> None:
    """Leave out what a tier leaves to the next one; tests/cuda has its reason."""
    if tier == "cuda" and not cfg.attention:
        pytest.skip("whole images are read and written by the tier below")


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("prior", [None, 2])
@pytest.mark.parametrize("cfg", [WIDE, BLIND], ids=["attention", "blind"])
def test_draw_scan(tier: str, device: str, cfg: DrawConfig, prior: int | None, memory: str) -> None:
    expect(tier, cfg)
    inputs = [t.to(device) for t in scan_inputs(cfg, T=5, B=3, prior=prior)]
    function = scan_of(cfg, prior=prior is not None, memory=memory)
    assert_matches(function, inputs, backend=tier)


@pytest.mark.parametrize("spec", ["natsu", "kamen", "vivanov"])
def test_conventions(tier: str, device: str, spec: str) -> None:
    cfg = replace(SMALL, spec=spec)
    inputs = [t.to(device) for t in scan_inputs(cfg, T=3, B=2)]
    assert_matches(scan_of(cfg), inputs, backend=tier)


@pytest.mark.parametrize("looked_at", range(5))
def test_a_loss_that_looks_at_one_result(tier: str, device: str, looked_at: int) -> None:
    inputs = [t.to(device) for t in scan_inputs(SMALL, T=3, B=2, prior=2)]
    assert_matches(lambda *t: scan_of(SMALL, prior=True)(*t)[looked_at], inputs, backend=tier)


@pytest.mark.parametrize(("T", "B", "prior"), [(2, 0, 2), (1, 1, 0), (2, 0, 0)])
def test_empty_batches(tier: str, device: str, T: int, B: int, prior: int) -> None:
    inputs = [t.to(device) for t in scan_inputs(SMALL, T=T, B=B, prior=prior)]
    assert_matches(scan_of(SMALL, prior=True), inputs, backend=tier)


def test_no_steps(tier: str, device: str) -> None:
    x, eps, *tensors = (t.to(device) for t in scan_inputs(SMALL, T=0, B=2))
    out = F.draw_scan(x.requires_grad_(), eps, weights_of(SMALL, tuple(tensors)), SMALL)
    assert out.canvas.shape == x.shape
    assert not out.canvas.any()
    assert out.kl.tolist() == [0.0, 0.0]
    assert torch.autograd.grad(out.canvas.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("cfg", [WIDE, BLIND], ids=["attention", "blind"])
def test_trace_and_generation(tier: str, device: str, cfg: DrawConfig, grad: bool) -> None:
    expect(tier, cfg)
    x, eps, prior_eps, *tensors = (t.to(device) for t in scan_inputs(cfg, T=5, B=2, prior=3))
    weights = weights_of(cfg, tuple(t.requires_grad_(grad) for t in tensors))
    with record_backends() as ran:
        out = F.draw_scan(x, eps, weights, cfg, prior_eps=prior_eps, trace=True)
        drawn = F.draw_generate(prior_eps, weights, cfg, trace=True)
    assert set(ran) == {("draw_scan", tier), ("draw_generate", tier)}
    with use_backend("reference"):
        expected = F.draw_scan(x, eps, weights, cfg, prior_eps=prior_eps, trace=True)
        expected_drawn = F.draw_generate(prior_eps, weights, cfg, trace=True)
    for one, other in zip((*out.trace, *drawn.trace), (*expected.trace, *expected_drawn.trace)):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(drawn.canvas, out.prior_canvas, rtol=2e-5, atol=2e-5)


def test_bfloat16_is_as_good_as_eager_autocast(tier: str, device: str) -> None:
    def autocast(*inputs: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(device, dtype=torch.bfloat16):
            return scan_of(WIDE, prior=True)(*inputs)

    inputs = [t.to(device) for t in scan_inputs(WIDE, T=4, B=3, prior=2)]
    got = assert_matches(autocast, inputs, backend=tier)
    assert {t.dtype for t in got.outputs} == {torch.float32}


def test_kl_keeps_its_digits_near_the_prior(tier: str, device: str) -> None:
    x, eps, *tensors = (t.to(device) for t in scan_inputs(SMALL, T=3, B=2))
    weights = weights_of(SMALL, tuple(tensors))
    for log_sigma in (1e-6, -1e-3, 0.1, -0.499, 0.501, -2.0, 3.0):
        bias = torch.cat([torch.zeros(5), torch.full((5,), log_sigma)]).to(device)
        fixed = weights._replace(posterior_w=0 * weights.posterior_w, posterior_b=bias)
        u = 2 * bias[5].double().item()
        series, term = 0.0, u * u / 2
        for k in range(3, 60):
            series, term = series + term, term * u / k
        kl = F.draw_scan(x, eps, fixed, SMALL).kl
        torch.testing.assert_close(kl, torch.full_like(kl, 0.5 * series * 15), rtol=2e-6, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_nothing_waits_for_the_device(tier: str, device: str, memory: str) -> None:
    inputs = [t.to(device).requires_grad_() for t in scan_inputs(WIDE, T=5, B=3, prior=2)]
    function = scan_of(WIDE, prior=True, memory=memory)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        outputs = function(*inputs)
        torch.autograd.backward(outputs, [torch.ones_like(o) for o in outputs])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(t.grad is not None for t in inputs)
