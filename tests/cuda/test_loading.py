"""Loading the CUDA core: without a driver, as the emulation, or not and why."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import drawgan_fast
from drawgan_fast import _native
from tests.native._process import output
from tests.support.cuda_emulation import module_path

PACKAGE = Path(drawgan_fast.__file__).parent
LOAD = """
from drawgan_fast import _native
try:
    print("loaded", _native.load_cuda().emulated)
except _native.NativeUnavailable as error:
    print(error)
"""


def built() -> Path:
    found = list(PACKAGE.glob("_native_cuda.*.so"))
    if not found:
        pytest.skip(f"the CUDA core was not built: {_native._why_not_built('_native_cuda')}")
    return found[0]


def test_importing_the_package_loads_no_core() -> None:
    code = "import sys, drawgan_fast; print('drawgan_fast._native_cuda' in sys.modules)"
    assert output(code) == "False"


def test_it_loads_without_a_driver_and_the_first_launch_says_what_is_missing() -> None:
    built()
    if torch.cuda.is_available():
        pytest.skip("there is a driver here")
    code = """
from drawgan_fast._native import load_cuda
core = load_cuda()
for call in (lambda: core.lstm_pointwise(0, 0, 1, 4, 16, 16, 16, 16, 0, 0), core.device_limits):
    try:
        call()
    except core.CudaError as error:
        print(error)
"""
    launch, limits = output(code, DRAWGAN_CUDA_EMULATION="").splitlines()
    assert launch.startswith("lstm_pointwise: asking for the device: cudaError")
    assert limits.startswith("device_limits: asking for the device: cudaError")
    assert "driver version is insufficient" in launch or "no CUDA-capable device" in launch


def test_it_needs_neither_cuda_nor_a_driver_to_load() -> None:
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    needed = subprocess.run(["readelf", "-d", built()], capture_output=True, text=True, check=True)
    assert "libcu" not in needed.stdout
    assert "libnv" not in needed.stdout


def test_it_shows_one_name() -> None:
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    names = subprocess.run(
        ["nm", "-D", "--defined-only", built()], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    own = [name.split()[-1] for name in names]
    own = [name for name in own if re.match(r"PyInit|_ZNK?7drawgan", name)]
    assert own == ["PyInit__native_cuda"]


@pytest.fixture
def bare_package(tmp_path: Path) -> Path:
    """A copy of the package without cores: the folder to put first on the path."""
    ignored = shutil.ignore_patterns("_native_c*", "__pycache__", "assets", "presets")
    shutil.copytree(PACKAGE, tmp_path / "drawgan_fast", ignore=ignored)
    return tmp_path


def test_a_core_that_was_not_built_says_why(bare_package: Path) -> None:
    settings = {"PYTHONPATH": str(bare_package), "DRAWGAN_CUDA_EMULATION": ""}
    assert output(LOAD, **settings) == (
        "the compiled CUDA core is not there: it was never built; install drawgan_fast again"
    )
    (bare_package / "drawgan_fast/_native_cuda.reason.txt").write_text("no nvcc, no core\n")
    assert output(LOAD, **settings) == "the compiled CUDA core is not there: no nvcc, no core"


def test_the_emulation_can_take_its_place() -> None:
    assert output(LOAD, DRAWGAN_CUDA_EMULATION=str(module_path())) == "loaded True"


def test_it_and_the_emulation_can_be_loaded_together() -> None:
    built()
    if torch.cuda.is_available():
        pytest.skip("there is a driver here")
    code = f"""
from pathlib import Path
from drawgan_fast import _native
core, emulation = _native.load_cuda(), _native._import_emulation(Path({str(module_path())!r}))
assert core.WindowMap is not emulation.WindowMap
emulation.lstm_pointwise(0, 0, 0, 4, 16, 16, 16, 16, 0, 0)
try:
    core.lstm_pointwise(0, 0, 1, 4, 16, 16, 16, 16, 0, 0)
except core.CudaError as error:
    print(type(error) is emulation.CudaError)
"""
    assert output(code, DRAWGAN_CUDA_EMULATION="") == "False"


def test_an_emulation_that_is_not_there_is_no_silent_fallback(tmp_path: Path) -> None:
    missing = tmp_path / "missing.so"
    says = output(LOAD, DRAWGAN_CUDA_EMULATION=str(missing))
    assert says.startswith(f"DRAWGAN_CUDA_EMULATION={missing}: the emulation cannot be loaded: ")
    assert not os.path.exists(missing)
