"""What an operator cannot do without: bytes moved and floating-point operations.

Bytes: every input read once and every output written once, in the forward pass and, with the
gradients of the outputs as inputs and the gradients as outputs, in the backward pass. What a
forward pass keeps for its backward is not counted: it could be computed again.

Operations: those of the matrix products, a multiplication and an addition as two, the windows'
F_y·I·F_xᵀ included; backward twice as many as forward. Exponentials and pointwise work are left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from benchmarks.cases import AttentionShape, LSTMShape, TrainCase
from benchmarks.products import products, window_operations
from drawgan_fast.draw_config import DrawConfig, DrawWeights

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Counts:
    """Of one call."""

    bytes: int
    operations: int


def attention_read(shape: AttentionShape, size: int, *, backward: bool) -> Counts:
    """Image and canvas through one window; gradients of canvas and window.

    Args:
        shape: of the call.
        size: bytes of a number.
        backward: whether the call differentiates too.

    >>> attention_read(AttentionShape(1, 1, 2, 3, 1), 4, backward=False)
    Counts(bytes=76, operations=36)
    """
    B, C, H, W, N = vars(shape).values()
    image, glimpse, window = B * C * H * W, B * C * N * N, B * 5
    numbers = 2 * image + window + 2 * glimpse
    if backward:
        numbers += 2 * image + window + 2 * glimpse + image + window
    operations = 2 * 2 * B * C * (N * H * W + N * N * W)
    return Counts(size * numbers, operations * (3 if backward else 1))


def attention_write(shape: AttentionShape, size: int, *, backward: bool) -> Counts:
    """A patch onto a canvas; gradients of patch and window, the canvas's is the output's own."""
    B, C, H, W, N = vars(shape).values()
    image, patch, window = B * C * H * W, B * C * N * N, B * 5
    numbers = patch + window + image + image
    if backward:
        numbers += patch + window + image + patch + window
    operations = 2 * B * C * (N * N * W + N * H * W)
    return Counts(size * numbers, operations * (3 if backward else 1))


def lstm_cell(shape: LSTMShape, size: int, *, backward: bool) -> Counts:
    """One step of one LSTM; gradients of everything."""
    B, D, K = shape.B, shape.D, shape.K
    inputs = B * D + 2 * B * K + 4 * K * (D + K) + 8 * K
    outputs = 2 * B * K
    numbers = inputs + outputs
    if backward:
        numbers += inputs + outputs + inputs
    operations = 2 * B * 4 * K * (D + K)
    return Counts(size * numbers, operations * (3 if backward else 1))


def _config(case: TrainCase) -> DrawConfig:
    return DrawConfig(**{k: v for k, v in case.arguments().items() if k != "steps"})


def draw_scan(case: TrainCase, size: int, *, backward: bool) -> Counts:
    """The recurrence; gradients of its weights."""
    T, B, Z = case.steps, case.batch, case.latent_size
    cfg = _config(case)
    weights = sum(prod(shape) for shape in DrawWeights.shapes(cfg).values())
    image = B * cfg.image_numbers
    inputs, outputs = image + T * B * Z + weights, image + 2 * T * B * Z + B
    numbers = inputs + outputs
    if backward:
        numbers += inputs + outputs + weights
    forward = sum(p.operations for p in products(case) if p.name.endswith(", forward"))
    forward += window_operations(case) // 3
    return Counts(size * numbers, forward * (3 if backward else 1))


def draw_generate(case: TrainCase, size: int, *, backward: bool) -> Counts:
    """The decoder alone: noise, its weights, a canvas for each sample."""
    if backward:
        raise ValueError("nobody differentiates a sample here")
    T, B, Z, cfg = case.steps, case.batch, case.latent_size, _config(case)
    K, N, (H, W) = cfg.hidden_size, cfg.write_size, cfg.image_size
    weights = sum(prod(s) for name, s in DrawWeights.shapes(cfg).items() if decodes(name))
    numbers = weights + T * B * Z + B * cfg.image_numbers
    row = 4 * K * (K + Z) + K * (cfg.patch_numbers + 5) + cfg.channels * (N * N * W + N * H * W)
    return Counts(size * numbers, 2 * T * B * row)


def decodes(name: str) -> bool:
    """Whether a weight has a part in a sample."""
    return name.startswith(("dec_", "patch_", "write_"))
