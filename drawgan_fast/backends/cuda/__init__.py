"""The CUDA backend: operators in Python over the compiled CUDA core, which knows no torch."""

from drawgan_fast.backends.cuda.backend import CudaBackend

__all__ = ["CudaBackend"]
