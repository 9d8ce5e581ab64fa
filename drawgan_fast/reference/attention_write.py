"""Reference write: canvas + (1/γ)·F_yᵀ·w·F_x (DRAW eq. 29)."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.reference.filterbank import axis_filters, window


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    spec: AttentionSpec,
    canvas: Tensor | None = None,  # [B, C, H, W]
) -> Tensor:
    """Write the patch through its window onto the canvas; see ``functional.attention_write``.

    Returns:
        [B, C, H, W].
    """
    N = patch.shape[-1]
    win = window(params, size, N, spec, writing=True)
    F_y = axis_filters(win.y, win.delta, win.log_sigma2, size[0], N, spec)
    F_x = axis_filters(win.x, win.delta, win.log_sigma2, size[1], N, spec)
    # exp(−log γ) rather than 1/exp(log γ): neither it nor its gradient overflows on the way.
    sign = 1.0 if spec.gamma_on_write == "multiply" else -1.0
    intensity = (sign * win.log_gamma).exp()[:, None, None, None]
    if spec.write_axes == "transposed":
        patch = patch.mT
    written = intensity * (F_y[:, None].mT @ patch @ F_x[:, None])
    return written if canvas is None else canvas + written
