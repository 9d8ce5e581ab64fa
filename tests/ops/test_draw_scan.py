"""draw_scan and draw_generate on every backend: against a plain loop, gradients, options."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from drawgan_fast import PRESETS, DrawConfig, DrawWeights, record_backends
from drawgan_fast import functional as F
from drawgan_fast.losses import kl_standard_normal
from tests.support.cases import strided
from tests.support.conventions import ROWS

SMALL = DrawConfig((5, 7), channels=2, hidden_size=4, latent_size=3, read_size=2, write_size=3)
BLIND = replace(SMALL, attention=False)
TINY = DrawConfig((3, 4), hidden_size=2, latent_size=2, read_size=2, write_size=2)


def random_weights(cfg: DrawConfig, scale: float = 0.4) -> DrawWeights:
    shapes = DrawWeights.shapes(cfg).items()
    return DrawWeights(
        **{n: (torch.randn(s, dtype=torch.float64) * scale).requires_grad_() for n, s in shapes}
    )


def inputs(cfg: DrawConfig, T: int = 3, B: int = 2) -> tuple[Tensor, Tensor]:
    x = torch.rand(B, cfg.channels, *cfg.image_size, dtype=torch.float64, requires_grad=True)
    eps = torch.randn(T, B, cfg.latent_size, dtype=torch.float64, requires_grad=True)
    return x, eps


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def lstm(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def loop(x: np.ndarray, eps: np.ndarray, w: DrawWeights, cfg: DrawConfig, row: str):
    """One sample, one channel at a time, in NumPy, from eq. 3-8 and the row's own formulas."""
    w = DrawWeights(*(None if t is None else t.detach().numpy() for t in w))
    H, W = cfg.image_size
    h_enc = c_enc = h_dec = c_dec = np.zeros(cfg.hidden_size)
    canvas, mus, log_sigmas = np.zeros_like(x), [], []
    for e in eps:
        error = x - sigmoid(canvas)
        if cfg.attention:
            params = w.read_w @ h_dec + w.read_b
            F_x, F_y, gamma, _ = ROWS[row].banks(params, W, H, cfg.read_size)
            glimpse = [gamma * F_y @ plane @ F_x.T for image in (x, error) for plane in image]
        else:
            glimpse = [x, error]
        r = np.concatenate([np.ravel(part) for part in glimpse])
        h_enc, c_enc = lstm(np.concatenate([r, h_dec]), h_enc, c_enc, *w[0:4])
        mu, log_sigma = np.split(w.posterior_w @ h_enc + w.posterior_b, 2)
        h_dec, c_dec = lstm(mu + np.exp(log_sigma) * e, h_dec, c_dec, *w[4:8])
        patch = w.patch_w @ h_dec + w.patch_b
        if cfg.attention:
            params = w.write_w @ h_dec + w.write_b
            F_x, F_y, _, gamma = ROWS[row].banks(params, W, H, cfg.write_size)
            patch = patch.reshape(cfg.channels, cfg.write_size, cfg.write_size)
            canvas = canvas + np.stack([gamma * F_y.T @ plane @ F_x for plane in patch])
        else:
            canvas = canvas + patch.reshape(canvas.shape)
        mus.append(mu)
        log_sigmas.append(log_sigma)
    return canvas, np.stack(mus), np.stack(log_sigmas)


