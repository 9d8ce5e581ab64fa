"""Reference LSTM cell, gates in PyTorch's order i, f, g, o."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_cell(
    x: Tensor,  # [B, D]
    state: tuple[Tensor, Tensor],  # (h [B, K], c [B, K])
    w_ih: Tensor,  # [4K, D]
    w_hh: Tensor,  # [4K, K]
    b_ih: Tensor | None,  # [4K]
    b_hh: Tensor | None,  # [4K]
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM; see ``functional.lstm_cell``.

    Returns:
        (h [B, K], c [B, K]).
    """
    h, c = state
    gates = x @ w_ih.T + h @ w_hh.T  # [B, 4K]
    for bias in (b_ih, b_hh):
        if bias is not None:
            gates = gates + bias
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
