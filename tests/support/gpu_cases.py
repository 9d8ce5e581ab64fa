"""Cases small enough for a CPU, and what stands for ours there."""

from __future__ import annotations

from benchmarks.cases import CASES, AttentionShape, LSTMShape
from benchmarks.gpu.operator_cases import OperatorCase
from benchmarks.operators import MODES
from drawgan_fast import backends

TINY = AttentionShape(2, 1, 6, 7, 3)
CELL = LSTMShape(3, 4, 5)
SCAN = CASES["draw-paper"].scaled(
    image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, write_size=3, batch=3
)
TINY_CASES = [
    *(
        OperatorCase(op, TINY, mode, precision)
        for op in ("attention_read", "attention_write")
        for mode in MODES
        for precision in ("fp32", "bf16")
    ),
    *(OperatorCase("lstm_cell", CELL, mode, p) for mode in MODES for p in ("fp32", "autocast")),
    *(OperatorCase("draw_scan", SCAN, mode, p) for mode in MODES for p in ("fp32", "autocast")),
    OperatorCase("draw_generate", SCAN, "forward", "fp32"),
]


def fast_backend() -> str:
    """What stands for ours on a CPU."""
    return "native" if backends()["native"] is None else "reference"
