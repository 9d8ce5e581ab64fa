"""An LSTM cell that is ``torch.nn.LSTMCell`` with our operator in its forward."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast import functional as F


class LSTMCell(torch.nn.LSTMCell):
    """Drop-in for ``torch.nn.LSTMCell``: same constructor, parameters and ``state_dict``.

    Input batched [B, D], as a DRAW network gives it, or unbatched [D], as PyTorch allows.

    >>> cell = LSTMCell(3, 4)
    >>> _ = cell.load_state_dict(torch.nn.LSTMCell(3, 4).state_dict())
    >>> h, c = cell(torch.zeros(2, 3))
    >>> h.shape
    torch.Size([2, 4])
    """

    def forward(
        self,
        input: Tensor,  # [B, D] or [D]
        hx: tuple[Tensor, Tensor] | None = None,  # (h, c), [B, K] or [K] each; or a list
    ) -> tuple[Tensor, Tensor]:
        """See :func:`drawgan_fast.functional.lstm_cell`; without ``hx`` the state is zero."""
        if input.dim() not in (1, 2):
            raise ValueError(f"input must have shape [B, D] or [D], got {list(input.shape)}")
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            zero = x.new_zeros(x.shape[0], self.hidden_size)
            hx = (zero, zero)
        elif not batched:
            hx = _of_one(hx)
        h, c = F.lstm_cell(x, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


def _of_one(state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The state of an input without a batch, as a batch of one."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        return state  # the operator says what is wrong with it
    for name, value in zip("hc", state):
        if isinstance(value, Tensor) and value.dim() != 1:
            raise ValueError(
                f"{name} must have shape [K] where the input has no batch, got {list(value.shape)}"
            )
    h, c = (value.unsqueeze(0) if isinstance(value, Tensor) else value for value in state)
    return h, c