@pytest.mark.parametrize("row", ["paper", "natsu", "kamen", "ericjang"])
@pytest.mark.parametrize("cfg", [SMALL, BLIND], ids=["attention", "blind"])
def test_matches_a_plain_loop(backend: str, cfg: DrawConfig, row: str) -> None:
    cfg = replace(cfg, spec=row)
    weights = random_weights(cfg)
    x, eps = inputs(cfg)
    with record_backends() as ran:
        out = F.draw_scan(x, eps, weights, cfg)
    assert ran == {("draw_scan", backend): 1}
    for b in range(x.shape[0]):
        numbers = (x[b].detach().numpy(), eps[:, b].detach().numpy())
        canvas, mu, log_sigma = loop(*numbers, weights, cfg, row)
        np.testing.assert_allclose(out.canvas[b].detach().numpy(), canvas, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(out.mu[:, b].detach().numpy(), mu, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(out.log_sigma[:, b].detach().numpy(), log_sigma, rtol=1e-10)
        sigma2 = np.exp(2 * log_sigma)
        kl = 0.5 * (mu**2 + sigma2 - np.log(sigma2) - 1).sum()  # with eq. 11's constant in full
        np.testing.assert_allclose(out.kl[b].item(), kl, rtol=1e-10)


def check_gradients(cfg: DrawConfig, *, fast: bool) -> None:
    """Every input and every weight, prior samples included."""
    weights = random_weights(cfg)
    x, eps = inputs(cfg, T=2)
    prior = torch.randn(2, 1, cfg.latent_size, dtype=torch.float64, requires_grad=True)
    names = [n for n, w in zip(DrawWeights._fields, weights) if w is not None]

    def run(x: Tensor, eps: Tensor, prior: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        out = F.draw_scan(x, eps, DrawWeights(**dict(zip(names, given))), cfg, prior_eps=prior)
        return out.canvas, out.mu, out.log_sigma, out.kl, out.prior_canvas

    given = [w for w in weights if w is not None]
    assert torch.autograd.gradcheck(run, (x, eps, prior, *given), fast_mode=fast)


@pytest.mark.parametrize("cfg", [TINY, replace(TINY, attention=False)], ids=["attention", "blind"])
def test_gradcheck(backend: str, cfg: DrawConfig) -> None:
    check_gradients(cfg, fast=False)


@pytest.mark.parametrize("name", PRESETS)
def test_gradients_in_every_convention(backend: str, name: str) -> None:
    """Along a random direction of all inputs at once."""
    check_gradients(replace(TINY, spec=name), fast=True)


def test_prior_samples_are_what_draw_generate_draws(backend: str) -> None:
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL)
    prior = torch.randn(3, 5, SMALL.latent_size, dtype=torch.float64)
    out = F.draw_scan(x, eps, weights, SMALL, prior_eps=prior)
    with record_backends() as ran:
        alone = F.draw_generate(prior, weights, SMALL)
    assert ran == {("draw_generate", backend): 1}
    assert torch.equal(out.prior_canvas, alone.canvas)
    assert F.draw_scan(x, eps, weights, SMALL).prior_canvas is None


def posterior_at(log_sigma: float, mu: float = 0.0) -> DrawWeights:
    """Weights of a posterior that never moves."""
    Z = SMALL.latent_size
    bias = torch.tensor([mu] * Z + [log_sigma] * Z, dtype=torch.float64)
    weights = random_weights(SMALL)
    return weights._replace(
        posterior_w=torch.zeros_like(weights.posterior_w), posterior_b=bias.requires_grad_()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_near_the_prior_and_far_from_it(backend: str, dtype: torch.dtype) -> None:
    """Relative accuracy from log σ = 1e-6 on, where σ² - 1 - 2 log σ in plain float is noise."""
    x, eps = (t.detach().to(dtype) for t in inputs(SMALL))
    for log_sigma in (1e-6, -1e-3, 0.1, -0.499, 0.501, -2.0, 3.0, -40.0, 0.0):
        u = 2.0 * log_sigma
        series = u**2 * sum(u**k / float(math.factorial(k + 2)) for k in range(24))
        each = 0.5 * (series if abs(u) < 4 else math.expm1(u) - u)
        weights = DrawWeights(*(w.to(dtype) for w in posterior_at(log_sigma)))
        kl = F.draw_scan(x, eps, weights, SMALL).kl
        numbers = eps.shape[0] * SMALL.latent_size
        # expm1(u) - u loses digits near the prior; the fast float32 form does not.
        exact = backend != "reference" and dtype is torch.float32
        lost = 0.0 if exact else torch.finfo(dtype).eps * numbers * abs(u)
        expected = torch.full_like(kl, each * numbers)
        torch.testing.assert_close(kl, expected, rtol=20 * torch.finfo(dtype).eps, atol=lost)
        assert (kl >= 0).all()


def test_a_posterior_of_infinite_variance_has_an_infinite_kl_and_other_gradients(
    backend: str,
) -> None:
    """σ² beyond float: the KL says so, and a loss that does not look at it is not touched."""
    x, eps = (t.detach().float() for t in inputs(SMALL))
    weights = DrawWeights(*(w.float().detach().requires_grad_() for w in posterior_at(60.0)))
    out = F.draw_scan(x, 0 * eps, weights, SMALL)
    assert torch.isinf(out.kl).all()
    gradients = torch.autograd.grad(out.canvas.sum() + out.mu.sum(), weights, allow_unused=True)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_kl_is_the_loss_of_the_posterior(backend: str) -> None:
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL)
    out = F.draw_scan(x, eps, weights, SMALL)
    expected = kl_standard_normal(out.mu, out.log_sigma)
    torch.testing.assert_close(out.kl, expected)
    got = torch.autograd.grad(out.kl.sum(), [x, *weights], retain_graph=True, allow_unused=True)
    wanted = torch.autograd.grad(expected.sum(), [x, *weights], allow_unused=True)
    for name, g, w in zip(("x", *DrawWeights._fields), got, wanted):
        g, w = (torch.zeros(()) if t is None else t for t in (g, w))
        torch.testing.assert_close(g, w.expand_as(g) if w.dim() == 0 else w, msg=name)


def test_the_decoder_draws_the_posteriors_latents(backend: str) -> None:
    """Decoding the z that the scan sampled gives the scan's canvas."""
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL)
    out = F.draw_scan(x, eps, weights, SMALL)
    z = out.mu + out.log_sigma.exp() * eps
    torch.testing.assert_close(F.draw_generate(z, weights, SMALL).canvas, out.canvas)


def test_trace_holds_every_canvas_and_window(backend: str) -> None:
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL, T=4, B=2)
    out = F.draw_scan(x, eps, weights, SMALL, trace=True)
    assert torch.equal(out.trace.canvases[-1], out.canvas)
    for steps in (1, 3):
        shorter = F.draw_scan(x, eps[:steps], weights, SMALL)
        torch.testing.assert_close(out.trace.canvases[steps - 1], shorter.canvas)
    assert out.trace.read_windows.shape == out.trace.write_windows.shape == (4, 2, 5)
    # The first read window comes from a zero state, so its numbers are the Linear's bias.
    g_x, g_y, log_sigma2, log_delta, log_gamma = weights.read_b.tolist()
    expected = [
        8 / 2 * (g_x + 1) - 1,  # the paper counts pixels from 1, a trace from 0
        6 / 2 * (g_y + 1) - 1,
        6 * np.exp(log_delta),
        np.exp(log_sigma2),
        np.exp(log_gamma),
    ]
    np.testing.assert_allclose(out.trace.read_windows[0, 0].tolist(), expected, rtol=1e-12)
    sample = F.draw_generate(eps, weights, SMALL, trace=True)
    assert sample.trace.read_windows is None
    blind = F.draw_generate(eps, random_weights(BLIND), BLIND, trace=True)
    assert blind.trace.write_windows is None
    assert blind.trace.canvases.shape == (4, 2, 2, 5, 7)


