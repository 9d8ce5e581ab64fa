"""The Triton backend: hand-written kernels for GPUs, in ``drawgan_fast.kernels``."""

from drawgan_fast.backends.triton.backend import TritonBackend

__all__ = ["TritonBackend"]
