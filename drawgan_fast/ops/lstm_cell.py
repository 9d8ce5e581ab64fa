"""lstm_cell: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Shapes


def lstm_cell(
    x: Tensor,  # [B, D]
    state: tuple[Tensor, Tensor],  # (h [B, K], c [B, K])
    w_ih: Tensor,  # [4K, D]
    w_hh: Tensor,  # [4K, K]
    b_ih: Tensor | None,  # [4K]
    b_hh: Tensor | None,  # [4K]
) -> tuple[Tensor, Tensor]:
    """See ``functional.lstm_cell``."""
    if not isinstance(state, tuple) or len(state) != 2:
        raise TypeError(f"state must be a tuple (h, c), got {type(state).__name__}")
    h, c = state
    shapes = Shapes()
    shapes.check("x", x, ("B", "D"))
    shapes.check("h", h, ("B", "K"))
    shapes.check("c", c, ("B", "K"))
    gates = 4 * shapes.bound["K"]
    shapes.check("w_ih", w_ih, (gates, "D"))
    shapes.check("w_hh", w_hh, (gates, "K"))
    for name, bias in (("b_ih", b_ih), ("b_hh", b_hh)):
        if bias is not None:
            shapes.check(name, bias, (gates,))

    args = {"x": x, "state": state, "w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh}
    return select("lstm_cell", args).lstm_cell(x, state, w_ih, w_hh, b_ih, b_hh)
