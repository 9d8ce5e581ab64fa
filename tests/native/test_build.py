"""The build: what it leaves where there is no compiler, and what the library is made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import drawgan_fast

ROOT = Path(drawgan_fast.__file__).parent.parent


def build(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    if not (ROOT / "setup.py").exists():
        pytest.skip("needs the source tree")
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip(f"needs setuptools 77 in this environment, which has {setuptools.__version__}")
    return subprocess.run(
        [
            *(sys.executable, "setup.py", "build_ext"),
            *("--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")),
        ],
        cwd=ROOT,
        env={**os.environ, "DRAWGAN_CUDA": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def left(tmp_path: Path) -> dict[str, str]:
    """What a build left, by file."""
    return {path.name: path.read_text() for path in (tmp_path / "lib/drawgan_fast").iterdir()}


def test_without_a_compiler_the_install_is_pure_and_says_why(tmp_path: Path) -> None:
    done = build(tmp_path, DRAWGAN_NATIVE="", CXX="/nonexistent/c++")
    assert done.returncode == 0, done.stderr
    assert "Pure Python install without _native_cpu: the build failed: " in done.stdout
    reasons = left(tmp_path)
    assert reasons["_native_cpu.reason.txt"].startswith("the build failed: ")
    assert len(reasons) == 2  # and that of the CUDA core


def test_a_core_that_was_asked_for_is_built_or_the_install_fails(tmp_path: Path) -> None:
    done = build(tmp_path, DRAWGAN_NATIVE="1", CXX="/nonexistent/c++")
    assert done.returncode != 0
    assert "BuildError: " in done.stderr


def test_the_core_can_be_left_out(tmp_path: Path) -> None:
    assert build(tmp_path, DRAWGAN_NATIVE="0").returncode == 0
    assert left(tmp_path) == {
        "_native_cpu.reason.txt": "it was left out at install by DRAWGAN_NATIVE=0\n",
        "_native_cuda.reason.txt": "it was left out at install by DRAWGAN_CUDA=0\n",
    }


def test_the_cuda_core_needs_nvcc_and_nothing_waits_for_it(tmp_path: Path) -> None:
    nowhere = {"DRAWGAN_NATIVE": "0", "CUDACXX": "/nonexistent/nvcc"}
    assert build(tmp_path, **nowhere, DRAWGAN_CUDA="auto").returncode == 0
    assert left(tmp_path)["_native_cuda.reason.txt"].startswith("no nvcc was found at install")
    done = build(tmp_path, **nowhere, DRAWGAN_CUDA="1")
    assert done.returncode != 0
    assert "BuildError: no nvcc was found at install" in done.stderr


def test_a_switch_that_is_no_switch_is_refused(tmp_path: Path) -> None:
    done = build(tmp_path, DRAWGAN_NATIVE="0", DRAWGAN_CUDA="yes")
    assert "DRAWGAN_CUDA must be 0, 1, auto or unset, got 'yes'" in done.stderr


def binutils(program: str, *arguments: str, core: ModuleType) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    command = [program, *arguments, str(core.__file__)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_no_code_for_a_newer_cpu_can_be_called_by_name(core: ModuleType) -> None:
    """Each set's names are its own, its templates included: ``csrc/isa_object.cmake``.

    A linker keeps one copy of a weak function. If that were the AVX-512 one, an older CPU would
    die of an illegal instruction in code that never asked for AVX-512.
    """
    if "avx2" not in core.compiled_isas():
        pytest.skip("built for one instruction set only")
    shared = set(re.findall(r"^\S+ [A-Zuvw] (\S+)$", binutils("nm", core=core), re.M))
    code = binutils("objdump", "-d", "--no-show-raw-insn", core=core)
    functions = re.findall(r"^\S+ <(.+)>:\n((?:.+\n)+)", code, re.M)
    wide = {name for name, body in functions if re.search(r"%[yz]mm", body)}
    assert wide  # there is something to look for
    assert "PyInit__native_cpu" in shared
    assert not wide & shared


def test_no_code_of_an_instruction_set_runs_at_load(core: ModuleType) -> None:
    names = binutils("nm", core=core)
    if "__asan_init" in names:
        pytest.skip("AddressSanitizer registers every object at load")
    constructors = re.findall(r"_GLOBAL__sub_I_(\S+)", names)
    assert set(constructors) <= {"process.cpp", "bindings.cpp", "workspace.cpp", "dispatch.cpp"}
