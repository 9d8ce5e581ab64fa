"""Which backend runs a call: the first in line that can, or the one that was asked for."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from drawgan_fast.backends.base import Backend, BackendError
from drawgan_fast.backends.compiled import CompiledBackend, Kernels
from drawgan_fast.backends.cuda import CudaBackend
from drawgan_fast.backends.native import NativeBackend
from drawgan_fast.backends.reference import ReferenceBackend
from drawgan_fast.backends.triton import TritonBackend

ENVIRONMENT_VARIABLE = "DRAWGAN_BACKEND"
AUTOMATIC = "auto"

_log = logging.getLogger("drawgan_fast.backends")
_backends: dict[str, Backend] = {}  # in the order in which they are tried
_recorders: list[Counter[tuple[str, str]]] = []
_declined: set[tuple[str, str, str]] = set()
_forced: str | None = None
_environment_read = False


def register(backend: Backend) -> None:
    """Put a backend at the end of the line."""
    _backends[backend.name] = backend


register(CudaBackend())
register(TritonBackend())
register(NativeBackend())
register(ReferenceBackend())


def backends() -> dict[str, str | None]:
    """Every backend in the order in which it is tried, with None or the reason it cannot run.

    >>> backends()["reference"] is None
    True
    """
    return {name: backend.unavailable() for name, backend in _backends.items()}


class use_backend:
    """Force one backend for this process, until changed or until the ``with`` block ends.

    Args:
        name: a backend's name, or ``"auto"`` for the automatic choice.

    Raises:
        BackendError: there is no backend of that name, or it cannot run on this machine; the
            message says why. A call that a forced backend cannot run raises the same error, it
            never falls back.

    >>> with use_backend("reference"):
    ...     current_backend()
    'reference'
    """

    def __init__(self, name: str) -> None:
        global _forced
        _check_usable(name, "use_backend")
        self._previous = _requested()
        _forced = None if name == AUTOMATIC else name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _forced
        _forced = self._previous


def current_backend() -> str:
    """Name of the forced backend, or ``"auto"``."""
    return _requested() or AUTOMATIC


@contextmanager
def record_backends() -> Iterator[Counter[tuple[str, str]]]:
    """Count which backend ran which operator; calls inside a compiled graph are not seen.

    Yields:
        Counter of (operator, backend) pairs, filled while the block runs.

    >>> from drawgan_fast import functional as F
    >>> with use_backend("reference"), record_backends() as ran:
    ...     _ = F.attention_read(torch.zeros(1, 1, 8, 8), torch.zeros(1, 5), N=2)
    >>> dict(ran)
    {('attention_read', 'reference'): 1}
    """
    ran: Counter[tuple[str, str]] = Counter()
    _recorders.append(ran)
    try:
        yield ran
    finally:
        # By identity: two empty counters are equal.
        _recorders[:] = [recorder for recorder in _recorders if recorder is not ran]


def select(op: str, args: Mapping[str, Any], plain: str | None = None) -> Backend:
    """The backend that runs this call.

    Args:
        op: name of the operator.
        args: its arguments by their names.
        plain: as for :meth:`Backend.can_run`.

    Raises:
        BackendError: the forced backend cannot, with its reason; or one that cannot run has
            something that the user asked for.
    """
    forced = _requested()
    if forced is not None:
        backend = _backends[forced]
        reason = backend.unavailable() or backend.can_run(op, args, plain)
        if reason is not None:
            raise BackendError(f"{op} cannot run on the forced backend {forced!r}: {reason}")
        return _record(op, backend)
    for backend in _backends.values():
        reason = backend.unavailable()
        if reason is None:
            reason = backend.can_run(op, args, plain)
            if reason is None:
                return _record(op, backend)
            _log_once(op, backend.name, reason)
        elif backend.asked_for():
            raise BackendError(f"backend {backend.name!r} cannot run here: {reason}")
    raise BackendError(f"no backend can run {op}")  # unreachable: reference runs everything


def compiled_kernels(name: str, device: torch.device, *, running: bool = True) -> Kernels:
    """Kernels of the backend that a registered operator names: the one that took the call.

    The choice is made once, with everything that :meth:`Backend.can_run` looks at; a graph, its
    sizes and its backward carry it along, so that no two backends ever share a call.

    Args:
        name: of the backend.
        device: of the operator's tensors.
        running: False if only sizes are asked for, of tensors that hold nothing.

    Raises:
        BackendError: that backend has no kernels, or cannot run them there; or another is forced.
    """
    backend = _backends.get(name)
    if not isinstance(backend, CompiledBackend):
        raise BackendError(f"a registered operator names backend {name!r}, which has no kernels")
    forced = _requested()
    if (forced or name) != name:
        raise BackendError(
            f"a graph made with backend {name!r} cannot run while {forced!r} is forced"
        )
    reason = backend.unavailable()
    if reason is not None and (running or not backend.has_kernels()):
        raise BackendError(f"a graph made with backend {name!r} cannot run here: {reason}")
    if backend.kernels.device != device.type:
        raise BackendError(f"a graph made with backend {name!r} cannot run on {device}")
    return backend.kernels


def _record(op: str, backend: Backend) -> Backend:
    if _recorders and not torch.compiler.is_compiling():
        for ran in _recorders:
            ran[op, backend.name] += 1
    return backend


def _log_once(op: str, name: str, reason: str) -> None:
    if not torch.compiler.is_compiling() and (op, name, reason) not in _declined:
        _declined.add((op, name, reason))
        _log.info("%s: backend %s declined: %s", op, name, reason)


def _check_usable(name: str, source: str) -> None:
    if name != AUTOMATIC and name not in _backends:
        choices = ", ".join([AUTOMATIC, *_backends])
        raise BackendError(f"{source} must be one of {choices}, got {name!r}")
    reason = None if name == AUTOMATIC else _backends[name].unavailable()
    if reason is not None:
        raise BackendError(f"{source} asks for backend {name!r}, which cannot run here: {reason}")


def _requested() -> str | None:
    """The forced backend; the environment is asked once, at first use."""
    global _forced, _environment_read
    if not _environment_read:
        name = os.environ.get(ENVIRONMENT_VARIABLE, "") or AUTOMATIC
        _check_usable(name, ENVIRONMENT_VARIABLE)
        _forced = None if name == AUTOMATIC else name
        _environment_read = True
    return _forced
