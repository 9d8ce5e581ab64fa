"""Attention as modules: a Linear that places the window, and the window itself."""

from __future__ import annotations

from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.sizes import height_and_width, whole


class AttentionReader(nn.Module):
    """Reads glimpses of an image where a hidden state looks: γ·F_y·I·F_xᵀ (DRAW eq. 21, 27).

    Args:
        hidden_size: K, units of the state that places the window.
        N: grid points along a side, ≥ 1.
        spec: convention, a preset's name or an :class:`AttentionSpec`.

    Shapes:
        images [B, C, H, W] (or a tuple of them), hidden [B, K] → [B, C, N, N] (or a tuple).

    >>> import torch
    >>> reader = AttentionReader(hidden_size=16, N=5)
    >>> reader(torch.rand(2, 3, 28, 28), torch.zeros(2, 16)).shape
    torch.Size([2, 3, 5, 5])
    """

    def __init__(self, hidden_size: int, N: int, spec: str | AttentionSpec = "paper") -> None:
        super().__init__()
        self.N = whole("N", N)
        self.spec = resolve_spec(spec)
        self.window = nn.Linear(hidden_size, 5)

    def forward(
        self,
        images: Tensor | tuple[Tensor, ...],  # [B, C, H, W] each
        hidden: Tensor,  # [B, K]
        canvas: Tensor | None = None,  # [B, C, H, W]
    ) -> Tensor | tuple[Tensor, ...]:
        """See :func:`drawgan_fast.functional.attention_read`."""
        params = self.window(hidden)
        return F.attention_read(images, params, self.N, self.spec, canvas=canvas)

    def extra_repr(self) -> str:
        """N and the convention."""
        return f"N={self.N}, normalisation={self.spec.normalisation!r}"


class AttentionWriter(nn.Module):
    """Writes a patch where a hidden state points: canvas + (1/γ)·F_yᵀ·w·F_x (DRAW eq. 28–29).

    Args:
        hidden_size: K, units of the state that gives patch and window.
        N: grid points along a side, ≥ 1.
        size: (H, W) of the canvas.
        channels: C.
        spec: convention, a preset's name or an :class:`AttentionSpec`.

    Shapes:
        hidden [B, K] (and canvas [B, C, H, W]) → [B, C, H, W].

    >>> import torch
    >>> writer = AttentionWriter(hidden_size=16, N=5, size=(28, 28))
    >>> writer(torch.zeros(2, 16)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        hidden_size: int,
        N: int,
        size: tuple[int, int],
        channels: int = 1,
        spec: str | AttentionSpec = "paper",
    ) -> None:
        super().__init__()
        self.N = whole("N", N)
        self.size = height_and_width("size", size)
        self.channels = whole("channels", channels)
        self.spec = resolve_spec(spec)
        self.patch = nn.Linear(hidden_size, self.channels * self.N**2)
        self.window = nn.Linear(hidden_size, 5)

    def forward(
        self,
        hidden: Tensor,  # [B, K]
        canvas: Tensor | None = None,  # [B, C, H, W]
    ) -> Tensor:
        """See :func:`drawgan_fast.functional.attention_write`."""
        patch = self.patch(hidden).unflatten(1, (self.channels, self.N, self.N))
        return F.attention_write(patch, self.window(hidden), self.size, self.spec, canvas=canvas)

    def extra_repr(self) -> str:
        """N, the canvas and the convention."""
        return f"N={self.N}, size={self.size}, normalisation={self.spec.normalisation!r}"
