"""What runs in the place of a model's `read` and `write`.

They hold no model and no layer, only where a layer is found from the module that owns the method,
so that a copy of a model uses its own; and they give ``NotImplemented`` for a call that is not of
the kind that was proved, which then goes to the original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.conditions import Layer
from drawgan_fast.compat.contents import (
    MISSING,
    Path,
    Snapshot,
    follow,
    is_plain,
    module_paths,
    same,
)
from drawgan_fast.nn import LSTMCell


@dataclass(frozen=True)
class LayerAt:
    """Where a replacement finds a layer, and what it must be.

    Attributes:
        argument: the parameter that it is given by, None if it is none.
        path: from the owner of the method, where it is no argument.
        layer: its type and what hangs on it.
        sizes: (inputs, outputs).
    """

    argument: str | None
    path: Path
    layer: Layer
    sizes: tuple[int, int]

    @classmethod
    def find(cls, layer: nn.Linear, owner: nn.Module, arguments: dict[str, Any]) -> LayerAt:
        """Work out how an owner's method comes by a layer in a call.

        Raises:
            LookupError: it is neither given nor below the owner, so a copy's is not to be found.
        """
        sizes = (layer.in_features, layer.out_features)
        by_argument = [name for name, value in arguments.items() if value is layer]
        if by_argument:
            return cls(by_argument[0], (), Layer.of(layer), sizes)
        paths = [path for path, module in module_paths(owner).items() if module is layer]
        if not paths:
            raise LookupError("its layer is neither an argument nor below the module it belongs to")
        return cls(None, paths[0], Layer.of(layer), sizes)

    def of(self, owner: nn.Module, given: dict[str, Any]) -> Any:
        """The layer, or None if what stands there now is none of that kind."""
        layer: Any = owner if self.argument is None else given[self.argument]
        for _, name in self.path:
            layer = getattr(layer, name)
        kind = type(layer)
        if kind is not self.layer.kind:
            return None
        # What hangs on a layer below the owner belongs to the owner's conditions.
        if self.argument is not None and Layer.of(layer) != self.layer:
            return None
        return layer if (layer.in_features, layer.out_features) == self.sizes else None


@dataclass(frozen=True)
class Arguments:
    """Which calls are of the kind that was proved.

    Attributes:
        names: the original's parameters, in order.
        positional: how many of them may be given by position.
        defaults: values of those that may be left out.
        tensors: shape, without the batch, of the tensors that are used.
        others: what every other one may say: all values that it had while the proof was made.
        counts: those among them that always were the number of samples, and may be it again.
        least: samples of the smallest batch that was proved.
        most: of the largest, None where it holds for all larger ones.
        only: the one batch size that was proved, where others do not run.
        attributes: what forward sets and the original looks at, by the path from the owner: all
            values that it had then, and whether it always was the number of samples.
        dtypes: of the tensors: one for all of them.
    """

    names: tuple[str, ...]
    positional: int
    defaults: dict[str, Any]
    tensors: dict[str, frozenset[tuple[int, ...]]]
    others: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    counts: frozenset[str] = frozenset()
    least: int = 1
    only: int | None = None
    most: int | None = None
    attributes: tuple[tuple[Path, tuple[Any, ...], bool], ...] = ()
    dtypes: frozenset[torch.dtype] = frozenset({torch.float32, torch.float64})

    def bind(
        self, owner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Values by name; None if the proof says nothing of such a call."""
        if len(args) > self.positional:
            return None
        given = dict(zip(self.names, args))
        if kwargs:
            if given.keys() & kwargs.keys():
                return None
            given.update(kwargs)
            if given.keys() - set(self.names):
                return None
        B, dtype = -1, None
        for name, tails in self.tensors.items():
            value = given.get(name)
            if not isinstance(value, Tensor):
                return None
            shape = value.shape
            if B < 0:
                B, dtype = shape[0] if len(shape) else 0, value.dtype
                if dtype not in self.dtypes:
                    return None
            if len(shape) == 0 or shape[0] != B or shape[1:] not in tails:
                return None
            if value.dtype is not dtype:
                return None
        if self.least > B or (self.only is not None and self.only != B):
            return None
        if self.most is not None and self.most < B:
            return None
        for name, seen in self.others.items():
            value = given.get(name, self.defaults.get(name, MISSING))
            if name in self.counts and type(value) is int and value == B:
                continue
            if not any(_says(value, then) for then in seen):
                return None
        for path, values, is_count in self.attributes:
            value = follow(owner, path)
            if not (is_count and value == B) and not any(same(value, then) for then in values):
                return None
        return given


