"""Write: canvas + γ^∓1·F_yᵀ·w·F_x, and its gradient. docs/triton.md derives the backward."""

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
def attention_write_kernel(
    patch,  # [B, C, N, N], rows of a sample `patch_stride` apart
    window_params,  # [B, 5], rows `params_stride` apart
    canvas,  # [B, C, H, W], if HAS_CANVAS
    out,  # [B, C, H, W]; may be the canvas
    patch_stride,
    params_stride,
    C,
    MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    N: tl.constexpr,
    HAS_CANVAS: tl.constexpr,
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
    at = (b * C + c) * (H * W)
    w = load_patch(patch + b * patch_stride + c * (N * N), N, BLOCK_N, MAP.transposed)
    for start_y in tl.range(0, H, BLOCK_H, disable_licm=True):
        F_y = filter_tile(axis_y, start_y, h, H, N, BLOCK_H, MAP)
        Y = intensity * tl.dot(F_y, w, input_precision=PRECISION)  # [BLOCK_H, BLOCK_N]
        for start_x in tl.range(0, W, BLOCK_W, disable_licm=True):
            F_x = filter_tile(axis_x, start_x, h, W, N, BLOCK_W, MAP)
            written = tl.dot(Y, tl.trans(F_x), input_precision=PRECISION)
            if HAS_CANVAS:
                written += load_tile(canvas + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            store_tile(out + at, written, start_y, start_x, H, W, BLOCK_H, BLOCK_W)


# One channel is no special case: without their loop, products would be kept, and spill.
@triton.jit(do_not_specialize=["C"])
def attention_write_backward_kernel(
    patch,  # [B, C, N, N], rows of a sample `patch_stride` apart
    window_params,  # [B, 5], rows `params_stride` apart
    d_out,  # [B, C, H, W]; the canvas's gradient is the same
    d_patch,  # as patch
    d_params,  # as params, float32
    patch_stride,
    params_stride,
    d_patch_stride,
    d_params_stride,
    C,
    MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    N: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid (B,): a window's gradient is the sum over a sample's channels and tiles."""
    b = tl.program_id(0).to(tl.int64)
    y, x, delta, h, intensity = window(window_params + b * params_stride, MAP)
    axis_y, means_y = filters_with_derivatives(y, delta, h, H, N, BLOCK_N, BLOCK_H, MAP)
    axis_x, means_x = filters_with_derivatives(x, delta, h, W, N, BLOCK_N, BLOCK_W, MAP)
    d_y, d_x, d_delta, d_log_sigma2, d_log_intensity = 0.0, 0.0, 0.0, 0.0, 0.0
    for c in tl.range(C, disable_licm=True):
        at = (b * C + c) * (H * W)
        w = load_patch(patch + b * patch_stride + c * (N * N), N, BLOCK_N, MAP.transposed)
        w *= intensity
        dw = tl.zeros([BLOCK_N, BLOCK_N], tl.float32)
        for start_x in tl.range(0, W, BLOCK_W, disable_licm=True):
            F_x = filter_tile(axis_x, start_x, h, W, N, BLOCK_W, MAP)
            Z = tl.dot(F_x, tl.trans(w), input_precision=PRECISION)  # [BLOCK_W, BLOCK_N]
            V = tl.zeros([BLOCK_W, BLOCK_N], tl.float32)  # (dL/d canvas)ᵀ·F_yᵀ
            for start_y in tl.range(0, H, BLOCK_H, disable_licm=True):
                F_y = filter_tile(axis_y, start_y, h, H, N, BLOCK_H, MAP)
                G = load_tile(d_out + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
                V = tl.dot(tl.trans(G), F_y, V, input_precision=PRECISION)
                dF_y = tl.dot(G, Z, input_precision=PRECISION)
                d_y, d_delta, d_log_sigma2 = add_gradients(
                    axis_y,
                    means_y,
                    start_y,
                    h,
                    dF_y,
                    d_y,
                    d_delta,
                    d_log_sigma2,
                    H,
                    N,
                    BLOCK_H,
                    MAP,
                )
            dF_x = tl.dot(V, w, input_precision=PRECISION)
            d_x, d_delta, d_log_sigma2 = add_gradients(
                axis_x, means_x, start_x, h, dF_x, d_x, d_delta, d_log_sigma2, W, N, BLOCK_W, MAP
            )
            d_log_intensity += tl.sum(tl.sum(dF_x * F_x, axis=0), axis=0)
            dw = tl.dot(tl.trans(V), F_x, dw, input_precision=PRECISION)
        d_patch_at = d_patch + b * d_patch_stride + c * (N * N)
        store_patch(d_patch_at, intensity * dw, N, BLOCK_N, MAP.transposed)
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
