"""The LSTM cell: its pointwise half after a library product, and the whole cell for small sizes.

Gate order i, f, g, o as in PyTorch; ``gates`` [B, 4K] hold the four one after another.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """2·sigmoid(2x) − 1 away from 0; a series near it, where that would cancel."""
    s = x * x
    small = 2.0 / 15.0 - s * (17.0 / 315.0 - s * (62.0 / 2835.0 - s * (1382.0 / 155925.0)))
    small = x * (1.0 - s * (1.0 / 3.0 - s * small))
    return tl.where(tl.abs(x) < 0.3, small, 2.0 * tl.sigmoid(2.0 * x) - 1.0)


@triton.jit
def lstm_pointwise_kernel(
    sums,  # [B, 4K]
    c,  # [B, K]
    h_out,  # [B, K], rows h_stride apart
    c_out,  # [B, K]
    gates,  # [B, 4K] after their activations, if SAVE; may be the sums
    h_stride,
    K: tl.constexpr,
    SAVE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Grid (B, K / BLOCK_K)."""
    b = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    inside = k < K
    at = sums + b * (4 * K) + k
    i = tl.sigmoid(tl.load(at, mask=inside).to(tl.float32))
    f = tl.sigmoid(tl.load(at + K, mask=inside).to(tl.float32))
    g = tanh(tl.load(at + 2 * K, mask=inside).to(tl.float32))
    o = tl.sigmoid(tl.load(at + 3 * K, mask=inside).to(tl.float32))
    c_new = f * tl.load(c + b * K + k, mask=inside).to(tl.float32) + i * g
    h_new = o * tanh(c_new)
    tl.store(c_out + b * K + k, c_new.to(c_out.dtype.element_ty), mask=inside)
    tl.store(h_out + b * h_stride + k, h_new.to(h_out.dtype.element_ty), mask=inside)
    if SAVE:
        kind = gates.dtype.element_ty
        at = gates + b * (4 * K) + k
        tl.store(at, i.to(kind), mask=inside)
        tl.store(at + K, f.to(kind), mask=inside)
        tl.store(at + 2 * K, g.to(kind), mask=inside)
        tl.store(at + 3 * K, o.to(kind), mask=inside)


