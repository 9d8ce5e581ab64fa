"""The DRAW recurrence as a module: it owns the weights, the operator does the work."""

from __future__ import annotations

from typing import get_args

from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory
from drawgan_fast.nn.lstm_cell import LSTMCell


class DrawCore(nn.Module):
    """Encoder, posterior, decoder and the two windows of DRAW, run by ``draw_scan``.

    Args:
        cfg: sizes and convention.
        shared_attention: read and write take their windows from one Linear, as the authors'
            published code does; needs attention.
        memory: what a training step keeps for backward, see
            :func:`drawgan_fast.functional.draw_scan`.

    Raises:
        ValueError: ``shared_attention`` without attention, or ``memory`` is none of its choices.

    >>> import torch
    >>> core = DrawCore(DrawConfig((8, 8), hidden_size=4, latent_size=3))
    >>> core(torch.rand(2, 1, 8, 8), torch.randn(6, 2, 3)).canvas.shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, cfg: DrawConfig, *, shared_attention: bool = False, memory: Memory = "keep"
    ) -> None:
        super().__init__()
        if memory not in get_args(Memory):
            raise ValueError(f"memory must be one of {get_args(Memory)}, got {memory!r}")
        if shared_attention and not cfg.attention:
            raise ValueError("shared_attention must be False for a network without attention")
        self.cfg = cfg
        self.shared_attention = shared_attention
        self.memory: Memory = memory
        K = cfg.hidden_size
        self.encoder = LSTMCell(cfg.glimpse_numbers + K, K)
        self.posterior = nn.Linear(K, 2 * cfg.latent_size)
        self.decoder = LSTMCell(cfg.latent_size, K)
        self.patch = nn.Linear(K, cfg.patch_numbers)
        self.write_window = nn.Linear(K, 5) if cfg.attention else None
        self.read_window = nn.Linear(K, 5) if cfg.attention and not shared_attention else None

    def weights(self) -> DrawWeights:
        """The parameters, by the operator's names."""
        write = self.write_window
        read = write if self.shared_attention else self.read_window
        return DrawWeights(
            enc_w_ih=self.encoder.weight_ih,
            enc_w_hh=self.encoder.weight_hh,
            enc_b_ih=self.encoder.bias_ih,
            enc_b_hh=self.encoder.bias_hh,
            dec_w_ih=self.decoder.weight_ih,
            dec_w_hh=self.decoder.weight_hh,
            dec_b_ih=self.decoder.bias_ih,
            dec_b_hh=self.decoder.bias_hh,
            posterior_w=self.posterior.weight,
            posterior_b=self.posterior.bias,
            patch_w=self.patch.weight,
            patch_b=self.patch.bias,
            read_w=None if read is None else read.weight,
            read_b=None if read is None else read.bias,
            write_w=None if write is None else write.weight,
            write_b=None if write is None else write.bias,
        )

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the posterior uses: encoder, posterior, read window."""
        modules = [self.encoder, self.posterior, self.read_window]
        return [p for module in modules if module is not None for p in module.parameters()]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that draw: decoder, patch, write window."""
        modules = [self.decoder, self.patch, self.write_window]
        return [p for module in modules if module is not None for p in module.parameters()]

    def forward(
        self,
        x: Tensor,  # [B, C, H, W]
        eps: Tensor,  # [T, B, Z]
        prior_eps: Tensor | None = None,  # [T, B', Z]
        trace: bool = False,
    ) -> DrawOutput:
        """See :func:`drawgan_fast.functional.draw_scan`."""
        return F.draw_scan(
            x,
            eps,
            self.weights(),
            self.cfg,
            prior_eps=prior_eps,
            trace=trace,
            memory=self.memory,
        )

    def generate(self, eps: Tensor, trace: bool = False) -> DrawSample:
        """See :func:`drawgan_fast.functional.draw_generate`; eps [T, B, Z]."""
        return F.draw_generate(eps, self.weights(), self.cfg, trace=trace)

    def extra_repr(self) -> str:
        """The sizes and the options."""
        return f"{self.cfg}, shared_attention={self.shared_attention}, memory={self.memory!r}"
