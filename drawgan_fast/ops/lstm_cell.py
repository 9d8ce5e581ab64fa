"""lstm_cell: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Signature, remembered


def lstm_cell(
    x: Tensor,  # [B, D]
    state: tuple[Tensor, Tensor],  # (h [B, K], c [B, K])
    w_ih: Tensor,  # [4K, D]
    w_hh: Tensor,  # [4K, K]
    b_ih: Tensor | None,  # [4K]
    b_hh: Tensor | None,  # [4K]
) -> tuple[Tensor, Tensor]:
    """See ``functional.lstm_cell``."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        of = f" of {len(state)}" if isinstance(state, (tuple, list)) else ""
        raise TypeError(f"state must be a tuple (h, c), got {type(state).__name__}{of}")
    h, c = state
    state = (h, c)
    # K must be known for the gates; if h has no columns to count, its own check says so.
    K = h.shape[-1] if isinstance(h, Tensor) and h.dim() > 0 else 0
    signature = _signature(K, b_ih is not None, b_hh is not None)
    plain = signature.check((x, h, c, w_ih, w_hh, b_ih, b_hh))

    args = {"x": x, "state": state, "w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh}
    return select("lstm_cell", args, plain).lstm_cell(x, state, w_ih, w_hh, b_ih, b_hh)


@remembered
def _signature(K: int, with_b_ih: bool, with_b_hh: bool) -> Signature:
    bias = (4 * K,)
    return Signature(
        {
            "x": ("B", "D"),
            "h": ("B", "K"),
            "c": ("B", "K"),
            "w_ih": (4 * K, "D"),
            "w_hh": (4 * K, "K"),
            "b_ih": bias if with_b_ih else None,
            "b_hh": bias if with_b_hh else None,
        }
    )
