"""Lazy loader of the compiled cores: nothing is loaded before it is asked for.

An error carries every cause: not built and why, built for another Python, not loadable, or an
instruction set that this CPU does not have.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

CPU_ISA_VARIABLE = "DRAWGAN_CPU_ISA"

_CPU = "_native_cpu"
_FOLDER = Path(__file__).parent
_lock = threading.Lock()
_cpu: ModuleType | NativeUnavailable | None = None


class NativeUnavailable(ImportError):
    """A compiled core cannot be used, and why."""


def load_cpu() -> ModuleType:
    """The compiled CPU core, loaded at the first call and kept.

    Returns:
        The extension module. Its instruction set is the best of this CPU, or ``DRAWGAN_CPU_ISA``.

    Raises:
        NativeUnavailable: it was not built, cannot be loaded, or ``DRAWGAN_CPU_ISA`` names an
            instruction set that there is not; the message says which and why.
    """
    global _cpu
    if _cpu is None:
        with _lock:
            if _cpu is None:
                try:
                    _cpu = _load_cpu()
                except NativeUnavailable as error:
                    _cpu = error
    if isinstance(_cpu, NativeUnavailable):
        # Anew: a kept exception would grow a traceback at every raise.
        raise NativeUnavailable(str(_cpu)) from _cpu.__cause__
    return _cpu


def _load_cpu() -> ModuleType:
    # torch brings its own OpenMP library. Loaded first, the core finds it there and shares its
    # threads; a second pool of threads would fight for the same processors.
    import torch  # noqa: F401

    name = f"{__package__}.{_CPU}"
    if PathFinder.find_spec(name, [str(_FOLDER)]) is None:
        raise NativeUnavailable(f"the compiled CPU core is not there: {_why_not_built()}")
    try:
        core = import_module(name)
    except ImportError as error:  # another platform's, cut short, or a library that is not there
        raise NativeUnavailable(
            f"the compiled CPU core cannot be loaded: {error}; install drawgan_fast again"
        ) from error
    isa = os.environ.get(CPU_ISA_VARIABLE)
    try:
        if isa:
            core.use_isa(isa)
        core.isa()
    except ValueError as error:
        source = f"{CPU_ISA_VARIABLE}={isa}: " if isa else ""
        raise NativeUnavailable(f"{source}{error}") from error
    return core


def _why_not_built() -> str:
    """The reason that the build left, or what else the package's folder tells."""
    try:
        return (_FOLDER / f"{_CPU}.reason.txt").read_text().strip()
    except OSError:
        others = sorted(path.name for path in _FOLDER.glob(f"{_CPU}.*") if path.suffix != ".txt")
        if others:
            return f"it was built for another Python or platform only ({', '.join(others)})"
        return "it was never built; install drawgan_fast again"
