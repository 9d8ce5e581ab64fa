"""Fused kernels for DRAW and DRAW-GAN."""

from drawgan_fast._version import __version__

__all__ = ["__version__"]
