"""The compiled CPU core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from drawgan_fast._native import load_cpu
from drawgan_fast.backends.compiled.calls import dense, pointer
from drawgan_fast.backends.compiled.core import Core
from drawgan_fast.backends.tracing import constant_when_traced

core = Core("native", load_cpu)


def laid_out(
    tensors: Sequence[Tensor | None],
) -> tuple[Sequence[Tensor | None], Sequence[int]]:
    """The tensors as kernels read them, see ``dense``, and their addresses, 0 for None.

    The tensors must be kept as long as their addresses are used.
    """
    # In one call where all are dense already, which nearly all are.
    addresses = core().addresses(tuple(tensors))
    if addresses is None:
        tensors = [None if tensor is None else dense(tensor) for tensor in tensors]
        addresses = [pointer(tensor) for tensor in tensors]
    return tensors, addresses


# A compiler that traces a call takes the answer as it is, instead of tracing the loading.
@constant_when_traced
def unavailable() -> str | None:
    """Why there is no core, or None if there is one."""
    return core.unavailable()
