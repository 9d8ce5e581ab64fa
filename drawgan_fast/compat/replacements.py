"""What stands in a model's `read` and `write` once it is accelerated.

They are plain objects that hold the model's own layers: they can be copied and pickled with it,
and an optimizer, a hook or ``functional_call`` finds the parameters where they always were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.nn import LSTMCell


@dataclass
class FastRead:
    """γ·F_y·I·F_xᵀ of one or two images through one window, in the original's layout.

    Args:
        window: the model's layer that gives the five numbers.
        N: grid points along a side.
        spec: the model's convention.
        image_shape: (C, H, W).
        names: the original's parameters, in order.
        images: which of them are images, in the order of the glimpses.
        hidden: which one places the window.
        canvas: the second image is a canvas of which x̂ = x − sigmoid(canvas) is read.
        shape: of the result, without the batch.
    """

    window: nn.Module
    N: int
    spec: AttentionSpec
    image_shape: tuple[int, int, int]
    names: tuple[str, ...]
    images: tuple[str, ...]
    hidden: str
    canvas: bool
    shape: tuple[int, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Called as the original is."""
        given = dict(zip(self.names, args), **kwargs)
        params = self.window(given[self.hidden])
        images = tuple(given[name].reshape(-1, *self.image_shape) for name in self.images)
        if self.canvas:
            glimpses = F.attention_read(images[0], params, self.N, self.spec, canvas=images[1])
        else:
            glimpses = F.attention_read(images, params, self.N, self.spec)
        flat = [glimpse.flatten(1) for glimpse in glimpses]
        together = torch.cat(flat, 1) if len(flat) > 1 else flat[0]
        return together if len(self.shape) == 1 else together.reshape(-1, *self.shape)


@dataclass
class FastWrite:
    """(1/γ)·F_yᵀ·w·F_x of the hidden state's patch, in the original's layout.

    Args:
        window: the model's layer that gives the five numbers.
        patch: the model's layer that gives the patch.
        N: grid points along a side.
        spec: the model's convention.
        image_shape: (C, H, W).
        names: the original's parameters, in order.
        hidden: which one gives window and patch.
        canvas: which one is written on, None if the original returns the patch alone.
        shape: of the result, without the batch.
    """

    window: nn.Module
    patch: nn.Module
    N: int
    spec: AttentionSpec
    image_shape: tuple[int, int, int]
    names: tuple[str, ...]
    hidden: str
    canvas: str | None
    shape: tuple[int, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Called as the original is."""
        given = dict(zip(self.names, args), **kwargs)
        hidden = given[self.hidden]
        C, H, W = self.image_shape
        patch = self.patch(hidden).reshape(-1, C, self.N, self.N)
        canvas = None
        if self.canvas is not None:
            canvas = given[self.canvas].reshape(-1, C, H, W)
        written = F.attention_write(patch, self.window(hidden), (H, W), self.spec, canvas=canvas)
        return written.reshape(-1, *self.shape)


def replace_cell(cell: nn.LSTMCell) -> None:
    """Make an ``nn.LSTMCell`` ours where it is: the same object, parameters, hooks and keys."""
    cell.__class__ = LSTMCell


def put_cell_back(cell: nn.LSTMCell) -> None:
    """Undo :func:`replace_cell`."""
    cell.__class__ = nn.LSTMCell


def grid_points(numbers: int, parts: int) -> int | None:
    """N of ``numbers`` = ``parts``·N², or None.

    >>> grid_points(72, 2), grid_points(73, 2)
    (6, None)
    """
    each, rest = divmod(numbers, parts)
    N = math.isqrt(each)
    return N if rest == 0 and N >= 1 and each == N * N else None
