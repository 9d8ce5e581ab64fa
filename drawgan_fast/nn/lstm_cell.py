"""An LSTM cell that is ``torch.nn.LSTMCell`` with our operator in its forward."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast import functional as F


class LSTMCell(torch.nn.LSTMCell):
    """Drop-in for ``torch.nn.LSTMCell``: same constructor, parameters and ``state_dict``.

    Differs only in what it accepts: batched input [B, D], as a DRAW network gives it, or
    unbatched [D], as PyTorch allows.

    >>> cell = LSTMCell(3, 4)
    >>> _ = cell.load_state_dict(torch.nn.LSTMCell(3, 4).state_dict())
    >>> h, c = cell(torch.zeros(2, 3))
    >>> h.shape
    torch.Size([2, 4])
    """

    def forward(
        self,
        input: Tensor,  # [B, D] or [D]
        hx: tuple[Tensor, Tensor] | None = None,  # (h, c), [B, K] or [K] each
    ) -> tuple[Tensor, Tensor]:
        """See :func:`drawgan_fast.functional.lstm_cell`; without ``hx`` the state is zero."""
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            zero = x.new_zeros(x.shape[0], self.hidden_size)
            hx = (zero, zero)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = F.lstm_cell(x, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
