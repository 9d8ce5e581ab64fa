"""Tiles of an image, and whole patches, between memory and registers; float32 in registers."""

# mypy: ignore-errors
import triton
import triton.language as tl


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
