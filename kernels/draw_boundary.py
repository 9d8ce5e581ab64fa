"""The end of a DRAW step and the start of the next: write onto the canvas, read image and error."""

# mypy: ignore-errors
import triton
import triton.language as tl
from drawgan_fast.kernels.tiles import load_patch, load_tile, patch_offsets, store_tile
from drawgan_fast.kernels.window import filter_tile, filters, window


@triton.jit
def draw_boundary_kernel(
    projection,  # [all, projection]: patch | write window | read window
    image,  # [B, C, H, W]; samples from B on are prior samples, which read nothing
    canvas,  # [all, C, H, W]
    after,  # [all, C, H, W], written
    glimpse,  # [B, C·N·N] of the image, rows `glimpse_stride` apart
    error_glimpse,  # the same, of image − sigmoid(after)
    projection_stride,
    glimpse_stride,
    B,
    C,
    WRITE_MAP: tl.constexpr,
    READ_MAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    WRITE_N: tl.constexpr,
    READ_N: tl.constexpr,
    PATCH: tl.constexpr,  # numbers of a patch
    BLOCK_WRITE: tl.constexpr,
    BLOCK_READ: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Grid (all, C). A tile of the canvas is written and read while it is in registers."""
    b, c = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    projection += b * projection_stride
    y, x, delta, h, intensity = window(projection + PATCH, WRITE_MAP)
    write_y = filters(y, delta, h, H, WRITE_N, BLOCK_WRITE, BLOCK_H, WRITE_MAP)
    write_x = filters(x, delta, h, W, WRITE_N, BLOCK_WRITE, BLOCK_W, WRITE_MAP)
    w = load_patch(projection + c * (WRITE_N * WRITE_N), WRITE_N, BLOCK_WRITE, WRITE_MAP.transposed)
    w *= intensity
    y, x, delta, read_h, intensity = window(projection + PATCH + 5, READ_MAP)
    read_y = filters(y, delta, read_h, H, READ_N, BLOCK_READ, BLOCK_H, READ_MAP)
    read_x = filters(x, delta, read_h, W, READ_N, BLOCK_READ, BLOCK_W, READ_MAP)

    at = (b * C + c) * (H * W)
    image += tl.where(b < B, at, 0)  # a prior sample's glimpse is of the first image, and not kept
    R = tl.zeros([BLOCK_READ, BLOCK_READ], tl.float32)
    R_error = tl.zeros([BLOCK_READ, BLOCK_READ], tl.float32)
    for start_x in range(0, W, BLOCK_W):
        V = tl.zeros([BLOCK_W, BLOCK_READ], tl.float32)
        V_error = tl.zeros([BLOCK_W, BLOCK_READ], tl.float32)
        F_x = filter_tile(write_x, start_x, h, W, WRITE_N, BLOCK_W, WRITE_MAP)
        for start_y in range(0, H, BLOCK_H):
            F_y = filter_tile(write_y, start_y, h, H, WRITE_N, BLOCK_H, WRITE_MAP)
            Y = tl.dot(F_y, w, input_precision=PRECISION)
            tile = load_tile(canvas + at, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            tile = tl.dot(Y, tl.trans(F_x), tile, input_precision=PRECISION)
            store_tile(after + at, tile, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            F_y = filter_tile(read_y, start_y, read_h, H, READ_N, BLOCK_H, READ_MAP)
            I = load_tile(image, start_y, start_x, H, W, BLOCK_H, BLOCK_W)
            V = tl.dot(tl.trans(I), F_y, V, input_precision=PRECISION)
            I -= tl.sigmoid(tile)  # beyond the image F is 0
            V_error = tl.dot(tl.trans(I), F_y, V_error, input_precision=PRECISION)
        F_x = filter_tile(read_x, start_x, read_h, W, READ_N, BLOCK_W, READ_MAP)
        R = tl.dot(tl.trans(V), F_x, R, input_precision=PRECISION)
        R_error = tl.dot(tl.trans(V_error), F_x, R_error, input_precision=PRECISION)
    offsets, inside = patch_offsets(READ_N, BLOCK_READ, READ_MAP.transposed)
    offsets += b * glimpse_stride + c * (READ_N * READ_N)
    inside = inside & (b + 0 * offsets < B)
    kind = glimpse.dtype.element_ty
    tl.store(glimpse + offsets, (intensity * R).to(kind), mask=inside)
    tl.store(error_glimpse + offsets, (intensity * R_error).to(kind), mask=inside)
