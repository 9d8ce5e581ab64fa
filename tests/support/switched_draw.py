"""A small DRAW in which all can be switched that public code does beside the paper's equations.

What is switched off at first does nothing, so that a proof sees a plain DRAW; a setting, a mode, an
argument or a hook brings it in later, and then the numbers must follow.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GAIN = 1.0
"""A setting in a global of the module."""

SIDE, N, HIDDEN, LATENT, STEPS = 6, 2, 8, 3, 2

PLACES = (
    *("attribute", "namespace", "dictionary", "nested", "buffer", "tensor", "submodule"),
    *("object", "class", "global", "late"),
)
"""Where a setting may live."""


class Rule:
    """Somebody's own object."""

    def __init__(self) -> None:
        self.gain = 1.0


class Patch(nn.Linear):
    """A layer of somebody's own class, with a setting, that remembers."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.gain = 1.0


class Switched(nn.Module):
    """See the module. Images are [B, 36].

    Args:
        gain: where the number lives that a glimpse is multiplied by.
        noisy: a read adds noise, "training" or "eval", or never, "".
        clamp: of "log_sigma", "mean", "pixels", or none, "".
        notes: what forward notes: "calls", "kl", "history", "deque", "nested", "eval", "patch".
        first: states at the start: "zeros", "learned", "list".
        result: "tensor", "tuple", "numbers", "numpy".
        batch_norm: a frozen one before the encoder.
        draws: of "torch", "own", "numpy", "random".
    """

    class_gain = 1.0

    def __init__(
        self,
        gain: str = "attribute",
        noisy: str = "",
        clamp: str = "",
        notes: str = "",
        first: str = "zeros",
        result: str = "tensor",
        batch_norm: bool = False,
        draws: str = "torch",
    ) -> None:
        super().__init__()
        self.where, self.noisy, self.clamp, self.notes = gain, noisy, clamp, notes
        self.first, self.kind, self.draws = first, result, draws
        self.encoder = nn.LSTMCell(2 * N * N + HIDDEN, HIDDEN)
        self.decoder = nn.LSTMCell(LATENT, HIDDEN)
        self.mean, self.log_sigma = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.window, self.write_window = nn.Linear(HIDDEN, 5), nn.Linear(HIDDEN, 5)
        self.patch = nn.Linear(HIDDEN, N * N)
        self.norm = nn.BatchNorm1d(SIDE * SIDE).eval() if batch_norm else None
        if first == "learned":
            self.h0 = nn.Parameter(0.1 * torch.randn(HIDDEN))
        self.head = nn.Identity()
        self.steps, self.batch, self.A, self.B = STEPS, 0, SIDE, SIDE
        self.gain_value, self.args = 1.0, SimpleNamespace(gain=1.0, lr=0.1)
        self.options: dict[str, Any] = {"gain": 1.0, "more": [{"gain": 1.0}]}
        self.register_buffer("gain_buffer", torch.ones(()))
        self.gain_tensor, self.rule = torch.ones(()), Rule()
        self.head.gain = 1.0  # type: ignore[assignment]
        self.calls, self.kl, self.history = 0, 0.0, []  # type: ignore[var-annotated]
        self.recent: deque[float] = deque(maxlen=3)
        self.log: dict[str, Any] = {"deep": [{"seen": 0}]}
        self.generator = torch.Generator().manual_seed(3)

    def gain(self) -> Any:
        """The setting, from where it lives."""
        return {
            "attribute": lambda: self.gain_value,
            "namespace": lambda: self.args.gain,
            "dictionary": lambda: self.options["gain"],
            "nested": lambda: self.options["more"][0]["gain"],
            "buffer": lambda: self.gain_buffer,
            "tensor": lambda: self.gain_tensor,
            "submodule": lambda: self.head.gain,
            "object": lambda: self.rule.gain,
            "class": lambda: self.class_gain,
            "global": lambda: GAIN,
            "late": lambda: getattr(self, "late_gain", 1.0),
        }[self.where]()

    def set_gain(self, value: float) -> None:
        """Change the setting, there."""
        global GAIN
        if self.where == "buffer":
            self.gain_buffer.fill_(value)
        elif self.where == "class":
            Switched.class_gain = value
        elif self.where == "global":
            GAIN = value
        else:
            {
                "attribute": lambda: setattr(self, "gain_value", value),
                "namespace": lambda: setattr(self.args, "gain", value),
                "dictionary": lambda: self.options.update(gain=value),
                "nested": lambda: self.options["more"][0].update(gain=value),
                "tensor": lambda: setattr(self, "gain_tensor", torch.tensor(value)),
                "submodule": lambda: setattr(self.head, "gain", value),
                "object": lambda: setattr(self.rule, "gain", value),
                "late": lambda: setattr(self, "late_gain", value),
            }[self.where]()

    def filters(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Both banks [B, N, SIDE], and γ [B, 1]."""
        x, y, s, d, g = numbers.split(1, 1)
        delta = (SIDE - 1) / (N - 1) * d.exp()
        steps = (torch.arange(N).to(numbers) - (N - 1) / 2) * delta
        banks = []
        for centre in (y, x):
            mu = (SIDE + 1) / 2 * (centre + 1) + steps
            off = torch.arange(SIDE).to(numbers)[None, None] - mu[:, :, None]
            F = torch.exp(-(off**2) / (2 * s.exp()[:, :, None]))
            banks.append(F / (F.sum(2, keepdim=True) + 1e-8))
        return torch.stack(banks), g.exp()

    def read(self, x: Tensor, x_hat: Tensor, h: Tensor, scale: float = 1.0) -> Tensor:
        (F_y, F_x), gamma = self.filters(self.window(h))
        both = [F_y @ i.view(-1, SIDE, SIDE) @ F_x.mT for i in (x, x_hat)]
        glimpse = gamma * torch.cat([one.flatten(1) for one in both], 1) * scale * self.gain()
        if self.noisy and self.training == (self.noisy == "training"):
            glimpse = glimpse + 0.1 * torch.randn_like(glimpse)
        return glimpse

    def write(self, h: Tensor) -> Tensor:
        (F_y, F_x), gamma = self.filters(self.write_window(h))
        return (F_y.mT @ self.patch(h).view(-1, N, N) @ F_x).flatten(1) / gamma

    def noise(self, like: Tensor) -> Tensor:
        if self.draws == "own":
            return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)
        if self.draws == "numpy":
            return torch.from_numpy(np.random.randn(*like.shape)).to(like)  # noqa: NPY002
        if self.draws == "random":
            return torch.full_like(like, random.gauss(0, 1))
        return torch.randn(like.shape, dtype=like.dtype)

    def state(self, x: Tensor) -> Any:
        zero = x.new_zeros(len(x), HIDDEN)
        h = zero + self.h0 if self.first == "learned" else zero
        return [h, zero] if self.first == "list" else (h, zero)

    def forward(
        self,
        x: Tensor,
        steps: int | None = None,
        temperature: float = 1.0,
        labels: Tensor | None = None,
        scale: float = 1.0,
    ) -> Any:
        self.batch = len(x)
        if self.norm is not None:
            x = self.norm(x)
        enc, dec = self.state(x), self.state(x)
        canvas, kl = torch.zeros_like(x), x.new_zeros(())
        for _ in range(steps or self.steps):
            if scale == 1.0:
                r = self.read(x, x - torch.sigmoid(canvas), dec[0])
            else:
                r = self.read(x, x - torch.sigmoid(canvas), dec[0], scale=scale)
            if labels is not None:
                r = r + labels[:, None].to(r)
            enc = self.encoder(torch.cat([r, dec[0]], 1), enc)
            mu, log_sigma = self.mean(enc[0]), self.log_sigma(enc[0])
            if self.clamp == "mean":
                mu = mu.clamp(-2, 2)
            if self.clamp == "log_sigma":
                log_sigma = log_sigma.clamp(max=3.0)
            kl = kl + 0.5 * (mu**2 + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum()
            z = mu + log_sigma.exp() * self.noise(mu) * temperature
            dec = self.decoder(z, dec)
            canvas = canvas + self.write(dec[0])
        self.note(kl, canvas)
        pixels = torch.sigmoid(canvas)
        if self.clamp == "pixels":
            pixels = pixels.clamp(1e-4, 1 - 1e-4)
        if self.kind == "tuple":
            return pixels, {"mu": mu, "sigma": [log_sigma.exp()]}
        if self.kind == "numbers":
            return {"pixels": pixels, "kl": kl.item(), "batch": len(x)}
        if self.kind == "numpy":
            return pixels.detach().numpy()
        return canvas

    def note(self, kl: Tensor, canvas: Tensor) -> None:
        if self.notes == "calls":
            self.calls += 1
        elif self.notes == "kl":
            self.kl = kl.item()
        elif self.notes == "history":
            self.history.append(len(canvas))
        elif self.notes == "deque":
            self.recent.append(kl.item())
        elif self.notes == "nested":
            self.log["deep"][0]["seen"] += 1
        elif self.notes == "eval" and not self.training:
            self.history.append(canvas.detach())
        elif self.notes == "patch":
            self.head.seen = canvas.detach()  # type: ignore[assignment]

    def generate(self, count: int) -> Tensor:
        dec = self.state(torch.zeros(count, SIDE * SIDE))
        canvas = torch.zeros(count, SIDE * SIDE)
        for _ in range(self.steps):
            dec = self.decoder(self.noise(torch.zeros(count, LATENT)), dec)
            canvas = canvas + self.write(dec[0])
        return canvas


def reset() -> None:
    """Put the settings that no instance owns back."""
    global GAIN
    GAIN = Switched.class_gain = 1.0


Action = Callable[[Switched], Any]
