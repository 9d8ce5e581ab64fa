"""What the recurrence works in on a GPU: arrays of a segment of steps, laid out in one buffer.

One row per (t, sample) holds every input of every product of step t, so nothing is concatenated::

    row(t) = [ r_t (R, padded) | h_enc_{t−1} (K) | h_dec_{t−1} (K) | z_t (Z) ]

    encoder      gates_e = row(t)   [r, h_enc, h_dec]
    posterior    μ, log σ = row(t+1) [h_enc]
    decoder      gates_d = row(t)   [h_dec, z]
    projection   P(t+1)  = row(t+1) [h_dec]     patch | write window | read window of t+1

Prior samples are further rows whose encoder's part is not used: they share every launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.kernels import Options
from drawgan_fast.draw_config import DrawConfig

_ALIGNMENT = 256  # bytes


@dataclass(frozen=True)
class Sizes:
    """Numbers per sample. ``all`` counts images and prior samples, ``B`` images."""

    cfg: DrawConfig
    T: int
    B: Any
    all: Any

    @property
    def R(self) -> int:
        """Numbers of a step's glimpses."""
        return self.cfg.glimpse_numbers

    @property
    def h_enc(self) -> int:
        """Where h_enc starts in a row: glimpses padded, so that products read aligned rows."""
        return (self.R + 7) // 8 * 8

    @property
    def h_dec(self) -> int:
        """Where h_dec starts in a row."""
        return self.h_enc + self.cfg.hidden_size

    @property
    def z(self) -> int:
        """Where z starts in a row."""
        return self.h_dec + self.cfg.hidden_size

    @property
    def row(self) -> int:
        """Numbers from row to row."""
        return (self.z + self.cfg.latent_size + 7) // 8 * 8

    @property
    def patch(self) -> int:
        """Numbers of a patch."""
        return self.cfg.patch_numbers

    @property
    def projection(self) -> int:
        """Numbers that the decoder's state gives: the patch, and two windows."""
        return self.patch + (10 if self.cfg.attention else 0)

    def segment(self, options: Options) -> int:
        """Steps whose arrays are there at a time."""
        if self.T == 0 or (options.save and not options.recompute):
            return self.T
        return isqrt(self.T - 1) + 1


class Segment(NamedTuple):
    """Arrays of n steps. Operands of products have the products' dtype, states are float32."""

    rows: Tensor  # [n + 1, all, row]
    gates_enc: Tensor  # [n, B, 4K] after their activations
    gates_dec: Tensor  # [n, all, 4K]
    c_enc: Tensor  # [n + 1, B, K]
    c_dec: Tensor  # [n + 1, all, K]
    projections: Tensor  # [n + 1, all, projection]
    canvases: Tensor  # [n + 1, all, C, H, W]


class State(NamedTuple):
    """The state before a step, from which a segment starts."""

    row: Tensor  # [all, row]: of it the glimpses are read again
    c_enc: Tensor  # [B, K]
    c_dec: Tensor  # [all, K]
    projection: Tensor  # [all, projection]
    canvas: Tensor  # [all, C, H, W]

    @staticmethod
    def at(segment: Segment, t: int) -> State:
        """Views of a segment's arrays before step t of it."""
        return State(
            segment.rows[t],
            segment.c_enc[t],
            segment.c_dec[t],
            segment.projections[t],
            segment.canvases[t],
        )

    def copy_(self, other: State) -> None:
        """Take over another state."""
        for mine, theirs in zip(self, other):
            mine.copy_(theirs)


Shape = tuple[tuple[Any, ...], torch.dtype]


def segment_shapes(s: Sizes, n: int, product: torch.dtype) -> list[Shape]:
    """Shapes and dtypes of a :class:`Segment`."""
    K, image, f32 = s.cfg.hidden_size, (s.cfg.channels, *s.cfg.image_size), torch.float32
    return [
        ((n + 1, s.all, s.row), product),
        ((n, s.B, 4 * K), product),
        ((n, s.all, 4 * K), product),
        ((n + 1, s.B, K), f32),
        ((n + 1, s.all, K), f32),
        ((n + 1, s.all, s.projection), product),
        ((n + 1, s.all, *image), f32),
    ]


def state_shapes(s: Sizes, product: torch.dtype) -> list[Shape]:
    """Shapes and dtypes of a :class:`State`."""
    rows, _, _, c_enc, c_dec, projections, canvases = segment_shapes(s, 0, product)
    return [(shape[1:], dtype) for shape, dtype in (rows, c_enc, c_dec, projections, canvases)]


def product_dtype(options: Options) -> torch.dtype:
    """Dtype of the operands and results of products."""
    return torch.bfloat16 if options.bf16 else torch.float32


def _bytes(shapes: list[Shape]) -> Any:
    total = 0
    for shape, dtype in shapes:
        size = dtype.itemsize
        for length in shape:
            size = size * length
        total = total + (size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    return total


def carve(buffer: Tensor, shapes: list[Shape]) -> list[Tensor]:
    """Views of a buffer of bytes, one after another."""
    views, at = [], 0
    for shape, dtype in shapes:
        size = dtype.itemsize
        for length in shape:
            size *= length
        views.append(buffer[at : at + size].view(dtype).view(shape))
        at += (size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    return views


def saved_bytes(
    cfg: DrawConfig, T: int, B: Any, prior: Any, dtype: torch.dtype, options: Options
) -> Any:
    """See ``Kernels.saved_bytes``."""
    if not options.save:
        return 0
    s = Sizes(cfg, T, B, B + prior)
    if not options.recompute:
        return _bytes(segment_shapes(s, T, product_dtype(options)))
    return _states(s, options) * _bytes(state_shapes(s, product_dtype(options)))


def _states(s: Sizes, options: Options) -> int:
    segment = s.segment(options)
    return (s.T + segment - 1) // segment if segment else 0


def saved_segment(s: Sizes, options: Options, saved: Tensor) -> Segment:
    """The arrays of all steps in what forward keeps."""
    return Segment(*carve(saved, segment_shapes(s, s.T, product_dtype(options))))


def saved_state(s: Sizes, options: Options, saved: Tensor, i: int) -> State:
    """The state before segment i in what forward keeps when it is to run again."""
    shapes = state_shapes(s, product_dtype(options))
    each = _bytes(shapes)
    return State(*carve(saved[i * each : (i + 1) * each], shapes))


def new_segment(s: Sizes, n: int, options: Options, like: Tensor) -> Segment:
    """Arrays of n steps, not kept."""
    shapes = segment_shapes(s, n, product_dtype(options))
    buffer = like.new_empty(_bytes(shapes), dtype=torch.uint8)
    return Segment(*carve(buffer, shapes))
