"""What the DRAW recurrence takes and gives: its sizes, its weights, its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.sizes import height_and_width, whole

Memory = Literal["keep", "recompute"]
"""What a scan keeps for its backward: every step, or every few and the rest is run again."""


@dataclass(frozen=True)
class DrawConfig:
    """Sizes of a DRAW network; hashable, so that a compiled kernel can be kept per config.

    Args:
        image_size: (H, W) in pixels.
        channels: C.
        hidden_size: units K of the encoder's and of the decoder's LSTM.
        latent_size: Z, numbers per latent z_t.
        read_size: N of the read window.
        write_size: N of the write window.
        spec: attention convention.
        attention: False reads the whole image and writes the whole canvas each step
            (DRAW section 3.1); the two sizes and the spec then mean nothing.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1.

    >>> DrawConfig(image_size=(28, 28)).glimpse_numbers
    8
    """

    image_size: tuple[int, int]
    channels: int = 1
    hidden_size: int = 256
    latent_size: int = 100
    read_size: int = 2
    write_size: int = 5
    spec: AttentionSpec = field(default_factory=AttentionSpec)
    attention: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", height_and_width("image_size", self.image_size))
        object.__setattr__(self, "spec", resolve_spec(self.spec))
        for name in ("channels", "hidden_size", "latent_size", "read_size", "write_size"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))

    @property
    def image_numbers(self) -> int:
        """C·H·W."""
        return self.channels * self.image_size[0] * self.image_size[1]

    @property
    def glimpse_numbers(self) -> int:
        """Numbers that the encoder gets from one read: both images, all channels."""
        if not self.attention:
            return 2 * self.image_numbers
        return 2 * self.channels * self.read_size**2

    @property
    def patch_numbers(self) -> int:
        """Numbers that the decoder gives for one write."""
        if not self.attention:
            return self.image_numbers
        return self.channels * self.write_size**2


class DrawWeights(NamedTuple):
    """Parameters of the recurrence, laid out as ``nn.LSTMCell`` and ``nn.Linear`` lay them out.

    The encoder's input is [glimpse of x, glimpse of x̂, h_dec]; the posterior's Linear gives
    [μ, log σ]. Read and write may share one attention Linear: pass the same tensors twice.
    Without attention ``read_*`` and ``write_*`` are None and ``patch_*`` writes the whole canvas.
    """

    enc_w_ih: Tensor  # [4K, glimpse_numbers + K]
    enc_w_hh: Tensor  # [4K, K]
    enc_b_ih: Tensor  # [4K]
    enc_b_hh: Tensor  # [4K]
    dec_w_ih: Tensor  # [4K, Z]
    dec_w_hh: Tensor  # [4K, K]
    dec_b_ih: Tensor  # [4K]
    dec_b_hh: Tensor  # [4K]
    posterior_w: Tensor  # [2Z, K]
    posterior_b: Tensor  # [2Z]
    patch_w: Tensor  # [patch_numbers, K]
    patch_b: Tensor  # [patch_numbers]
    read_w: Tensor | None = None  # [5, K]
    read_b: Tensor | None = None  # [5]
    write_w: Tensor | None = None  # [5, K]
    write_b: Tensor | None = None  # [5]

    @staticmethod
    def shapes(cfg: DrawConfig) -> dict[str, tuple[int, ...]]:
        """Shape of each weight for a config; the ones it does not use are absent.

        >>> DrawWeights.shapes(DrawConfig(image_size=(28, 28)))["read_w"]
        (5, 256)
        """
        K, Z = cfg.hidden_size, cfg.latent_size
        shapes: dict[str, tuple[int, ...]] = {
            "enc_w_ih": (4 * K, cfg.glimpse_numbers + K),
            "enc_w_hh": (4 * K, K),
            "enc_b_ih": (4 * K,),
            "enc_b_hh": (4 * K,),
            "dec_w_ih": (4 * K, Z),
            "dec_w_hh": (4 * K, K),
            "dec_b_ih": (4 * K,),
            "dec_b_hh": (4 * K,),
            "posterior_w": (2 * Z, K),
            "posterior_b": (2 * Z,),
            "patch_w": (cfg.patch_numbers, K),
            "patch_b": (cfg.patch_numbers,),
        }
        if cfg.attention:
            shapes |= {"read_w": (5, K), "read_b": (5,), "write_w": (5, K), "write_b": (5,)}
        return shapes


class DrawTrace(NamedTuple):
    """Every step of a drawing, for looking at: no gradient goes through it.

    A window is (x, y, δ, σ², γ) in pixels: (x, y) is the middle of the N×N grid, pixel (0, 0) has
    its centre at (0, 0), x runs along the width, δ is the stride between grid points. The windows
    are None for a network without attention, the read windows also where nothing was read.
    """

    canvases: Tensor  # [T, B, C, H, W] logits
    write_windows: Tensor | None  # [T, B, 5]
    read_windows: Tensor | None  # [T, B, 5]


class DrawOutput(NamedTuple):
    """Result of ``draw_scan``."""

    canvas: Tensor  # [B, C, H, W] logits of x̂
    mu: Tensor  # [T, B, Z] of the posterior q(z_t | x, z_<t)
    log_sigma: Tensor  # [T, B, Z]
    kl: Tensor  # [B] nats, of all z_t: Σ_t KL(q(z_t | x, z_<t) ‖ N(0, I))
    prior_canvas: Tensor | None  # [B', C, H, W] logits of prior samples, if prior_eps was given
    trace: DrawTrace | None


class DrawSample(NamedTuple):
    """Result of ``draw_generate``."""

    canvas: Tensor  # [B, C, H, W] logits
    trace: DrawTrace | None
