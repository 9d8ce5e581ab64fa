"""Small DRAWs in the shapes in which people write them, with conventions of our choice.

They are written for these tests from the table of conventions; the formulas share nothing with
``drawgan_fast.reference``, so that the two cannot agree by sharing a mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributions, nn

from drawgan_fast import PRESETS, AttentionSpec

Scale = Callable[[Tensor], Tensor]  # raw filters [B, N, P] → normalised


@dataclass
class Add:
    """F/(S + eps). An object, and below functions with names, so that a pickle takes them."""

    eps: float

    def __call__(self, raw: Tensor) -> Tensor:
        return raw / (raw.sum(2, keepdim=True) + self.eps)


add = Add


def _plus_one(side: int) -> float:
    return side + 1


def _as_it_is(g: Tensor) -> Tensor:
    return g


@dataclass
class Convention:
    """How one implementation turns five numbers into filters."""

    spec: AttentionSpec | None  # what it is to be recognised as; None: as nothing
    shift: float = 0.5  # of N/2 in μ = g + (i − N/2 − shift)·δ
    base: int = 0
    scale: Scale = field(default_factory=lambda: add(1e-8))
    variance: Callable[[Tensor], Tensor] = torch.exp
    order: str = "xysdg"
    extent: Callable[[int], float] = _plus_one
    centre: Callable[[Tensor], Tensor] = _as_it_is
    intensity: Callable[[Tensor], Tensor] = torch.exp
    longest: Callable[[int, int], int] = max
    multiply: bool = False  # by γ on write
    squared: bool = False  # γ in both banks
    turn: bool = False  # read the transposed image
    swap: bool = False  # x runs along the height, on a read

    def filters(self, n: Tensor, A: int, B: int, N: int) -> tuple[Tensor, Tensor, Tensor]:
        """F_x [b, N, A], F_y [b, N, B], γ [b, 1, 1] of raw numbers [b, 5]."""
        x, y, s, d, g = (n[:, self.order.index(k), None] for k in "xysdg")
        delta = (self.longest(A, B) - 1) / max(N - 1, 1) * d.exp()
        steps = (torch.arange(N, device=n.device).to(n) - N / 2 - self.shift) * delta

        def bank(place: Tensor, side: int) -> Tensor:
            mu = self.extent(side) / 2 * (self.centre(place) + 1) + steps
            p = torch.arange(side, device=n.device).to(n) + self.base
            off = p[None, None] - mu[:, :, None]
            return self.scale(torch.exp(-0.5 * off**2 / self.variance(s)[:, :, None]))

        gamma = self.intensity(g)[:, :, None]
        return bank(x, A), bank(y, B), gamma**2 if self.squared else gamma


def _total(raw: Tensor) -> Tensor:
    return raw / raw.sum((1, 2), keepdim=True)


def _kamen(raw: Tensor) -> Tensor:
    return raw / (raw + 1e-8).sum(2, keepdim=True)


CONVENTIONS: dict[str, Convention] = {
    "paper": Convention(PRESETS["paper"], -0.5, 1, lambda raw: raw / raw.sum(2, keepdim=True)),
    "natsu": Convention(PRESETS["natsu"]),
    "amarsaini": Convention(PRESETS["amarsaini"], -0.5),
    "czm0": Convention(PRESETS["czm0"], scale=add(1e-9), variance=lambda s: 2 * s.exp() ** 2),
    "shuaiyihuang": Convention(
        PRESETS["shuaiyihuang"], scale=_total, variance=lambda s: 2 * s.exp() ** 2
    ),
    "kamen": Convention(PRESETS["kamen"], -0.5, 1, _kamen),
    "rhychen": Convention(PRESETS["rhychen"], -0.5, scale=add(1e-9), multiply=True, turn=True),
    "jbornschein": Convention(
        PRESETS["jbornschein"], -0.5, scale=add(1e-4), order="yxdsg", extent=lambda side: side
    ),
    "text2image": Convention(PRESETS["text2image"], scale=add(1e-4), order="xydsg"),
    "ericjang": Convention(
        PRESETS["ericjang"], scale=lambda raw: raw / raw.sum(2, keepdim=True).clamp(min=1e-8)
    ),
    "vivanov": Convention(
        PRESETS["vivanov"],
        -0.5,
        1,
        lambda raw: raw,
        lambda s: s.exp() ** 2,
        multiply=True,
        squared=True,
        swap=True,
    ),
    # Forms that are met and are no preset.
    "tanh centre": Convention(
        AttentionSpec(
            centre_tanh=True, grid_offset="N/2+1/2", pixel_base=0, normalisation="add", eps=1e-8
        ),
        centre=torch.tanh,
    ),
    "sigmoid gamma": Convention(
        AttentionSpec(
            gamma_form="sigmoid", grid_offset="N/2+1/2", pixel_base=0, normalisation="max", eps=1e-8
        ),
        scale=lambda raw: raw / raw.sum(2, keepdim=True).clamp(min=1e-8),
        intensity=torch.sigmoid,
    ),
    "side A-1, width, other order": Convention(
        AttentionSpec(
            order=("gamma", "y", "x", "sigma", "delta"),
            centre_scale="A-1",
            delta_rule="width",
            pixel_base=0,
            normalisation="add",
            eps=1e-6,
        ),
        -0.5,
        scale=add(1e-6),
        order="gyxsd",
        extent=lambda side: side - 1,
        longest=lambda A, B: A,
    ),
    "clamped sigma": Convention(
        AttentionSpec(
            log_sigma2_clamp=(-1.0, 2.0),
            grid_offset="N/2+1/2",
            pixel_base=0,
            normalisation="add",
            eps=1e-8,
        ),
        variance=lambda s: s.clamp(-1, 2).exp(),
    ),
    # Nobody's.
    "unknown": Convention(None, scale=lambda raw: raw / (raw.sum(2, keepdim=True) + 0.03)),
}


class Lists(nn.Module):
    """Everything is left in lists of the model, the loss is a method; one Linear for windows."""

    def __init__(
        self,
        convention: str = "natsu",
        A: int = 9,
        B: int = 7,
        channel: int = 1,
        N: int = 3,
        write_N: int | None = None,
        T: int = 3,
        h: int = 12,
        z: int = 4,
        shared: bool = True,
    ) -> None:
        super().__init__()
        self.T, self.A, self.B, self.channel = T, A, B, channel
        self.N, self.write_N, self.h, self.z = N, write_N or N, h, z
        self.rule = CONVENTIONS[convention]
        self.cs: list[Any] = [0] * T
        self.mus: list[Any] = [0] * T
        self.logsigmas: list[Any] = [0] * T
        self.sigmas: list[Any] = [0] * T
        self.encoder = nn.LSTMCell(2 * channel * N * N + h, h)
        self.decoder = nn.LSTMCell(z, h)
        self.to_mu, self.to_log_sigma = nn.Linear(h, z), nn.Linear(h, z)
        self.window = nn.Linear(h, 5)
        self.write_window = self.window if shared else nn.Linear(h, 5)
        self.patch_layer = nn.Linear(h, channel * self.write_N**2)

    def read(self, x: Tensor, x_hat: Tensor, h_dec: Tensor) -> Tensor:
        F_x, F_y, gamma = self.rule.filters(self.window(h_dec), self.A, self.B, self.N)
        if self.rule.swap:
            F_x, F_y = F_y, F_x
        both = []
        for image in (x, x_hat):
            pixels = image.view(-1, self.channel, self.B, self.A)
            pixels = pixels.mT if self.rule.turn else pixels
            glimpse = F_y[:, None] @ pixels @ F_x[:, None].mT
            both.append((gamma[:, None] * glimpse).flatten(1))
        return torch.cat(both, 1)

    def write(self, h_dec: Tensor) -> Tensor:
        N = self.write_N
        F_x, F_y, gamma = self.rule.filters(self.write_window(h_dec), self.A, self.B, N)
        w = self.patch_layer(h_dec).view(self.batch, self.channel, N, N)
        gamma = gamma[:, None] if self.rule.multiply else 1 / gamma[:, None]
        return (gamma * (F_y[:, None].mT @ w @ F_x[:, None])).flatten(1)

    def sample(self, h_enc: Tensor, t: int) -> Tensor:
        self.mus[t], self.logsigmas[t] = self.to_mu(h_enc), self.to_log_sigma(h_enc)
        self.sigmas[t] = torch.exp(self.logsigmas[t])
        return self.mus[t] + self.sigmas[t] * torch.randn(self.batch, self.z)

    def forward(self, x: Tensor) -> None:
        self.batch = len(x)
        enc = dec = (torch.zeros(self.batch, self.h), torch.zeros(self.batch, self.h))
        canvas = torch.zeros(self.batch, self.channel * self.A * self.B)
        for t in range(self.T):
            r = self.read(x, x - torch.sigmoid(canvas), dec[0])
            enc = self.encoder(torch.cat([r, dec[0]], 1), enc)
            dec = self.decoder(self.sample(enc[0], t), dec)
            canvas = canvas + self.write(dec[0])
            self.cs[t] = canvas

    def loss(self, x: Tensor) -> Tensor:
        self.forward(x)
        pixels = nn.functional.binary_cross_entropy_with_logits(self.cs[-1], x, reduction="sum")
        kl = torch.zeros(())
        for mu, sigma, log_sigma in zip(self.mus, self.sigmas, self.logsigmas):
            kl = kl + 0.5 * (mu**2 + sigma**2 - 2 * log_sigma - 1).sum()
        return (pixels + kl) / len(x)

    def generate(self, n: int) -> Tensor:
        self.batch = n
        dec = (torch.zeros(n, self.h), torch.zeros(n, self.h))
        canvas = torch.zeros(n, self.channel * self.A * self.B)
        for _ in range(self.T):
            dec = self.decoder(torch.randn(n, self.z), dec)
            canvas = canvas + self.write(dec[0])
        return torch.sigmoid(canvas)


class WindowFirst(Lists):
    """A helper whose name says "write" too, and read ≠ write size."""

    def __init__(self, convention: str = "czm0", **sizes: Any) -> None:
        super().__init__(convention, N=2, write_N=4, shared=False, **sizes)

    def write_filters(self, h_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.rule.filters(self.write_window(h_dec), self.A, self.B, self.write_N)

    def write(self, h_dec: Tensor) -> Tensor:
        F_x, F_y, gamma = self.write_filters(h_dec)
        w = self.patch_layer(h_dec).view(-1, self.write_N, self.write_N)
        return (F_y.mT @ w @ F_x / gamma).flatten(1)


class Distributions(nn.Module):
    """Forward returns p(x|z) and q(z|x); one posterior layer, two window layers."""

    def __init__(self, convention: str = "kamen", attention: bool = True) -> None:
        super().__init__()
        self.H, self.W, self.steps, self.units, self.latents = 8, 6, 4, 12, 4
        self.attention, self.rule = attention, CONVENTIONS[convention]
        numbers = 2 * 2 * 2 if attention else 2 * 48
        self.encoder = nn.LSTMCell(numbers + 12, 12)
        self.decoder = nn.LSTMCell(4, 12)
        self.posterior = nn.Linear(12, 8)
        self.patch = nn.Linear(12, 9 if attention else 48)
        self.look, self.point = nn.Linear(12, 5), nn.Linear(12, 5)

    def read(self, x: Tensor, x_hat: Tensor, h: Tensor) -> Tensor:
        if not self.attention:
            return torch.cat([x, x_hat], 1)
        F_x, F_y, gamma = self.rule.filters(self.look(h), self.W, self.H, 2)
        seen = [F_y @ i.view(-1, self.H, self.W) @ F_x.mT for i in (x, x_hat)]
        return torch.cat([(gamma * g).flatten(1) for g in seen], 1)

    def write(self, h: Tensor) -> Tensor:
        w = self.patch(h)
        if not self.attention:
            return w
        F_x, F_y, gamma = self.rule.filters(self.point(h), self.W, self.H, 3)
        return (F_y.mT @ w.view(-1, 3, 3) @ F_x).flatten(1) / gamma[:, 0]

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        enc = dec = (torch.zeros(len(x), 12), torch.zeros(len(x), 12))
        canvas, posteriors = torch.zeros_like(x), []
        for _ in range(self.steps):
            r = self.read(x, x - torch.sigmoid(canvas), dec[0])
            enc = self.encoder(torch.cat([r, dec[0]], 1), enc)
            mu, log_sigma = self.posterior(enc[0]).split(4, 1)
            posteriors.append(distributions.Normal(mu, log_sigma.exp()))
            dec = self.decoder(posteriors[-1].rsample(), dec)
            canvas = canvas + self.write(dec[0])
        q = distributions.Normal(
            torch.stack([p.loc for p in posteriors], -1),
            torch.stack([p.scale for p in posteriors], -1),
        )
        return distributions.Bernoulli(logits=canvas), q

    def loss(self, x: Tensor) -> Tensor:
        p, q = self(x)
        prior = distributions.Normal(torch.zeros(()), torch.ones(()))
        kl = distributions.kl_divergence(q, prior).sum((1, 2))
        return (kl - p.log_prob((x > 0.5).to(x)).sum(1)).mean()


def glimpses(
    x: Tensor, canvas: Tensor, h: Tensor, layer: nn.Linear, rule: Convention, N: int
) -> Tensor:
    """A function that is bound in ``__init__``: [B, C, H, W] → [B, 2C, N, N], from the canvas."""
    F_x, F_y, gamma = rule.filters(layer(h), x.shape[3], x.shape[2], N)
    both = torch.cat([x, x - torch.sigmoid(canvas)], 1)
    return gamma[:, None] * (F_y[:, None] @ both @ F_x[:, None].mT)


class Bound(nn.Module):
    """Images are [B, C, H, W]; functions bound in ``__init__`` that take a Linear; a dict out."""

    def __init__(self, convention: str = "natsu", C: int = 3) -> None:
        super().__init__()
        self.image_size, self.C, self.rule = (C, 6, 10), C, CONVENTIONS[convention]
        self.encoder = nn.LSTMCell(2 * C * 9 + 12, 12)
        self.decoder = nn.LSTMCell(4, 12)
        self.mean, self.log_variance = nn.Linear(12, 4), nn.Linear(12, 4)
        self.windows = nn.ModuleList([nn.Linear(12, 5), nn.Linear(12, 5)])
        self.patch = nn.Linear(12, C * 4)
        self.read = glimpses
        self.write_on = self._write

    def _write(self, h: Tensor, canvas: Tensor, layer: nn.Linear) -> Tensor:
        F_x, F_y, gamma = self.rule.filters(layer(h), canvas.shape[3], canvas.shape[2], 2)
        w = self.patch(h).view(h.shape[0], self.C, 2, 2)
        return canvas + F_y[:, None].mT @ w @ F_x[:, None] / gamma[:, None]

    def forward(self, x: Tensor) -> dict[str, Any]:
        enc = dec = (x.new_zeros(x.shape[0], 12), x.new_zeros(x.shape[0], 12))
        canvas, mus, log_vars = torch.zeros_like(x), [], []
        noise = torch.randn(3, x.shape[0], 4, dtype=x.dtype, device=x.device)
        for eps in noise:
            r = self.read(x, canvas, dec[0], self.windows[0], rule=self.rule, N=3)
            enc = self.encoder(torch.cat([r.flatten(1), dec[0]], 1), enc)
            mus.append(self.mean(enc[0]))
            log_vars.append(self.log_variance(enc[0]))
            dec = self.decoder(mus[-1] + eps * torch.exp(log_vars[-1] / 2), dec)
            canvas = self.write_on(dec[0], canvas, layer=self.windows[1])
        return {"pixels": torch.sigmoid(canvas), "mu": torch.stack(mus), "log_var": log_vars}

    def loss(self, x: Tensor) -> Tensor:
        out = self(x)
        kl = 0.5 * (out["mu"] ** 2).sum()
        for log_var in out["log_var"]:
            kl = kl + 0.5 * (log_var.exp() - log_var).sum()
        pixels = nn.functional.binary_cross_entropy(out["pixels"], x, reduction="sum")
        return (pixels + kl) / x.shape[0]


class CountFirst(nn.Module):
    """Forward wants the batch size too; the image is read transposed; log variance; square."""

    def __init__(self) -> None:
        super().__init__()
        self.rule = CONVENTIONS["rhychen"]
        self.encoder, self.decoder = nn.LSTMCell(2 * 9 + 12, 12), nn.LSTMCell(4, 12)
        self.mean, self.log_var = nn.Linear(12, 4), nn.Linear(12, 4)
        self.patch, self.w_read, self.w_write = (nn.Linear(12, n) for n in (9, 5, 5))

    def read(self, x: Tensor, error: Tensor, h: Tensor, verbose: bool = False) -> Tensor:
        F_x, F_y, gamma = self.rule.filters(self.w_read(h), 8, 8, 3)
        seen = [gamma * (F_y @ i.view(-1, 8, 8).mT @ F_x.mT) for i in (x, error)]
        return torch.cat([g.flatten(1) for g in seen], 1)

    def write(self, h: Tensor) -> Tensor:
        F_x, F_y, gamma = self.rule.filters(self.w_write(h), 8, 8, 3)
        return (gamma * (F_y.mT @ self.patch(h).view(-1, 3, 3) @ F_x)).flatten(1)

    def forward(self, count: int, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        enc = dec = (torch.zeros(count, 12), torch.zeros(count, 12))
        canvas, means, log_vars = [torch.zeros_like(x)], [], []
        for t in range(3):
            r = self.read(x, x - torch.sigmoid(canvas[t]), dec[0])
            enc = self.encoder(torch.cat([r, dec[0]], 1), enc)
            means.append(self.mean(enc[0]))
            log_vars.append(self.log_var(enc[0]))
            sd = torch.exp(0.5 * log_vars[-1])
            dec = self.decoder(torch.randn_like(sd).mul(sd).add(means[-1]), dec)
            canvas.append(canvas[t] + self.write(dec[0]))
        return torch.sigmoid(canvas[-1]), means, log_vars

    def loss(self, x: Tensor) -> Tensor:
        pixels, means, log_vars = self(len(x), x)
        total = nn.functional.binary_cross_entropy(pixels, x, reduction="sum")
        for mu, log_var in zip(means, log_vars):
            total = total - 0.5 * (1 + log_var - mu**2 - log_var.exp()).sum()
        return total / len(x)


class Gru(Lists):
    """GRU cells: the windows can be replaced, the recurrence is no DRAW that a scan computes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRUCell(18 + 12, 12)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> None:
        self.batch = len(x)
        h_enc, dec = torch.zeros(len(x), 12), (torch.zeros(len(x), 12), torch.zeros(len(x), 12))
        canvas = torch.zeros_like(x)
        for t in range(self.T):
            r = self.read(x, x - torch.sigmoid(canvas), dec[0])
            h_enc = self.encoder(torch.cat([r, dec[0]], 1), h_enc)
            dec = self.decoder(self.sample(h_enc, t), dec)
            canvas = canvas + self.write(dec[0])
            self.cs[t] = canvas


@dataclass
class Shape:
    """A way of writing a DRAW, with an image batch that fits it."""

    build: Callable[[], nn.Module]
    image: tuple[int, ...]
    counts: bool = False  # forward takes (B, x)

    def images(self, B: int = 5) -> Tensor:
        return torch.rand(B, *self.image)

    def example(self) -> tuple[Any, ...] | None:
        """What has to be said where a model does not: the batch size, or which size of several."""
        if self.counts:
            return (4, torch.rand(4, *self.image))
        return (torch.rand(4, *self.image),) if len(self.image) == 3 else None


SHAPES: dict[str, Shape] = {
    "lists": Shape(Lists, (63,)),
    "lists, colour": Shape(lambda: Lists(channel=3, shared=False), (189,)),
    "two sizes": Shape(WindowFirst, (63,)),
    "distributions": Shape(Distributions, (48,)),
    "no attention": Shape(lambda: Distributions(attention=False), (48,)),
    "bound, images": Shape(Bound, (3, 6, 10)),
    "bound, grey": Shape(lambda: Bound("ericjang", C=1), (1, 6, 10)),
    "count first": Shape(CountFirst, (64,), counts=True),
}
