"""The attention window on the device: five raw numbers → centre, stride, variance, intensity →
Gaussian filters in registers, and the way back. Symbols and derivation: docs/filterbank.md.

``MAP`` is a :class:`drawgan_fast.window_map.WindowMap`; everything here is float32. Filters come in
tiles [BLOCK_P, BLOCK_N] of one axis with P pixels, zero beyond N and P: pixels first, since warps
share the first side of a product.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def _log_gamma(number, MAP: tl.constexpr):
    """power · log γ before it saturates."""
    g = tl.minimum(tl.maximum(number, -MAP.max_log_gamma), MAP.max_log_gamma)
    if MAP.gamma_sigmoid:  # log sigmoid, without overflow
        g = tl.minimum(g, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(g)))
    return MAP.gamma_power * g


@triton.jit
def _centre(number, MAP: tl.constexpr, EXTENT: tl.constexpr):
    if MAP.centre_tanh:  # (tanh g + 1) / 2 = sigmoid(2g)
        return EXTENT * tl.sigmoid(2.0 * number)
    g = tl.minimum(tl.maximum(number, -MAP.max_centre), MAP.max_centre)
    return EXTENT * 0.5 * (g + 1.0)


@triton.jit
def _centre_slope(number, MAP: tl.constexpr, EXTENT: tl.constexpr):
    if MAP.centre_tanh:
        s = tl.sigmoid(2.0 * number)
        return EXTENT * 2.0 * s * (1.0 - s)
    inside = (number >= -MAP.max_centre) & (number <= MAP.max_centre)
    return tl.where(inside, EXTENT * 0.5, 0.0)


@triton.jit
def window(
    params,  # pointer to the five numbers of one sample
    MAP: tl.constexpr,
):
    """(y, x, delta, h, intensity): the grid's middle and stride, h = 1/(2σ²), and γ or 1/γ."""
    log_sigma2 = MAP.sigma_scale * tl.load(params + MAP.sigma).to(tl.float32) + MAP.sigma_bias
    log_sigma2 = tl.minimum(tl.maximum(log_sigma2, MAP.log_sigma2_low), MAP.log_sigma2_high)
    log_delta = tl.minimum(tl.load(params + MAP.delta).to(tl.float32), MAP.max_log_delta)
    log_gamma = _log_gamma(tl.load(params + MAP.gamma).to(tl.float32), MAP)
    log_gamma = tl.minimum(tl.maximum(log_gamma, -MAP.max_log_gamma), MAP.max_log_gamma)
    delta = MAP.delta_scale * tl.exp(log_delta)
    shift = MAP.origin + MAP.to_middle * delta
    x = _centre(tl.load(params + MAP.x).to(tl.float32), MAP, MAP.extent_x) + shift
    y = _centre(tl.load(params + MAP.y).to(tl.float32), MAP, MAP.extent_y) + shift
    h = 0.5 * tl.exp(-log_sigma2)
    intensity = tl.exp(MAP.intensity_sign * log_gamma)
    if MAP.swap_centres:
        return x, y, delta, h, intensity
    return y, x, delta, h, intensity


@triton.jit
def window_backward(
    params,  # pointer to the five numbers of one sample
    d_params,  # pointer to their gradients, written
    delta,  # of the window
    d_y,
    d_x,
    d_delta,  # through the grid points
    d_log_sigma2,
    d_log_intensity,
    MAP: tl.constexpr,
):
    """From gradients of a canonical window to those of its five numbers."""
    d_delta += MAP.to_middle * (d_x + d_y)
    if MAP.swap_centres:
        d_x, d_y = d_y, d_x
    x = tl.load(params + MAP.x).to(tl.float32)
    y = tl.load(params + MAP.y).to(tl.float32)
    tl.store(d_params + MAP.x, d_x * _centre_slope(x, MAP, MAP.extent_x))
    tl.store(d_params + MAP.y, d_y * _centre_slope(y, MAP, MAP.extent_y))

    log_sigma2 = MAP.sigma_scale * tl.load(params + MAP.sigma).to(tl.float32) + MAP.sigma_bias
    free = (log_sigma2 >= MAP.log_sigma2_low) & (log_sigma2 <= MAP.log_sigma2_high)
    tl.store(d_params + MAP.sigma, tl.where(free, MAP.sigma_scale * d_log_sigma2, 0.0))
    free = tl.load(params + MAP.delta).to(tl.float32) <= MAP.max_log_delta
    tl.store(d_params + MAP.delta, tl.where(free, d_delta * delta, 0.0))

    number = tl.load(params + MAP.gamma).to(tl.float32)
    d_gamma = MAP.intensity_sign * MAP.gamma_power * d_log_intensity
    if MAP.gamma_sigmoid:
        d_gamma *= tl.sigmoid(-number)
    power = _log_gamma(number, MAP)
    free = (number >= -MAP.max_log_gamma) & (number <= MAP.max_log_gamma)
    free = free & (power >= -MAP.max_log_gamma) & (power <= MAP.max_log_gamma)
    tl.store(d_params + MAP.gamma, tl.where(free, d_gamma, 0.0))


