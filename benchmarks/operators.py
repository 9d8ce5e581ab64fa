"""One call of each operator: its inputs, its gate, its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import drawgan_fast
from benchmarks.cases import ATTENTION_SHAPES, LSTM_SHAPES, AttentionShape, LSTMShape
from benchmarks.gate import WrongNumbers, error
from benchmarks.variants.torch_step import check_backend
from drawgan_fast import functional as F
from drawgan_fast.draw_config import DrawConfig, DrawWeights

Inputs = Sequence[Tensor]
TOLERANCE = 1e-4
MODES = ("forward", "forward+backward")
READING = 0.01  # seconds of calls between two readings of the clock


@dataclass
class Operation:
    """An operator with its inputs; those that want a gradient say so."""

    run: Callable[[Inputs], Inputs]
    inputs: list[Tensor]

    @property
    def wanted(self) -> list[Tensor]:
        """The inputs that get a gradient."""
        return [t for t in self.inputs if t.requires_grad]

    def check(self) -> float:
        """Hold outputs and gradients to the reference in float64.

        Returns:
            The worst error of any tensor.

        Raises:
            WrongNumbers: it is above the tolerance.
        """
        double = [t.detach().double().requires_grad_(t.requires_grad) for t in self.inputs]
        ours = self.run(self.inputs)
        with drawgan_fast.use_backend("reference"):
            truth = self.run(double)
        weights = [torch.randn_like(t) for t in truth]
        ours = [*ours, *_gradients(ours, [w.float() for w in weights], self.wanted)]
        truth = [*truth, *_gradients(truth, weights, [t for t in double if t.requires_grad])]
        worst = max(error(a.detach(), b.detach()) for a, b in zip(ours, truth))
        if not worst <= TOLERANCE:
            raise WrongNumbers(f"error {worst}, tolerance {TOLERANCE}")
        return worst

    def forward(self) -> None:
        """Outputs alone."""
        self.run(self.inputs)

    def forward_backward(self) -> None:
        """Outputs, and the gradient of every input that wants one."""
        out = self.run(self.inputs)
        _gradients(out, [torch.ones_like(t) for t in out], self.wanted)


def _gradients(out: Inputs, weights: Inputs, wanted: Inputs) -> Inputs:
    return torch.autograd.grad(list(out), list(wanted), list(weights))


def attention_read(shape: AttentionShape) -> Operation:
    """Both images through one window, the error image fused in."""
    B, C, H, W, N = vars(shape).values()
    torch.manual_seed(0)
    x, canvas, params = torch.rand(B, C, H, W), torch.randn(B, C, H, W), 0.3 * torch.randn(B, 5)

    def run(inputs: Inputs) -> Inputs:
        x, canvas, params = inputs
        return F.attention_read(x, params, N, canvas=canvas)

    return Operation(run, [x, canvas.requires_grad_(), params.requires_grad_()])


def attention_write(shape: AttentionShape) -> Operation:
    """A patch onto a canvas."""
    B, C, H, W, N = vars(shape).values()
    torch.manual_seed(0)
    inputs = [torch.randn(B, C, N, N), torch.randn(B, C, H, W), 0.3 * torch.randn(B, 5)]

    def run(inputs: Inputs) -> Inputs:
        patch, canvas, params = inputs
        return [F.attention_write(patch, params, (H, W), canvas=canvas)]

    return Operation(run, [t.requires_grad_() for t in inputs])


def lstm_cell(shape: LSTMShape) -> Operation:
    """One step of one LSTM."""
    B, D, K = vars(shape).values()
    torch.manual_seed(0)
    shapes = [(B, D), (B, K), (B, K), (4 * K, D), (4 * K, K), (4 * K,), (4 * K,)]

    def run(inputs: Inputs) -> Inputs:
        x, h, c, *weights = inputs
        return F.lstm_cell(x, (h, c), *weights)

    return Operation(run, [(0.1 * torch.randn(shape)).requires_grad_() for shape in shapes])


def draw_scan(cfg: DrawConfig, steps: int, batch: int) -> Operation:
    """The recurrence alone, gradients of all weights."""
    torch.manual_seed(0)
    shapes = DrawWeights.shapes(cfg)
    K = cfg.hidden_size
    weights = [
        torch.empty(shapes[n]).uniform_(-(K**-0.5), K**-0.5).requires_grad_() for n in shapes
    ]
    x = torch.rand(batch, cfg.channels, *cfg.image_size)
    eps = torch.randn(steps, batch, cfg.latent_size)

    def run(inputs: Inputs) -> Inputs:
        x, eps, *weights = inputs
        out = F.draw_scan(x, eps, DrawWeights(*weights), cfg)
        return [out.canvas, out.kl]

    return Operation(run, [x, eps, *weights])


def draw_generate(cfg: DrawConfig, steps: int, batch: int) -> Operation:
    """The decoder alone: samples of the prior."""
    torch.manual_seed(0)
    bound, shapes = cfg.hidden_size**-0.5, DrawWeights.shapes(cfg)
    weights = [torch.empty(shape).uniform_(-bound, bound) for shape in shapes.values()]
    eps = torch.randn(steps, batch, cfg.latent_size)

    def run(inputs: Inputs) -> Inputs:
        eps, *weights = inputs
        return [F.draw_generate(eps, DrawWeights(*weights), cfg).canvas]

    return Operation(run, [eps, *weights])


def named(op: str, shape: str) -> Operation:
    """An operator at one of the benchmark's shapes, or at ``smallest``: one pixel, one unit.

    >>> named("lstm_cell", "smallest").check() < TOLERANCE
    True
    """
    if op == "draw_scan":
        if shape == "smallest":
            smallest = DrawConfig((1, 1), 1, 1, 1, 1, 1)
            return draw_scan(smallest, 1, 1)
        return draw_scan(DrawConfig((28, 28)), 64, 128)
    if op == "lstm_cell":
        cells = {cell.key: cell for cell in LSTM_SHAPES} | {"smallest": LSTMShape(1, 1, 1)}
        return lstm_cell(cells[shape])
    windows = {window.key: window for window in ATTENTION_SHAPES}
    windows["smallest"] = AttentionShape(1, 1, 1, 1, 1)
    return {"attention_read": attention_read, "attention_write": attention_write}[op](
        windows[shape]
    )


class OperatorTimer:
    """One operator, shape and mode on one backend, several calls to one reading of the clock.

    Args:
        op, shape: as for :func:`named`.
        mode: ``forward`` (no gradients), ``forward+backward``, or ``recorded`` (forward only, for
            a backward that does not come).
        backend: forced for every call.

    Raises:
        Unavailable: the backend cannot run here.
    """

    def __init__(self, op: str, shape: str, mode: str, backend: str) -> None:
        check_backend(backend)
        drawgan_fast.use_backend(backend)
        operation = named(op, shape)
        # One pixel's gradient is often 0, and no error can be told relative to it.
        self.error = operation.check() if shape != "smallest" else None
        both = mode == "forward+backward"
        self.call = operation.forward_backward if both else operation.forward
        self.recording = mode != "forward"
        self.repeats = 3
        self()
        self.repeats = max(1, min(1000, round(READING / self())))

    def __call__(self) -> float:
        """Seconds of one call, the mean over one reading."""
        with torch.set_grad_enabled(self.recording):
            begin = time.perf_counter()
            for _ in range(self.repeats):
                self.call()
            return (time.perf_counter() - begin) / self.repeats
