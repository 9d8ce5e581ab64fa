"""A model's whole forward through `draw_scan`, with the model's own weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.compat.contents import Path, module_paths
from drawgan_fast.compat.replacements import Arguments
from drawgan_fast.compat.template import Quantities
from drawgan_fast.draw_config import DrawConfig, DrawWeights

Noise = Literal["steps", "block"]


@dataclass
class Layers:
    """A model's own layers, by their part in the recurrence.

    Args:
        encoder, decoder: the cells.
        mu, log_sigma: the posterior's layers; the same one where it gives both.
        mu_first: of a layer that gives both.
        log_sigma_scale: ½ where the layer gives log σ².
        read, write, patch: windows and patch; the windows are None without attention.
    """

    encoder: nn.LSTMCell
    decoder: nn.LSTMCell
    mu: nn.Linear
    log_sigma: nn.Linear
    mu_first: bool
    log_sigma_scale: float
    read: nn.Linear | None
    write: nn.Linear | None
    patch: nn.Linear

    def weights(self) -> DrawWeights:
        """The parameters as they are now, as the operator takes them."""
        return DrawWeights(
            *_cell(self.encoder),
            *_cell(self.decoder),
            *self._posterior(),
            *_linear(self.patch),
            *(_linear(self.read) if self.read is not None else (None, None)),
            *(_linear(self.write) if self.write is not None else (None, None)),
        )

    def _posterior(self) -> tuple[Tensor, Tensor]:
        if self.mu is self.log_sigma:
            both = _linear(self.mu)
            if self.mu_first and self.log_sigma_scale == 1:
                return both
            pairs = [t.chunk(2) if self.mu_first else t.chunk(2)[::-1] for t in both]
        else:
            pairs = list(zip(_linear(self.mu), _linear(self.log_sigma)))
        scale = self.log_sigma_scale
        w, b = (torch.cat([m, s if scale == 1 else scale * s]) for m, s in pairs)
        return w, b


def _cell(cell: nn.LSTMCell) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not cell.bias:
        zero = cell.weight_hh.new_zeros(cell.weight_hh.shape[0])
        return cell.weight_ih, cell.weight_hh, zero, zero
    return cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh


def _linear(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    bias = layer.bias
    return layer.weight, layer.weight.new_zeros(layer.out_features) if bias is None else bias


def draw_noise(kind: Noise, T: int, B: int, like: Tensor, Z: int) -> Tensor:
    """Standard normal [T, B, Z], drawn in the order in which the model draws it."""
    if kind == "block":
        return torch.randn(T, B, Z, dtype=like.dtype, device=like.device)
    # One call a step: on a CPU the numbers of a call depend on its length.
    return torch.stack([torch.randn(B, Z, dtype=like.dtype, device=like.device) for _ in range(T)])


@dataclass(frozen=True)
class Paths:
    """Where the layers are, from the model: :class:`Layers` of any copy of it."""

    parts: dict[str, Path | None]
    mu_first: bool
    log_sigma_scale: float

    @classmethod
    def of(cls, layers: Layers, model: nn.Module) -> Paths:
        """Find every layer below a model.

        Raises:
            LookupError: one is not below it.
        """
        places = {id(module): path for path, module in module_paths(model).items()}
        parts: dict[str, Path | None] = {}
        for name in _PARTS:
            layer = getattr(layers, name)
            if layer is not None and id(layer) not in places:
                raise LookupError(name)
            parts[name] = None if layer is None else places[id(layer)]
        return cls(parts, layers.mu_first, layers.log_sigma_scale)

    def layers(self, model: nn.Module) -> Layers:
        """The layers as a model has them now."""
        found: dict[str, Any] = {}
        for name, path in self.parts.items():
            layer: Any = None if path is None else model
            for _, step in path or ():
                layer = getattr(layer, step)
            found[name] = layer
        return Layers(mu_first=self.mu_first, log_sigma_scale=self.log_sigma_scale, **found)


_PARTS = ("encoder", "decoder", "mu", "log_sigma", "read", "write", "patch")


@dataclass(frozen=True)
class FusedForward:
    """Runs in the place of a model's ``forward``: one scan, and then all that the original gives
    and leaves. It holds no model, so a copy of one has its own parameters.

    Attributes:
        paths: where the layers are.
        cfg: sizes and convention.
        steps: T.
        noise: how the model draws its noise.
        arguments: which calls it stands in for.
        image: which argument is x.
        result: recipe of what is returned.
        attributes: recipes of what is left in the model.
        in_place: containers among them that the original fills rather than replaces.
        canvases: whether a recipe looks at a canvas before the last.
        kinds: (dtype of the weights, default dtype, type of device) that noise was drawn under.
    """

    paths: Paths
    cfg: DrawConfig
    steps: int
    noise: Noise
    arguments: Arguments
    image: str
    result: Any
    attributes: dict[str, Any]
    in_place: frozenset[str]
    canvases: bool
    kinds: frozenset[tuple[torch.dtype, torch.dtype, str]] = frozenset()

    def run(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The original's result, or ``NotImplemented``."""
        given = self.arguments.bind(model, args, kwargs)
        if given is None or (self.canvases and _is_transformed()):
            return NotImplemented
        cfg, weights = self.cfg, self.paths.layers(model).weights()
        noise = weights.dec_w_ih
        if noise.dtype is not given[self.image].dtype or (
            self.kinds
            and (noise.dtype, torch.get_default_dtype(), noise.device.type) not in self.kinds
        ):
            return NotImplemented
        images = given[self.image].reshape(-1, cfg.channels, *cfg.image_size)
        B = images.shape[0]
        eps = draw_noise(self.noise, self.steps, B, weights.dec_w_ih, cfg.latent_size)
        out = F.draw_scan(images, eps, weights, cfg, trace=self.canvases)
        earlier = None
        if self.canvases:
            assert out.trace is not None
            earlier = out.trace.canvases[:-1]
            if torch.is_grad_enabled():
                earlier = _Earlier.apply(earlier, cfg, images, eps, *weights)
        attributes = vars(model)
        quantities = Quantities(out.mu, out.log_sigma, out.canvas, earlier, B, attributes)
        built = {name: part.build(quantities) for name, part in self.attributes.items()}
        for name, value in built.items():
            if name not in self.in_place:
                attributes[name] = value
            elif isinstance(value, list):
                attributes[name][:] = value
            else:
                attributes[name].clear()
                attributes[name].update(value)
        return self.result.build(quantities)


