"""Which operators are measured, at which shapes, in which precision, in which ways."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from benchmarks import operators
from benchmarks.cases import CASES, AttentionShape, LSTMShape, TrainCase
from benchmarks.gpu import counts, tiers
from benchmarks.gpu.counts import Counts
from benchmarks.operators import MODES, Operation
from drawgan_fast.draw_config import DrawConfig

SMALL = AttentionShape(128, 1, 28, 28, 5)
WIDE = AttentionShape(128, 1, 28, 28, 12)
LARGE = AttentionShape(1024, 3, 64, 64, 12)
ATTENTION = (SMALL, LARGE, WIDE)
CELLS = tuple(LSTMShape(B, D, K) for D, K in ((264, 256), (64, 64)) for B in (128, 1024))
SCANS = tuple(CASES["draw-paper"].scaled(batch=B) for B in (128, 1024))
SAMPLES = CASES["draw-paper"].scaled(batch=10_000)

VARIANTS = {
    "eager": "PyTorch eager",
    "nn.LSTMCell": "nn.LSTMCell",
    "compile": "torch.compile",
    "compile-overhead": "torch.compile, reduce-overhead",
    **tiers.TITLES,
}
COMPILED = ("compile", "compile-overhead")
Shape = AttentionShape | LSTMShape | TrainCase


@dataclass(frozen=True)
class OperatorCase:
    """One operator, shape, mode and precision: a group of variants.

    ``precision`` is ``fp32``, ``tf32`` (the library's float32 products in TF32), ``bf16`` (inputs
    in bfloat16) or ``autocast`` (under ``torch.autocast(…, torch.bfloat16)``).
    """

    op: str
    shape: Shape
    mode: str
    precision: str

    @property
    def key(self) -> str:
        """Under which it is filed."""
        batch = self.shape.batch if isinstance(self.shape, TrainCase) else self.shape.B
        name = "paper" if isinstance(self.shape, TrainCase) else self.shape.key
        return f"{self.op}/b{batch}/{name}/{self.mode}/{self.precision}"

    @property
    def backward(self) -> bool:
        """Whether it differentiates too."""
        return self.mode != "forward"

    @property
    def dtype(self) -> torch.dtype:
        """Of its inputs."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def variants(self) -> list[str]:
        """The ways it is run, in the order of a table.

        A scan unrolled over all its steps compiles for minutes; the training steps have one time
        step of it compiled.
        """
        others = {"nn.LSTMCell"} if self.op != "lstm_cell" else set()
        others |= set(COMPILED) if isinstance(self.shape, TrainCase) else set()
        return [v for v in VARIANTS if v not in others]

    def unit(self, device: str, label: str = "ours") -> str:
        """The ceiling of its arithmetic: what its products run on, by default in Triton.

        Attention multiplies in float32 whatever the inputs' dtype, on the multiply-add units
        (``fp32``) or in three products of TF32 (``tf32x3``); going back decides where it does
        both. The CUDA core's attention is on the multiply-add units always.
        """
        if not isinstance(self.shape, AttentionShape):
            return "bf16" if self.precision == "autocast" else self.precision
        if tiers.tier_of(label) == "cuda" or find_spec("triton") is None:
            return "fp32"
        from drawgan_fast.backends.triton import launch

        kernel = f"{self.op}_backward" if self.backward else self.op
        chip = launch.target(torch.device(device))
        chosen = launch.attention_launch(kernel, chip, self.shape.H, self.shape.W, self.shape.N)
        return {"ieee": "fp32"}.get(chosen["PRECISION"], str(chosen["PRECISION"]))

    def counts(self) -> Counts:
        """Bytes and operations of one call."""
        of = getattr(counts, self.op)
        found: Counts = of(self.shape, self.dtype.itemsize, backward=self.backward)
        return found

    def operation(self, device: str) -> Operation:
        """The call with its inputs on a device, the same numbers every time."""
        made = self._on_cpu()
        inputs = [
            t.detach().to(device, self.dtype).requires_grad_(t.requires_grad) for t in made.inputs
        ]
        return Operation(made.run, inputs)

    def _on_cpu(self) -> Operation:
        if isinstance(self.shape, TrainCase):
            sizes = {k: v for k, v in self.shape.arguments().items() if k != "steps"}
            cfg, make = DrawConfig(**sizes), getattr(operators, self.op)
            recurrence: Operation = make(cfg, self.shape.steps, self.shape.batch)
            return recurrence
        made: Operation = getattr(operators, self.op)(self.shape)
        return made


def turns() -> list[tuple[OperatorCase, bool]]:
    """Every case, and whether ``torch.compile`` takes part; what targets are set for comes first.

    A compiler may cost more time than there is: each case has a turn without it before.
    """
    by_precision = {
        precision: [
            OperatorCase(op, shape, mode, precision)
            for shape in ATTENTION
            for op in ("attention_read", "attention_write")
            for mode in MODES
        ]
        for precision in ("fp32", "bf16")
    }
    scans = [
        OperatorCase("draw_scan", case, mode, precision)
        for case in SCANS
        for precision in ("autocast", "fp32")
        for mode in MODES
    ]
    samples = [OperatorCase("draw_generate", SAMPLES, MODES[0], p) for p in ("autocast", "fp32")]
    cells = [
        OperatorCase("lstm_cell", shape, mode, precision)
        for precision in ("fp32", "tf32", "autocast")
        for shape in CELLS
        for mode in MODES
    ]
    plain = [*by_precision["fp32"], *scans, *samples, *cells, *by_precision["bf16"]]
    compiled = [*by_precision["fp32"], *cells, *by_precision["bf16"]]
    return [*((case, False) for case in plain), *((case, True) for case in compiled)]