@triton.jit
def _place(
    centre, delta, P: tl.constexpr, N: tl.constexpr, BLOCK_N: tl.constexpr, MAP: tl.constexpr
):
    """Where the N filters of an axis lie: (mu, origin, shift, far, lead), [BLOCK_N] each.

    Exponents are taken relative to ``origin``, the pixel nearest to the filter: no digits are lost
    however far off the image the window is. ``total`` needs one constant for all filters: ``shift``
    is d_k − d_best, from the grid itself, so that it is exactly 0 for the filter that is nearest to
    any pixel; ``far`` = d_k + d_best and ``lead`` = d_best·(k − best).
    """
    k = tl.arange(0, BLOCK_N).to(tl.float32)
    mu = centre + (k - 0.5 * (N - 1)) * delta
    origin = tl.minimum(tl.maximum(tl.floor(mu + 0.5), 0.0), P - 1.0)
    shift = tl.zeros_like(mu)
    far = tl.zeros_like(mu)
    lead = tl.zeros_like(mu)
    if MAP.normalisation == "total":
        d = origin - mu
        best = tl.argmin(tl.where(k < N, tl.abs(d), float("inf")), axis=0).to(tl.float32)
        is_best = k == best
        d_best = tl.sum(tl.where(is_best, d, 0.0), axis=0)
        origin_best = tl.sum(tl.where(is_best, origin, 0.0), axis=0)
        shift = origin - origin_best - (k - best) * delta
        far = d + d_best
        lead = d_best * (k - best)
    return mu, origin, shift, far, lead


@triton.jit
def _raw(p, mu, origin, shift, far, h, P: tl.constexpr, N: tl.constexpr, MAP: tl.constexpr):
    """F before it is normalised, 0 beyond N and P, and its relative exponent u, [BLOCK_P, BLOCK_N].

    F = exp(−u) where the normalisation divides a constant out again, else exp(−(p − μ)²·h).
    """
    k = tl.arange(0, mu.shape[0])
    u = (p[:, None] - origin[None, :]) * (p[:, None] + origin[None, :] - 2.0 * mu[None, :]) * h
    if MAP.normalisation == "total":
        u += (shift * far * h)[None, :]
    exponent = u
    if MAP.normalisation != "softmax" and MAP.normalisation != "total":
        distance = p[:, None] - mu[None, :]
        exponent = distance * distance * h
    inside = (p < P)[:, None] & (k < N)[None, :]
    return tl.where(inside, tl.exp(-exponent), 0.0), u


@triton.jit
def _scale(sums, P: tl.constexpr, N: tl.constexpr, MAP: tl.constexpr):
    """What normalises each filter, how its divisor moves with the sum, and what is then missing.

    (scale, coupling, slack), [BLOCK_N] each, with slack = 1 − coupling·scale·sum.
    """
    k = tl.arange(0, sums.shape[0])
    coupling = tl.full(sums.shape, 1.0, tl.float32)
    missing = tl.zeros_like(sums)
    if MAP.normalisation == "softmax":
        divisor = sums
    elif MAP.normalisation == "total":
        divisor = tl.sum(sums, axis=0) + tl.zeros_like(sums)
    elif MAP.normalisation == "add":
        divisor = sums + MAP.eps
        missing += MAP.eps
    elif MAP.normalisation == "max":
        divisor = tl.maximum(sums, MAP.eps)
        coupling = tl.where(sums >= MAP.eps, 1.0, 0.0)
    elif MAP.normalisation == "each":
        divisor = sums + P * MAP.eps
        missing += P * MAP.eps
    else:
        divisor = tl.full(sums.shape, 1.0, tl.float32)
        coupling = tl.zeros_like(sums)
    scale = 1.0 / tl.where(k < N, divisor, 1.0)
    return scale, coupling, tl.where(coupling > 0.0, missing * scale, 1.0)


