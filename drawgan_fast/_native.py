"""Lazy loader of the compiled cores: nothing is loaded before it is asked for.

An error carries every cause: not built and why, built for another Python, not loadable, or an
instruction set that this CPU does not have. A driver or a GPU is not needed to load the CUDA core.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

CPU_ISA_VARIABLE = "DRAWGAN_CPU_ISA"
CUDA_EMULATION_VARIABLE = "DRAWGAN_CUDA_EMULATION"

_CPU = "_native_cpu"
_CUDA = "_native_cuda"
_FOLDER = Path(__file__).parent
_lock = threading.Lock()
_loaded: dict[str, ModuleType | NativeUnavailable] = {}


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
    return _once(_CPU, _load_cpu)


def load_cuda() -> ModuleType:
    """The compiled CUDA core, loaded at the first call and kept.

    Returns:
        The extension module; or, if ``DRAWGAN_CUDA_EMULATION`` holds its path, the emulation: the
        same kernels compiled for the CPU, which take tensors that lie there.

    Raises:
        NativeUnavailable: it was not built or cannot be loaded; the message says why.
    """
    return _once(_CUDA, _load_cuda)


def _once(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    """What a load gave the first time: the module, or the error anew."""
    if name not in _loaded:
        with _lock:
            if name not in _loaded:
                try:
                    _loaded[name] = load()
                except NativeUnavailable as error:
                    _loaded[name] = error
    outcome = _loaded[name]
    if isinstance(outcome, NativeUnavailable):
        # Anew: a kept exception would grow a traceback at every raise.
        raise NativeUnavailable(str(outcome)) from outcome.__cause__
    return outcome


def _load_cpu() -> ModuleType:
    # torch brings its own OpenMP library. Loaded first, the core finds it there and shares its
    # threads; a second pool of threads would fight for the same processors.
    import torch

    core = _import(_CPU, "CPU")
    if not hasattr(core, "read_tensors"):
        raise NativeUnavailable(
            "the compiled CPU core is older than the Python code beside it; "
            "install drawgan_fast again"
        )
    core.read_tensors(torch.Tensor, torch.nn.Parameter)
    isa = os.environ.get(CPU_ISA_VARIABLE)
    try:
        if isa:
            core.use_isa(isa)
        core.isa()
    except ValueError as error:
        source = f"{CPU_ISA_VARIABLE}={isa}: " if isa else ""
        raise NativeUnavailable(f"{source}{error}") from error
    return core


def _load_cuda() -> ModuleType:
    emulation = os.environ.get(CUDA_EMULATION_VARIABLE)
    return _import_emulation(Path(emulation)) if emulation else _import(_CUDA, "CUDA")


def _import(module: str, called: str) -> ModuleType:
    """A core from the package's folder."""
    name = f"{__package__}.{module}"
    if PathFinder.find_spec(name, [str(_FOLDER)]) is None:
        raise NativeUnavailable(
            f"the compiled {called} core is not there: {_why_not_built(module)}"
        )
    try:
        return import_module(name)
    except ImportError as error:  # another platform's, cut short, or a library that is not there
        raise NativeUnavailable(
            f"the compiled {called} core cannot be loaded: {error}; install drawgan_fast again"
        ) from error


def _import_emulation(path: Path) -> ModuleType:
    name = f"{__package__}.{_CUDA}_emulated"
    loader = ExtensionFileLoader(name, str(path))
    spec = spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    try:
        core = module_from_spec(spec)
        loader.exec_module(core)
    except ImportError as error:
        raise NativeUnavailable(
            f"{CUDA_EMULATION_VARIABLE}={path}: the emulation cannot be loaded: {error}"
        ) from error
    sys.modules[name] = core
    return core


def _why_not_built(name: str) -> str:
    """The reason that the build left, or what else the package's folder tells."""
    try:
        return (
            (_FOLDER / f"{name}.reason.txt").read_text(encoding="utf-8", errors="replace").strip()
        )
    except OSError:
        others = sorted(path.name for path in _FOLDER.glob(f"{name}.*") if path.suffix != ".txt")
        if others:
            return f"it was built for another Python or platform only ({', '.join(others)})"
        return "it was never built; install drawgan_fast again"