@pytest.mark.parametrize(("T", "B"), [(0, 2), (2, 0)])
def test_empty_batches_and_no_steps(backend: str, T: int, B: int) -> None:
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL, T=T, B=B)
    out = F.draw_scan(x, eps, weights, SMALL, trace=True)
    assert out.canvas.shape == x.shape
    assert out.mu.shape == eps.shape
    assert out.kl.tolist() == [0.0] * B
    assert not out.canvas.any()


def test_layout_does_not_matter(backend: str) -> None:
    weights = random_weights(SMALL)
    x, eps = inputs(SMALL)
    loose = DrawWeights(*(strided(w) for w in weights))
    expected = F.draw_scan(x, eps, weights, SMALL)
    out = F.draw_scan(strided(x), strided(eps), loose, SMALL)
    torch.testing.assert_close(out.canvas, expected.canvas, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 2, 5, 6)}, ValueError, r"x .*C = 2, H = 5, W = 7, got \[2, 2, 5, 6"),
        ({"eps": torch.zeros(3, 1, 3)}, ValueError, r"eps .*B = 2, Z = 3, got \[3, 1, 3\]"),
        ({"prior_eps": torch.zeros(2, 9, 3)}, ValueError, r"prior_eps .*T = 3"),
        ({"weights": (1, 2)}, TypeError, "weights must be a DrawWeights, got tuple"),
        ({"cfg": {}}, TypeError, "cfg must be a DrawConfig, got dict"),
        ({"cfg": BLIND}, ValueError, r"weights.enc_w_ih must have shape"),
        ({"memory": "some"}, ValueError, "memory must be one of keep, recompute, got 'some'"),
    ],
)
def test_bad_arguments_are_named(change: dict, error: type[Exception], message: str) -> None:
    args = {
        "x": torch.zeros(2, 2, 5, 7),
        "eps": torch.zeros(3, 2, 3),
        "weights": random_weights(SMALL),
        "cfg": SMALL,
        "prior_eps": None,
    } | change
    with pytest.raises(error, match=message):
        F.draw_scan(**args)


def test_a_weight_of_the_wrong_shape_is_named() -> None:
    weights = random_weights(SMALL)._replace(posterior_b=torch.zeros(5))
    with pytest.raises(ValueError, match=r"weights.posterior_b must have shape \[6\], got \[5\]"):
        F.draw_generate(torch.zeros(3, 2, 3), weights, SMALL)


@pytest.mark.parametrize("bad", [{"hidden_size": 0}, {"read_size": 2.0}, {"image_size": (5,)}])
def test_bad_sizes_are_named(bad: dict) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        replace(SMALL, **bad)
