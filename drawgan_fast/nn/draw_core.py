"""The DRAW recurrence as a module: it owns the weights, the operator does the work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory
from drawgan_fast.nn.lstm_cell import LSTMCell
from drawgan_fast.nn.plain import compute_weights, hooked_everywhere, not_plain
from drawgan_fast.reference.draw_scan import Layers, generate_layers, scan_layers

_LAYERS = {"encoder", "posterior", "decoder", "patch", "write_window", "read_window"}
_log = logging.getLogger("drawgan_fast.nn")


class DrawCore(nn.Module):
    """Encoder, posterior, decoder and the two windows of DRAW, run by ``draw_scan``.

    A layer with hooks, replaced by another module, or under a hook for all modules runs as in any
    PyTorch module: the recurrence then calls every layer at every step, which is slower, and logs
    why (``drawgan_fast.nn``). ``torch.nn.utils.prune``, ``weight_norm`` and ``spectral_norm``, of
    hooks or parametrizations, compute their weights once a forward and leave the fast way open.

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

    _said: str | None = None

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
        if not self._prepare():
            self._check(eps, prior_eps, x)
            layers = self._callable_layers()
            return scan_layers(x, eps, layers, self.cfg, prior_eps, trace, self.memory)
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
        if not self._prepare():
            self._check(eps)
            return generate_layers(eps, self._callable_layers(), self.cfg, trace)
        return F.draw_generate(eps, self.weights(), self.cfg, trace=trace)

    def _prepare(self) -> bool:
        """Whether the weights say all, their hooks having run; else the layers must be called."""
        reason = "there are hooks for all modules" if hooked_everywhere() else None
        computed = []
        for name, layer in self._modules.items():
            if layer is None or name not in _LAYERS:
                continue
            because = not_plain(layer)
            if because is not None:
                reason = f"{name} {because}"
            elif layer._forward_pre_hooks:
                computed.append(layer)
        if reason is None:
            for layer in computed:
                compute_weights(layer)
            return True
        if not torch.compiler.is_compiling() and reason != self._said:
            _log.info("DrawCore calls its layers at every step, since %s", reason)
            self._said = reason
        return False

    def _callable_layers(self) -> Layers:
        cfg = self.cfg
        write = self.write_window
        return Layers(
            encoder=self.encoder,
            posterior=self.posterior,
            decoder=self.decoder,
            patch=self.patch,
            read_window=write if self.shared_attention else self.read_window,
            write_window=write,
            read=lambda x, params, canvas: F.attention_read(
                x, params, cfg.read_size, cfg.spec, canvas=canvas
            ),
            write=lambda patch, params, canvas: F.attention_write(
                patch, params, cfg.image_size, cfg.spec, canvas=canvas
            ),
        )

    def _check(self, eps: Tensor, prior_eps: Tensor | None = None, x: Tensor | None = None) -> None:
        """What the operator checks where it runs."""
        cfg = self.cfg
        T, B = eps.shape[:2] if eps.dim() == 3 else ("T", "B")
        wanted: list[tuple[str, Tensor | None, Sequence[int | str]]] = [
            ("eps", eps, (T, B, cfg.latent_size)),
            ("x", x, (B, cfg.channels, *cfg.image_size)),
            ("prior_eps", prior_eps, (T, "B'", cfg.latent_size)),
        ]
        for name, tensor, shape in wanted:
            if tensor is None:
                continue
            fits = [size == want or want == "B'" for size, want in zip(tensor.shape, shape)]
            if tensor.dim() != len(shape) or not all(fits):
                expected = ", ".join(map(str, shape))
                raise ValueError(f"{name} must have shape [{expected}], got {list(tensor.shape)}")

    def extra_repr(self) -> str:
        """The sizes and the options."""
        return f"{self.cfg}, shared_attention={self.shared_attention}, memory={self.memory!r}"
