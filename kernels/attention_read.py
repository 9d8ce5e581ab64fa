"""Read: γ·F_y·I·F_xᵀ of one or two images through one window, and its gradient.

A program takes one sample (forward: one of its channels) through tiles of its image; every sum runs
over tiles, so nothing but glimpses and gradients is ever written. docs/triton.md derives the
backward with these symbols.
"""

# mypy: ignore-errors
import triton
import triton.language as tl

from drawgan_fast.kernels.window import (
    add_gradients,
    filter_tile,
    filter_tile_of,
    filters,
    filters_with_derivatives,
    window,
    window_backward,
)


@triton.jit
def load_tile(
    image,
    start_y,
    start_x,
    H: tl.constexpr,
    W: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """A tile of one channel as float32, zeros beyond the image."""
    y, x = start_y + tl.arange(0, BLOCK_H), start_x + tl.arange(0, BLOCK_W)
    inside = (y < H)[:, None] & (x < W)[None, :]
    return tl.load(image + y[:, None] * W + x[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def store_tile(
    image,
    value,
    start_y,
    start_x,
    H: tl.constexpr,
    W: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    """The way back."""
    y, x = start_y + tl.arange(0, BLOCK_H), start_x + tl.arange(0, BLOCK_W)
    inside = (y < H)[:, None] & (x < W)[None, :]
    tl.store(image + y[:, None] * W + x[None, :], value.to(image.dtype.element_ty), mask=inside)


@triton.jit
def patch_offsets(N: tl.constexpr, BLOCK_N: tl.constexpr, TRANSPOSED: tl.constexpr):
    """Offsets [BLOCK_N (y), BLOCK_N (x)] into one channel of a glimpse or patch, and their mask."""
    j, i = tl.arange(0, BLOCK_N)[:, None], tl.arange(0, BLOCK_N)[None, :]
    inside = (j < N) & (i < N)
    if TRANSPOSED:
        return i * N + j, inside
    return j * N + i, inside


@triton.jit
def load_patch(patch, N: tl.constexpr, BLOCK_N: tl.constexpr, TRANSPOSED: tl.constexpr):
    """One channel of a glimpse or patch as float32, [BLOCK_N, BLOCK_N], zeros beyond N."""
    at, inside = patch_offsets(N, BLOCK_N, TRANSPOSED)
    return tl.load(patch + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def store_patch(patch, value, N: tl.constexpr, BLOCK_N: tl.constexpr, TRANSPOSED: tl.constexpr):
    """The way back."""
    at, inside = patch_offsets(N, BLOCK_N, TRANSPOSED)
    tl.store(patch + at, value.to(patch.dtype.element_ty), mask=inside)


@triton.jit
def attention_read_kernel(
    image,  # [B, C, H, W]
    other,  # [B, C, H, W]: SECOND = 1: another image; 2: the canvas
    window_params,  # [B, 5], rows `params_stride` apart
    glimpse,  # [B, C, N, N], rows of a sample `glimpse_stride` apart
    other_glimpse,  # the same, of the other image or of image − sigmoid(canvas)
    params_stride,
    glimpse_stride,
    C,
    MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    N: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid (B, C)."""
    b, c = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    y, x, delta, h, intensity = window(window_params + b * params_stride, MAP)
    axis_y = filters(y, delta, h, H, N, BLOCK_N, BLOCK_H, MAP)
    axis_x = filters(x, delta, h, W, N, BLOCK_N, BLOCK_W, MAP)
    image += (b * C + c) * (H * W)
    other += (b * C + c) * (H * W)
    R = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    R_other = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
    for start_x in range(0, W, BLOCK_W):
        V = tl.zeros([BLOCK_N, BLOCK_W], tl.float32)  # F_y·I
        V_other = tl.zeros([BLOCK_N, BLOCK_W], tl.float32)
        for start_y in range(0, H, BLOCK_H):
            F_y = filter_tile(axis_y, start_y, h, H, N, BLOCK_H, MAP)
            I = load_tile(image, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            V = tl.dot(F_y, I, V, input_precision=PRECISION)
            if SECOND:
                I_other = load_tile(other, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                if SECOND == 2:  # beyond the image F is 0
                    I_other = I - tl.sigmoid(I_other)
                V_other = tl.dot(F_y, I_other, V_other, input_precision=PRECISION)
        F_x = tl.trans(filter_tile(axis_x, start_x, h, W, N, BLOCK_W, MAP))
        R = tl.dot(V, F_x, R, input_precision=PRECISION)
        if SECOND:
            R_other = tl.dot(V_other, F_x, R_other, input_precision=PRECISION)
    at = b * glimpse_stride + c * (N * N)
    store_patch(glimpse + at, intensity * R, N, BLOCK_N, MAP.transposed)
    if SECOND:
        store_patch(other_glimpse + at, intensity * R_other, N, BLOCK_N, MAP.transposed)


@triton.jit
def attention_read_backward_kernel(
    image,  # [B, C, H, W]
    other,  # [B, C, H, W]: SECOND = 1: another image; 2: the canvas
    window_params,  # [B, 5], rows `params_stride` apart
    d_glimpse,  # [B, C, N, N], rows of a sample `glimpse_stride` apart
    d_other_glimpse,
    d_image,  # [B, C, H, W], if WANTS_IMAGE
    d_other,  # [B, C, H, W], if WANTS_OTHER
    d_params,  # [B, 5], rows `d_params_stride` apart
    params_stride,
    d_params_stride,
    glimpse_stride,
    C,
    MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    N: tl.constexpr,
    SECOND: tl.constexpr,
    HAS_FIRST: tl.constexpr,  # whether d_glimpse is there
    HAS_SECOND: tl.constexpr,
    WANTS_IMAGE: tl.constexpr,
    WANTS_OTHER: tl.constexpr,
    ADDS: tl.constexpr,  # to d_image and d_other, instead of writing them
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid (B,): a window's gradient is the sum over a sample's channels, images and tiles."""
    b = tl.program_id(0).to(tl.int64)
    y, x, delta, h, intensity = window(window_params + b * params_stride, MAP)
    axis_y = filters_with_derivatives(y, delta, h, H, N, BLOCK_N, BLOCK_H, MAP)
    axis_x = filters_with_derivatives(x, delta, h, W, N, BLOCK_N, BLOCK_W, MAP)
    zeros = tl.zeros([BLOCK_N], tl.float32)
    d_y, d_x, d_delta, d_log_sigma2, d_log_intensity = zeros, zeros, zeros, zeros, zeros
    for start_y in range(0, H, BLOCK_H):
        F_y = filter_tile_of(axis_y, start_y, h, H, N, BLOCK_H, MAP)
        for start_x in range(0, W, BLOCK_W):
            F_x = filter_tile_of(axis_x, start_x, h, W, N, BLOCK_W, MAP)
            dF_y = tl.zeros([BLOCK_N, BLOCK_H], tl.float32)
            dF_x = tl.zeros([BLOCK_N, BLOCK_W], tl.float32)
            for c in range(C):
                at = (b * C + c) * (H * W)
                patch = b * glimpse_stride + c * (N * N)
                I = load_tile(image + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                dI = tl.zeros([BLOCK_H, BLOCK_W], tl.float32)
                if HAS_FIRST:
                    R = intensity * load_patch(d_glimpse + patch, N, BLOCK_N, MAP.transposed)
                    Z = tl.dot(R, F_x, input_precision=PRECISION)  # R·F_x
                    Y = tl.dot(tl.trans(R), F_y, input_precision=PRECISION)  # Rᵀ·F_y
                    dF_y = tl.dot(Z, tl.trans(I), dF_y, input_precision=PRECISION)
                    dF_x = tl.dot(Y, I, dF_x, input_precision=PRECISION)
                    if WANTS_IMAGE:
                        dI = tl.dot(tl.trans(F_y), Z, dI, input_precision=PRECISION)
                if HAS_SECOND:
                    R = intensity * load_patch(d_other_glimpse + patch, N, BLOCK_N, MAP.transposed)
                    Z = tl.dot(R, F_x, input_precision=PRECISION)
                    Y = tl.dot(tl.trans(R), F_y, input_precision=PRECISION)
                    I_other = load_tile(other + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                    if SECOND == 2:
                        sigmoid = tl.sigmoid(I_other)
                        I_other = I - sigmoid
                    dF_y = tl.dot(Z, tl.trans(I_other), dF_y, input_precision=PRECISION)
                    dF_x = tl.dot(Y, I_other, dF_x, input_precision=PRECISION)
                    if WANTS_OTHER or (SECOND == 2 and WANTS_IMAGE):
                        d = tl.dot(tl.trans(F_y), Z, input_precision=PRECISION)
                        if SECOND == 2:
                            dI += d  # image − sigmoid(canvas) sees the image too
                            d *= sigmoid * sigmoid - sigmoid
                        if WANTS_OTHER:
                            if ADDS:
                                d += load_tile(
                                    d_other + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W
                                )
                            store_tile(d_other + at, d, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                if WANTS_IMAGE:
                    if ADDS:
                        dI += load_tile(d_image + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                    store_tile(d_image + at, dI, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            d_y, d_delta, d_log_sigma2 = add_gradients(
                axis_y, start_y, h, dF_y, d_y, d_delta, d_log_sigma2, H, N, BLOCK_H, MAP
            )
            d_x, d_delta, d_log_sigma2 = add_gradients(
                axis_x, start_x, h, dF_x, d_x, d_delta, d_log_sigma2, W, N, BLOCK_W, MAP
            )
            d_log_intensity += tl.sum(dF_x * F_x, axis=1)
    window_backward(
        window_params + b * params_stride,
        d_params + b * d_params_stride,
        delta,
        tl.sum(d_y, axis=0),
        tl.sum(d_x, axis=0),
        tl.sum(d_delta, axis=0),
        tl.sum(d_log_sigma2, axis=0),
        tl.sum(d_log_intensity, axis=0),
        MAP,
    )