def _says(value: Any, then: Any) -> bool:
    if torch.compiler.is_compiling():
        if isinstance(then, Snapshot):
            return then.holds_in_graph(value)
        return type(value) is type(then) and value == then
    if isinstance(then, Snapshot):
        return then.difference(value) is None
    return same(value, then)


def kept(value: Any) -> Any:
    """What an argument said, to be held against later ones."""
    return value if is_plain(value) else Snapshot.of(value)


@dataclass(frozen=True)
class FastRead:
    """γ·F_y·I·F_xᵀ of one or two images through one window, in the original's layout.

    Attributes:
        window: the model's layer that gives the five numbers.
        N: grid points along a side.
        spec: the model's convention.
        image_shape: (C, H, W).
        images: which arguments are images, in the order of the glimpses.
        hidden: which one places the window.
        canvas: the second image is a canvas of which x̂ = x − sigmoid(canvas) is read.
        shape: of the result, without the batch.
        arguments: which calls it stands in for.
    """

    window: LayerAt
    N: int
    spec: AttentionSpec
    image_shape: tuple[int, int, int]
    images: tuple[str, ...]
    hidden: str
    canvas: bool
    shape: tuple[int, ...]
    arguments: Arguments

    def run(self, owner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The original's result, or ``NotImplemented``."""
        given = self.arguments.bind(owner, args, kwargs)
        window = None if given is None else self.window.of(owner, given)
        if given is None or window is None or window.weight.dtype is not given[self.hidden].dtype:
            return NotImplemented
        params = window(given[self.hidden])
        images = tuple([given[name].reshape(-1, *self.image_shape) for name in self.images])
        if self.canvas:
            glimpses = F.attention_read(images[0], params, self.N, self.spec, canvas=images[1])
        else:
            glimpses = F.attention_read(images, params, self.N, self.spec)
        flat = [glimpse.flatten(1) for glimpse in glimpses]
        together = torch.cat(flat, 1) if len(flat) > 1 else flat[0]
        return together if len(self.shape) == 1 else together.reshape(-1, *self.shape)


@dataclass(frozen=True)
class FastWrite:
    """(1/γ)·F_yᵀ·w·F_x of the hidden state's patch, in the original's layout.

    Attributes:
        window: the model's layer that gives the five numbers.
        patch: the model's layer that gives the patch.
        N: grid points along a side.
        spec: the model's convention.
        image_shape: (C, H, W).
        hidden: which argument gives window and patch.
        canvas: which one is written on, None if the original returns the patch alone.
        shape: of the result, without the batch.
        arguments: which calls it stands in for.
    """

    window: LayerAt
    patch: LayerAt
    N: int
    spec: AttentionSpec
    image_shape: tuple[int, int, int]
    hidden: str
    canvas: str | None
    shape: tuple[int, ...]
    arguments: Arguments

    def run(self, owner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The original's result, or ``NotImplemented``."""
        given = self.arguments.bind(owner, args, kwargs)
        if given is None:
            return NotImplemented
        window, patch_layer = self.window.of(owner, given), self.patch.of(owner, given)
        hidden = given[self.hidden]
        if window is None or patch_layer is None or window.weight.dtype is not hidden.dtype:
            return NotImplemented
        C, H, W = self.image_shape
        patch = patch_layer(hidden).reshape(-1, C, self.N, self.N)
        canvas = None
        if self.canvas is not None:
            canvas = given[self.canvas].reshape(-1, C, H, W)
        written = F.attention_write(patch, window(hidden), (H, W), self.spec, canvas=canvas)
        return written.reshape(-1, *self.shape)


Replacement = FastRead | FastWrite


def replace_cell(cell: nn.LSTMCell) -> None:
    """Make an ``nn.LSTMCell`` ours where it is: the same object, parameters, hooks and keys."""
    cell.__class__ = LSTMCell


def put_cell_back(cell: nn.LSTMCell) -> None:
    """Undo :func:`replace_cell`; a class that somebody gave it since (parametrised) stays."""
    if type(cell) is LSTMCell:
        cell.__class__ = nn.LSTMCell  # type: ignore[assignment]


def grid_points(numbers: int, parts: int) -> int | None:
    """N of ``numbers`` = ``parts``·N², or None.

    >>> grid_points(72, 2), grid_points(73, 2)
    (6, None)
    """
    each, rest = divmod(numbers, parts)
    N = math.isqrt(each)
    return N if rest == 0 and N >= 1 and each == N * N else None
