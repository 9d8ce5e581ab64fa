"""Builds the CUDA core's kernels for the CPU: the module, and small programs of the tests.

Once for what the sources say, into ``build/emulation``; a run that changed nothing builds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from drawgan_fast import _native

ROOT = Path(__file__).resolve().parents[2]
EMULATION = ROOT / "tests/support/cuda_on_cpu"
FOLDER = ROOT / "build/emulation"
# "address" or "thread": the module's kernels are watched by that sanitizer, which the process has
# preloaded; see .ci/run.
SANITIZE_VARIABLE = "DRAWGAN_EMULATION_SANITIZE"


def module_path() -> Path:
    """Path of ``_native_cuda_emulated``, built if it must be; for ``DRAWGAN_CUDA_EMULATION``."""
    sanitize = os.environ.get(SANITIZE_VARIABLE, "")
    pybind11 = pytest.importorskip("pybind11", reason="builds the emulation")
    folder = FOLDER / f"module-{sys.implementation.cache_tag}{sanitize and '-' + sanitize}"
    with _alone(folder):
        _run(
            [
                *(_tool("cmake"), "-S", str(ROOT), "-B", str(folder), "-G", "Ninja"),
                f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                *("-DDRAWGAN_CORE=cuda_emulation", "-DDRAWGAN_WERROR=ON"),
                f"-DDRAWGAN_CUDA_SANITIZE={sanitize}",
            ]
        )
        _run([_tool("cmake"), "--build", str(folder)])
        (module,) = (folder / "modules").glob("_native_cuda_emulated.*")
    return module


@cache
def emulated() -> ModuleType:
    """The emulation as a module, whatever ``load_cuda`` gives in this process."""
    loaded = sys.modules.get("drawgan_fast._native_cuda_emulated")
    return loaded or _native._import_emulation(module_path())


def program(source: Path, sanitize: str = "", *, shared: bool = False) -> Path:
    """A program, or a shared library, of one .cu file and the emulation."""
    flags = ["-std=c++20", "-O1", "-g1", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    include = [f"-I{ROOT / 'csrc/cuda'}", f"-I{EMULATION}", "-DDRAWGAN_CUDA_EMULATION"]
    include.append("-Wno-unknown-pragmas")
    told = {"address": ["-DDRAWGAN_ASAN"], "thread": ["-DDRAWGAN_TSAN"]}.get(sanitize, [])
    watched = [f"-fsanitize={sanitize}"] if sanitize else []
    headers = [*EMULATION.glob("*.h"), *(ROOT / "csrc/cuda").glob("*.*h")]
    with _alone(FOLDER / "programs"):
        objects = []
        for part in (source, *EMULATION.glob("*.cpp")):
            own = watched if part == source else told
            command = [*flags, *include, *own, "-xc++", "-c", str(part)]
            name = FOLDER / "programs" / f"{part.stem}-{_digest(command, [part, *headers])}.o"
            if not name.exists():
                _run([_compiler(), *command, "-o", f"{name}.new"])
                os.replace(f"{name}.new", name)
            objects.append(name)
        kind = ["-shared"] if shared else []
        built = FOLDER / "programs" / f"{source.stem}-{_digest([*kind, *watched], objects)}"
        if not built.exists():
            link = [_compiler(), *kind, *watched, *map(str, objects)]
            _run([*link, "-o", f"{built}.new"])
            os.replace(f"{built}.new", built)
    return built


def _digest(command: Sequence[str], files: Sequence[Path]) -> str:
    content = hashlib.sha256(repr([_compiler(), *command]).encode())
    for file in sorted(files):
        content.update(file.name.encode())
        content.update(file.read_bytes())
    return content.hexdigest()[:16]


def _compiler() -> str:
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        pytest.skip("the emulation needs a C++ compiler")
    return compiler


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip(f"the emulation is built with {name}, which is not installed")
    return found


def _run(command: Sequence[str]) -> None:
    unwatched = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=unwatched)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two test runs at once build one after the other."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
