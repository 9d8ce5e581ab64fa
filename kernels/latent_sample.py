"""Latent sampling: z = μ + σ·ε, with the KL to the prior summed on the way, and its gradient."""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def kl_standard_normal(mu, log_sigma, sigma):
    """KL(N(μ, σ²) ‖ N(0, 1)) = (μ² + eᵘ − 1 − u)/2 with u = 2 log σ.

    Near the prior eᵘ − 1 − u is of the order of u²: there its series, elsewhere the difference.
    """
    u = 2.0 * log_sigma
    p = u * (1 / 3628800) + 1 / 362880
    p = p * u + 1 / 40320
    p = p * u + 1 / 5040
    p = p * u + 1 / 720
    p = p * u + 1 / 120
    p = p * u + 1 / 24
    p = p * u + 1 / 6
    p = p * u + 1 / 2
    return 0.5 * (mu * mu + tl.where(tl.abs(u) < 1.0, p * u * u, sigma * sigma - 1.0 - u))


@triton.jit
def latent_sample_kernel(
    posterior,  # [B, 2Z]: μ, log σ
    eps,  # [B, Z]
    z,  # [B, Z], rows z_stride apart
    mu,  # [B, Z]
    log_sigma,  # [B, Z]
    kl,  # [B] float64, added to: a long sum of like terms
    z_stride,
    Z: tl.constexpr,
    BLOCK_Z: tl.constexpr,
):
    """Grid (B,): one program sums a sample's KL, so it is the same on every run."""
    b = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BLOCK_Z], tl.float32)
    for start in range(0, Z, BLOCK_Z):
        k = start + tl.arange(0, BLOCK_Z)
        inside = k < Z
        m = tl.load(posterior + b * (2 * Z) + k, mask=inside, other=0.0).to(tl.float32)
        s = tl.load(posterior + b * (2 * Z) + Z + k, mask=inside, other=0.0).to(tl.float32)
        e = tl.load(eps + b * Z + k, mask=inside, other=0.0).to(tl.float32)
        sigma = tl.exp(s)
        total += kl_standard_normal(m, s, sigma)  # 0 beyond Z, where both are 0
        tl.store(z + b * z_stride + k, (m + sigma * e).to(z.dtype.element_ty), mask=inside)
        tl.store(mu + b * Z + k, m.to(mu.dtype.element_ty), mask=inside)
        tl.store(log_sigma + b * Z + k, s.to(log_sigma.dtype.element_ty), mask=inside)
    tl.store(kl + b, tl.load(kl + b) + tl.sum(total, axis=0).to(tl.float64))


@triton.jit
def latent_sample_backward_kernel(
    mu,  # [B, Z]
    log_sigma,  # [B, Z]
    eps,  # [B, Z]
    d_z,  # [B, Z], rows `z_stride` apart
    d_mu,  # [B, Z], if HAS_MU
    d_log_sigma,  # [B, Z], if HAS_LOG_SIGMA
    d_kl,  # [B], if HAS_KL
    d_posterior,  # [B, 2Z]
    d_eps,  # [B, Z], if WANTS_EPS
    z_stride,
    Z: tl.constexpr,
    HAS_MU: tl.constexpr,
    HAS_LOG_SIGMA: tl.constexpr,
    HAS_KL: tl.constexpr,
    WANTS_EPS: tl.constexpr,
    BLOCK_Z: tl.constexpr,
):
    """Grid (B, Z / BLOCK_Z)."""
    b = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK_Z + tl.arange(0, BLOCK_Z)
    inside = k < Z
    at = b * Z + k
    sigma = tl.exp(tl.load(log_sigma + at, mask=inside, other=0.0).to(tl.float32))
    d = tl.load(d_z + b * z_stride + k, mask=inside, other=0.0).to(tl.float32)
    to_eps = d * sigma
    to_mu = d
    to_log_sigma = to_eps * tl.load(eps + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_MU:
        to_mu += tl.load(d_mu + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_LOG_SIGMA:
        to_log_sigma += tl.load(d_log_sigma + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_KL:
        d = tl.load(d_kl + b).to(tl.float32)
        to_mu += d * tl.load(mu + at, mask=inside, other=0.0).to(tl.float32)
        to_log_sigma += d * (sigma * sigma - 1.0)
    at_posterior = d_posterior + b * (2 * Z) + k
    tl.store(at_posterior, to_mu.to(d_posterior.dtype.element_ty), mask=inside)
    tl.store(at_posterior + Z, to_log_sigma.to(d_posterior.dtype.element_ty), mask=inside)
    if WANTS_EPS:
        tl.store(d_eps + at, to_eps.to(d_eps.dtype.element_ty), mask=inside)