@triton.jit
def lstm_pointwise_backward_kernel(
    gates,  # [B, 4K] after their activations
    c,  # [B, K]
    c_out,  # [B, K]
    d_h,  # [B, K], if HAS_H
    d_h_more,  # [more, K], rows `more_stride` apart: added to the first `more` rows of d_h
    d_c_out,  # [B, K], if HAS_C
    d_gates,  # [B, 4K] of the sums
    d_c,  # [B, K]; may be d_c_out
    more,
    more_stride,
    K: tl.constexpr,
    HAS_H: tl.constexpr,
    HAS_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Grid (B, K / BLOCK_K)."""
    b = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    inside = k < K
    at = b * (4 * K) + k
    i = tl.load(gates + at, mask=inside).to(tl.float32)
    f = tl.load(gates + at + K, mask=inside).to(tl.float32)
    g = tl.load(gates + at + 2 * K, mask=inside).to(tl.float32)
    o = tl.load(gates + at + 3 * K, mask=inside).to(tl.float32)
    t = tanh(tl.load(c_out + b * K + k, mask=inside).to(tl.float32))
    d_state = tl.zeros([BLOCK_K], tl.float32)
    d_o = tl.zeros([BLOCK_K], tl.float32)
    if HAS_C:
        d_state += tl.load(d_c_out + b * K + k, mask=inside).to(tl.float32)
    if HAS_H:
        d = tl.load(d_h + b * K + k, mask=inside).to(tl.float32)
        d += tl.load(d_h_more + b * more_stride + k, mask=inside & (b + 0 * k < more), other=0.0)
        d_state += d * o * (1.0 - t * t)
        d_o = d * t * o * (1.0 - o)
    old = tl.load(c + b * K + k, mask=inside).to(tl.float32)
    kind = d_gates.dtype.element_ty
    tl.store(d_gates + at, (d_state * g * i * (1.0 - i)).to(kind), mask=inside)
    tl.store(d_gates + at + K, (d_state * old * f * (1.0 - f)).to(kind), mask=inside)
    tl.store(d_gates + at + 2 * K, (d_state * i * (1.0 - g * g)).to(kind), mask=inside)
    tl.store(d_gates + at + 3 * K, d_o.to(kind), mask=inside)
    tl.store(d_c + b * K + k, (d_state * f).to(d_c.dtype.element_ty), mask=inside)


@triton.jit
def _add_product(
    sums,  # [BLOCK_B, BLOCK_K]
    left,  # [B, D]
    right,  # [K, D]
    B,
    m,
    k,
    D: tl.constexpr,
    K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """sums + left·rightᵀ of rows [m] and rows [k]."""
    for start in range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        a = tl.load(
            left + m.to(tl.int64)[:, None] * D + d[None, :],
            mask=(m < B)[:, None] & (d < D)[None, :],
            other=0.0,
        )
        b = tl.load(
            right + k.to(tl.int64)[None, :] * D + d[:, None],
            mask=(k < K)[None, :] & (d < D)[:, None],
            other=0.0,
        )
        sums = tl.dot(a, b, sums, input_precision=PRECISION)
    return sums


@triton.jit
def _gate(
    x,
    h,
    w_ih,
    w_hh,
    b_ih,
    b_hh,
    B,
    m,
    k,
    G: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Sums of gate G of units [k] of samples [m], [BLOCK_B, BLOCK_K]."""
    sums = tl.zeros([m.shape[0], k.shape[0]], tl.float32)
    sums = _add_product(sums, x, w_ih + G * K * D, B, m, k, D, K, BLOCK_D, PRECISION)
    sums = _add_product(sums, h, w_hh + G * K * K, B, m, k, K, K, BLOCK_D, PRECISION)
    if HAS_BIAS:
        bias = tl.load(b_ih + G * K + k, mask=k < K, other=0.0).to(tl.float32)
        bias += tl.load(b_hh + G * K + k, mask=k < K, other=0.0).to(tl.float32)
        sums += bias[None, :]
    return sums


@triton.jit
def lstm_cell_kernel(
    x,  # [B, D]
    h,  # [B, K]
    c,  # [B, K]
    w_ih,  # [4K, D]
    w_hh,  # [4K, K]
    b_ih,  # [4K], if HAS_BIAS
    b_hh,  # [4K], if HAS_BIAS
    h_out,  # [B, K]
    c_out,  # [B, K]
    gates,  # [B, 4K] after their activations, if SAVE
    B,
    D: tl.constexpr,
    K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SAVE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The whole cell in one launch, grid (B / BLOCK_B, K / BLOCK_K)."""
    m = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    i = _gate(x, h, w_ih, w_hh, b_ih, b_hh, B, m, k, 0, D, K, HAS_BIAS, BLOCK_D, PRECISION)
    f = _gate(x, h, w_ih, w_hh, b_ih, b_hh, B, m, k, 1, D, K, HAS_BIAS, BLOCK_D, PRECISION)
    g = _gate(x, h, w_ih, w_hh, b_ih, b_hh, B, m, k, 2, D, K, HAS_BIAS, BLOCK_D, PRECISION)
    o = _gate(x, h, w_ih, w_hh, b_ih, b_hh, B, m, k, 3, D, K, HAS_BIAS, BLOCK_D, PRECISION)
    i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), tanh(g), tl.sigmoid(o)
    at = m.to(tl.int64)[:, None] * K + k[None, :]
    inside = (m < B)[:, None] & (k < K)[None, :]
    c_new = f * tl.load(c + at, mask=inside, other=0.0).to(tl.float32) + i * g
    tl.store(c_out + at, c_new.to(c_out.dtype.element_ty), mask=inside)
    tl.store(h_out + at, (o * tanh(c_new)).to(h_out.dtype.element_ty), mask=inside)
    if SAVE:
        kind = gates.dtype.element_ty
        at = gates + m.to(tl.int64)[:, None] * (4 * K) + k[None, :]
        tl.store(at, i.to(kind), mask=inside)
        tl.store(at + K, f.to(kind), mask=inside)
        tl.store(at + 2 * K, g.to(kind), mask=inside)
        tl.store(at + 3 * K, o.to(kind), mask=inside)
