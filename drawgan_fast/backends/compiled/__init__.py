"""What backends with kernels of their own share: gradients, registration, autocast, dtypes.

Such a backend brings :class:`Kernels`, plain functions forward and backward on tensors;
:class:`CompiledBackend` makes differentiable operators of them that compilers can see.
"""

from drawgan_fast.backends.compiled.backend import CompiledBackend
from drawgan_fast.backends.compiled.kernels import Gradients, Kernels, Options, Scan

__all__ = ["CompiledBackend", "Gradients", "Kernels", "Options", "Scan"]