@triton.jit
def filters(
    centre,
    delta,
    h,
    P: tl.constexpr,
    N: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
    MAP: tl.constexpr,
):
    """The axis that :func:`filter_tile` takes: (centre, delta, scale), the last [BLOCK_N].

    Places are formed again for each tile: kept, they would fill registers.
    """
    mu, origin, shift, far, _lead = _place(centre, delta, P, N, BLOCK_N, MAP)
    sums = tl.zeros([BLOCK_N], tl.float32)
    if MAP.normalisation != "none":
        for start in range(0, P, BLOCK_P):
            p = (start + tl.arange(0, BLOCK_P)).to(tl.float32)
            e, _u = _raw(p, mu, origin, shift, far, h, P, N, MAP)
            sums += tl.sum(e, axis=0)
    scale, _coupling, _slack = _scale(sums, P, N, MAP)
    return centre, delta, scale


@triton.jit
def filter_tile(
    axis, start, h, P: tl.constexpr, N: tl.constexpr, BLOCK_P: tl.constexpr, MAP: tl.constexpr
):
    """Normalised filters of pixels [start, start + BLOCK_P) of an axis, [BLOCK_P, BLOCK_N]."""
    centre, delta, scale = axis
    mu, origin, shift, far, _lead = _place(centre, delta, P, N, scale.shape[0], MAP)
    p = (start + tl.arange(0, BLOCK_P)).to(tl.float32)
    e, _u = _raw(p, mu, origin, shift, far, h, P, N, MAP)
    return e * scale[None, :]


@triton.jit
def filters_with_derivatives(
    centre,
    delta,
    h,
    P: tl.constexpr,
    N: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
    MAP: tl.constexpr,
):
    """As :func:`filters`: the axis, and the means under F that its derivatives subtract."""
    mu, origin, shift, far, lead = _place(centre, delta, P, N, BLOCK_N, MAP)
    sums = tl.zeros([BLOCK_N], tl.float32)
    levers = tl.zeros([BLOCK_N], tl.float32)
    exponents = tl.zeros([BLOCK_N], tl.float32)
    for start in range(0, P, BLOCK_P):
        p = (start + tl.arange(0, BLOCK_P)).to(tl.float32)
        e, u = _raw(p, mu, origin, shift, far, h, P, N, MAP)
        sums += tl.sum(e, axis=0)
        levers += tl.sum(e * (p[:, None] - origin[None, :] + shift[None, :]), axis=0)
        exponents += tl.sum(e * u, axis=0)
    scale, coupling, slack = _scale(sums, P, N, MAP)
    mean_stride = 0.0
    if MAP.normalisation == "total":
        grid = tl.arange(0, BLOCK_N).to(tl.float32) - 0.5 * (N - 1)
        mean_stride = tl.sum((grid * levers + lead * sums) * scale, axis=0)
        mean_lever = tl.sum(levers * scale, axis=0) + tl.zeros_like(sums)
        mean_exponent = tl.sum(exponents * scale, axis=0) + tl.zeros_like(sums)
    else:
        # Lever and exponent count from the origin; from μ they are further by d and by d²·h.
        d = origin - mu
        mean_lever = levers * scale * coupling - d * slack
        mean_exponent = exponents * scale * coupling - d * d * h * slack
    return (centre, delta, scale), (mean_lever, mean_exponent, mean_stride)


@triton.jit
def add_gradients(
    axis,
    means,
    start,
    h,
    G,  # [BLOCK_P, BLOCK_N] dL/dF of these pixels, or a part of it
    d_centre,
    d_delta,
    d_log_sigma2,
    P: tl.constexpr,
    N: tl.constexpr,
    BLOCK_P: tl.constexpr,
    MAP: tl.constexpr,
):
    """Add what a tile of dL/dF says of the window, to three running sums.

    Linear in G: parts of it may come one after another.
    """
    centre, delta, scale = axis
    mean_lever, mean_exponent, mean_stride = means
    mu, origin, shift, far, lead = _place(centre, delta, P, N, scale.shape[0], MAP)
    grid = tl.arange(0, mu.shape[0]).to(tl.float32) - 0.5 * (N - 1)
    p = (start + tl.arange(0, BLOCK_P)).to(tl.float32)
    e, u = _raw(p, mu, origin, shift, far, h, P, N, MAP)
    GF = G * e * scale[None, :]
    lever = p[:, None] - origin[None, :] + shift[None, :]
    along = 2.0 * h * tl.sum(GF * (lever - mean_lever[None, :]), axis=0)
    d_centre += tl.sum(along, axis=0)
    d_log_sigma2 += tl.sum(tl.sum(GF * (u - mean_exponent[None, :]), axis=0), axis=0)
    if MAP.normalisation == "total":  # every filter depends on the places of all the others
        stride = grid[None, :] * lever + (lead[None, :] - mean_stride)
        d_delta += 2.0 * h * tl.sum(tl.sum(GF * stride, axis=0), axis=0)
    else:
        d_delta += tl.sum(grid * along, axis=0)
    return d_centre, d_delta, d_log_sigma2
