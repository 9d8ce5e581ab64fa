"""DRAW: a recurrent variational autoencoder that draws through attention windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec, describe
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawTrace, Memory
from drawgan_fast.losses import bernoulli_nll, log_prior_ratio
from drawgan_fast.models.base import (
    GenerativeModel,
    LossTerms,
    eval_mode,
    standard_normal,
)
from drawgan_fast.nn import DrawCore
from drawgan_fast.sizes import whole

# Images decoded at a time when sampling: bounds the memory of `generate(10_000)`.
_CHUNK = 1024


class DRAW(GenerativeModel):
    r"""DRAW with Bernoulli pixels, trained on its evidence lower bound.

    loss = E_q[−log p(x | z_1…T)] + Σ_t KL(q(z_t | x, z_<t) ‖ N(0, I)), in nats per image
    (DRAW eq. 9–12). The defaults are the paper's MNIST configuration (table 3).

    Args:
        image_size: (H, W) in pixels.
        channels: C.
        steps: T.
        hidden_size: K, units of the encoder's and of the decoder's LSTM.
        latent_size: Z, numbers per step.
        read_size: N of the read window.
        write_size: N of the write window.
        spec: attention convention: a preset's name, an :class:`AttentionSpec` or its fields.
        attention: False reads and writes the whole image at every step (DRAW section 3.1).
        shared_attention: read and write take their windows from one Linear.
        memory: what a training step keeps for backward: ``keep``: every step; ``recompute``: every
            few, and the rest is run again. Same numbers, less memory, more time.

    Raises:
        TypeError, ValueError: a size is no whole number ≥ 1, the spec is unknown, or
            ``shared_attention`` without attention.

    Source: Gregor et al. 2015, "DRAW: A Recurrent Neural Network For Image Generation".

    >>> model = DRAW(image_size=(8, 8), steps=3, hidden_size=4, latent_size=2)
    >>> terms = model.loss(torch.rand(5, 1, 8, 8))
    >>> bool(terms.total == terms.reconstruction + terms.kl)
    True
    >>> model.generate(2).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        image_size: Sequence[int] = (28, 28),
        channels: int = 1,
        steps: int = 64,
        hidden_size: int = 256,
        latent_size: int = 100,
        read_size: int = 2,
        write_size: int = 5,
        spec: str | AttentionSpec | Mapping[str, Any] = "paper",
        attention: bool = True,
        shared_attention: bool = False,
        memory: Memory = "keep",
    ) -> None:
        convention = resolve_spec(spec)
        super().__init__(
            image_size,
            channels,
            steps=whole("steps", steps),
            hidden_size=hidden_size,
            latent_size=latent_size,
            read_size=read_size,
            write_size=write_size,
            spec=describe(convention),
            attention=attention,
            shared_attention=shared_attention,
            memory=memory,
        )
        self.steps = int(steps)
        self.cfg = DrawConfig(
            image_size=self.image_size,
            channels=channels,
            hidden_size=hidden_size,
            latent_size=latent_size,
            read_size=read_size,
            write_size=write_size,
            spec=convention,
            attention=attention,
        )
        self.core = DrawCore(self.cfg, shared_attention=shared_attention, memory=memory)

    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Posterior (or prior) noise [T, B, Z], standard normal."""
        shape = (self.steps, batch_size, self.cfg.latent_size)
        return standard_normal(shape, generator, device=self.device, dtype=self.dtype)

    def forward(
        self,
        x: Tensor,  # [B, C, H, W]
        eps: Tensor | None = None,  # [T, B, Z]
        prior_eps: Tensor | None = None,  # [T, B', Z]
        trace: bool = False,
    ) -> DrawOutput:
        """Run the recurrence; see :func:`drawgan_fast.functional.draw_scan`."""
        self.check_images(x)
        eps = self._checked_noise(x, eps)
        return self.core(x, eps, prior_eps, trace)

    def loss(self, x: Tensor, eps: Tensor | None = None) -> LossTerms:
        """Negative evidence lower bound in mean nats per image; x [B, C, H, W], eps [T, B, Z]."""
        self.check_images(x, minimum=1)
        out = self(x, eps)
        reconstruction = bernoulli_nll(out.canvas, x).mean()
        kl = out.kl.mean()
        return LossTerms(reconstruction + kl, reconstruction, kl)

    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Pixel means of x encoded and drawn again, [B, C, H, W] in [0, 1]."""
        return torch.sigmoid(self(x, eps).canvas)

    def reconstruct_trace(self, x: Tensor, eps: Tensor | None = None) -> tuple[Tensor, DrawTrace]:
        """As :meth:`reconstruct`, without gradients, with every canvas and window."""
        with torch.no_grad(), eval_mode(self):
            out = self(x, eps, trace=True)
        assert out.trace is not None
        return torch.sigmoid(out.canvas), out.trace

    def generate_trace(
        self, n: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, DrawTrace]:
        """As :meth:`generate`, with every canvas and write window."""
        n = whole("n", n, least=0)
        with torch.no_grad(), eval_mode(self):
            sample = self.core.generate(self.noise(n, generator), trace=True)
        assert sample.trace is not None
        return torch.sigmoid(sample.canvas), sample.trace

    def log_weight(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """log p(x|z) + log p(z) − log q(z|x) of one draw, [B] in nats."""
        eps = self._checked_noise(x, eps)
        out = self(x, eps)
        ratio = log_prior_ratio(out.mu, out.log_sigma, eps, batch_dim=1)
        return ratio - bernoulli_nll(out.canvas, x)

    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        chunks = [
            torch.sigmoid(self.core.generate(self.noise(min(_CHUNK, n - done), generator)).canvas)
            for done in range(0, n, _CHUNK)
        ]
        empty = torch.empty(0, self.channels, *self.image_size, device=self.device)
        return torch.cat(chunks) if chunks else empty

    def _checked_noise(self, x: Tensor, eps: Tensor | None) -> Tensor:
        if eps is None:
            return self.noise(x.shape[0])
        self.check_noise(eps, (self.steps, x.shape[0], self.cfg.latent_size))
        return eps
