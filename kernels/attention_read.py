"""Read: γ·F_y·I·F_xᵀ of one or two images through one window, and its gradient.

A program takes one sample (forward: one of its channels) through tiles of its image; every sum runs
over tiles, so nothing but glimpses and gradients is ever written. docs/triton.md derives the
backward with these symbols.
"""

# mypy: ignore-errors
import triton
import triton.language as tl
from drawgan_fast.kernels.tiles import load_patch, load_tile, store_patch, store_tile
from drawgan_fast.kernels.window import (
    add_gradients,
    filter_tile,
    filters,
    filters_with_derivatives,
    window,
    window_backward,
)


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
    for start_x in tl.range(0, W, BLOCK_W, disable_licm=True):
        V = tl.zeros([BLOCK_W, BLOCK_N], tl.float32)  # Iᵀ·F_yᵀ
        V_other = tl.zeros([BLOCK_W, BLOCK_N], tl.float32)
        for start_y in tl.range(0, H, BLOCK_H, disable_licm=True):
            F_y = filter_tile(axis_y, start_y, h, H, N, BLOCK_H, MAP)
            I = load_tile(image, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            V = tl.dot(tl.trans(I), F_y, V, input_precision=PRECISION)
            if SECOND:
                I_other = load_tile(other, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                if SECOND == 2:  # beyond the image F is 0
                    I_other = I - tl.sigmoid(I_other)
                V_other = tl.dot(tl.trans(I_other), F_y, V_other, input_precision=PRECISION)
        F_x = filter_tile(axis_x, start_x, h, W, N, BLOCK_W, MAP)
        R = tl.dot(tl.trans(V), F_x, R, input_precision=PRECISION)
        if SECOND:
            R_other = tl.dot(tl.trans(V_other), F_x, R_other, input_precision=PRECISION)
    at = b * glimpse_stride + c * (N * N)
    store_patch(glimpse + at, intensity * R, N, BLOCK_N, MAP.transposed)
    if SECOND:
        store_patch(other_glimpse + at, intensity * R_other, N, BLOCK_N, MAP.transposed)


@triton.jit
def _read_tile_backward(
    dF_y,  # [BLOCK_H, BLOCK_N], added to
    dF_x,  # [BLOCK_W, BLOCK_N], added to
    F_y,  # [BLOCK_H, BLOCK_N]
    F_x,  # [BLOCK_W, BLOCK_N]
    intensity,
    image,  # of this sample, [C, H, W]
    canvas,  # the same, if ERROR
    d_glimpse,  # of this sample, [C, N, N]
    d_image,  # [C, H, W], if WANTS_IMAGE
    d_canvas,  # [C, H, W], if WANTS_CANVAS
    start_y,
    start_x,
    C,
    MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    N: tl.constexpr,
    ERROR: tl.constexpr,  # what was read is image − sigmoid(canvas)
    WANTS_IMAGE: tl.constexpr,
    WANTS_CANVAS: tl.constexpr,
    ADDS_TO_IMAGE: tl.constexpr,
    ADDS_TO_CANVAS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What one glimpse's gradient says of a tile: of its filters, and of its pixels."""
    BLOCK_N: tl.constexpr = F_y.shape[1]
    BLOCK_H: tl.constexpr = F_y.shape[0]
    BLOCK_W: tl.constexpr = F_x.shape[0]
    # Products of the filters alone are formed again for every channel: kept, they would spill.
    for c in tl.range(C, disable_licm=True):
        at = c * (H * W)  # within a sample 32 bits are enough
        R = intensity * load_patch(d_glimpse + c * (N * N), N, BLOCK_N, MAP.transposed)
        Z = tl.dot(F_x, tl.trans(R), input_precision=PRECISION)  # [BLOCK_W, BLOCK_N]
        Y = tl.dot(F_y, R, input_precision=PRECISION)  # [BLOCK_H, BLOCK_N]
        I = load_tile(image + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
        if ERROR:
            sigmoid = tl.sigmoid(load_tile(canvas + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W))
            I -= sigmoid
        dF_y = tl.dot(I, Z, dF_y, input_precision=PRECISION)
        dF_x = tl.dot(tl.trans(I), Y, dF_x, input_precision=PRECISION)
        if WANTS_IMAGE or WANTS_CANVAS:
            d = tl.dot(Y, tl.trans(F_x), input_precision=PRECISION)
            if WANTS_CANVAS:
                d_y = d * (sigmoid * sigmoid - sigmoid)
                if ADDS_TO_CANVAS:
                    d_y += load_tile(d_canvas + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                store_tile(d_canvas + at, d_y, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            if WANTS_IMAGE:
                if ADDS_TO_IMAGE:
                    d += load_tile(d_image + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                store_tile(d_image + at, d, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
    return dF_y, dF_x


# One channel is no special case: without their loop, products would be kept, and spill.
@triton.jit(do_not_specialize=["C"])
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
    image += b * C * (H * W)
    other += b * C * (H * W)
    d_image += b * C * (H * W)
    d_other += b * C * (H * W)
    d_glimpse += b * glimpse_stride
    d_other_glimpse += b * glimpse_stride
    y, x, delta, h, intensity = window(window_params + b * params_stride, MAP)
    axis_y, means_y = filters_with_derivatives(y, delta, h, H, N, BLOCK_N, BLOCK_H, MAP)
    axis_x, means_x = filters_with_derivatives(x, delta, h, W, N, BLOCK_N, BLOCK_W, MAP)
    d_y, d_x, d_delta, d_log_sigma2, d_log_intensity = 0.0, 0.0, 0.0, 0.0, 0.0
    for start_y in tl.range(0, H, BLOCK_H, disable_licm=True):
        F_y = filter_tile(axis_y, start_y, h, H, N, BLOCK_H, MAP)
        for start_x in tl.range(0, W, BLOCK_W, disable_licm=True):
            F_x = filter_tile(axis_x, start_x, h, W, N, BLOCK_W, MAP)
            dF_y = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
            dF_x = tl.zeros([BLOCK_W, BLOCK_N], tl.float32)
            if HAS_FIRST:
                dF_y, dF_x = _read_tile_backward(
                    dF_y,
                    dF_x,
                    F_y,
                    F_x,
                    intensity,
                    image,
                    other,
                    d_glimpse,
                    d_image,
                    d_other,
                    start_y,
                    start_x,
                    C,
                    MAP,
                    H,
                    W,
                    N,
                    False,
                    WANTS_IMAGE,
                    False,
                    ADDS,
                    False,
                    PRECISION,
                )
            if HAS_SECOND and SECOND == 1:
                dF_y, dF_x = _read_tile_backward(
                    dF_y,
                    dF_x,
                    F_y,
                    F_x,
                    intensity,
                    other,
                    image,
                    d_other_glimpse,
                    d_other,
                    d_image,
                    start_y,
                    start_x,
                    C,
                    MAP,
                    H,
                    W,
                    N,
                    False,
                    WANTS_OTHER,
                    False,
                    ADDS,
                    False,
                    PRECISION,
                )
            if HAS_SECOND and SECOND == 2:  # the error image sees the image and the canvas
                dF_y, dF_x = _read_tile_backward(
                    dF_y,
                    dF_x,
                    F_y,
                    F_x,
                    intensity,
                    image,
                    other,
                    d_other_glimpse,
                    d_image,
                    d_other,
                    start_y,
                    start_x,
                    C,
                    MAP,
                    H,
                    W,
                    N,
                    True,
                    WANTS_IMAGE,
                    WANTS_OTHER,
                    ADDS or HAS_FIRST,
                    ADDS,
                    PRECISION,
                )
            d_y, d_delta, d_log_sigma2 = add_gradients(
                axis_y, means_y, start_y, h, dF_y, d_y, d_delta, d_log_sigma2, H, N, BLOCK_H, MAP
            )
            d_x, d_delta, d_log_sigma2 = add_gradients(
                axis_x, means_x, start_x, h, dF_x, d_x, d_delta, d_log_sigma2, W, N, BLOCK_W, MAP
            )
            d_log_intensity += tl.sum(tl.sum(dF_x * F_x, axis=0), axis=0)
    window_backward(
        window_params + b * params_stride,
        d_params + b * d_params_stride,
        delta,
        d_y,
        d_x,
        d_delta,
        d_log_sigma2,
        d_log_intensity,
        MAP,
    )