def _is_transformed() -> bool:
    """Gradients of earlier canvases are an ``autograd.Function`` that only runs eagerly."""
    return torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None


class _Earlier(torch.autograd.Function):
    """Canvases before the last, differentiable: whoever asks for a gradient pays another scan.

    Losses look at the last canvas; the scan gives the others for looking at. A loss that does
    depend on canvas t gets its gradient from a scan of the first t steps.
    """

    @staticmethod
    def forward(
        ctx: Any, canvases: Tensor, cfg: DrawConfig, x: Tensor, eps: Tensor, *weights: Tensor | None
    ) -> Tensor:
        ctx.cfg = cfg
        ctx.save_for_backward(x, eps, *weights)
        ctx.set_materialize_grads(False)
        return canvases.view_as(canvases)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Any:
        x, eps, *weights = ctx.saved_tensors
        wanted = [i for i, need in enumerate(ctx.needs_input_grad[2:]) if need]
        totals: list[Tensor | None] = [None] * (2 + len(weights))
        if gradient is None:
            return (None, None, *totals)
        for t, d_canvas in enumerate(gradient):
            if not bool(d_canvas.any()):
                continue
            with torch.enable_grad():
                given = [
                    None if v is None else v.detach().requires_grad_(i in wanted)
                    for i, v in enumerate((x, eps, *weights))
                ]
                part = F.draw_scan(given[0], given[1][: t + 1], DrawWeights(*given[2:]), ctx.cfg)  # type: ignore[arg-type, index]
            found = torch.autograd.grad(
                part.canvas, [cast(Tensor, given[i]) for i in wanted], d_canvas, allow_unused=True
            )
            for i, g in zip(wanted, found):
                if g is not None:
                    before = totals[i]
                    totals[i] = g if before is None else before + g
        return (None, None, *totals)
