"""Loading the compiled CPU core: which instruction set runs, and every reason that none does."""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

import drawgan_fast
from drawgan_fast._native import CPU_ISA_VARIABLE
from tests.native._process import output

PACKAGE = Path(drawgan_fast.__file__).parent
ISAS = ["avx512bf16", "avx512", "avx2", "portable"]  # best first
FEATURES = {"avx512bf16": "avx512_bf16", "avx512": "avx512f", "avx2": "avx2"}  # in /proc/cpuinfo

LOAD = """
from drawgan_fast import _native
try:
    print("loaded", _native.load_cpu().isa())
except _native.NativeUnavailable as error:
    print(error)
"""


def test_importing_the_package_loads_no_core() -> None:
    code = "import sys, drawgan_fast; print('drawgan_fast._native_cpu' in sys.modules)"
    assert output(code) == "False"


def test_the_best_supported_instruction_set_is_used(core: ModuleType) -> None:
    supported = core.supported_isas()
    assert output(LOAD) == f"loaded {supported[0]}"
    assert supported == [isa for isa in core.compiled_isas() if isa in supported]
    assert core.compiled_isas() == [isa for isa in ISAS if isa in core.compiled_isas()]


def test_supported_is_what_the_system_says_of_the_cpu(core: ModuleType) -> None:
    facts = Path("/proc/cpuinfo")
    flags = re.search(r"^flags\s*: (.*)$", facts.read_text() if facts.exists() else "", re.M)
    if flags is None:
        pytest.skip("this system does not list the CPU's features")
    has = {"fpu", *flags[1].split()}
    expected = [isa for isa in core.compiled_isas() if FEATURES.get(isa, "fpu") in has]
    assert core.supported_isas() == expected


@pytest.mark.parametrize("isa", ISAS)
def test_every_supported_instruction_set_can_be_forced(core: ModuleType, isa: str) -> None:
    says = output(LOAD, **{CPU_ISA_VARIABLE: isa})
    if isa in core.supported_isas():
        assert says == f"loaded {isa}"
    elif isa in core.compiled_isas():
        assert re.fullmatch(
            rf"DRAWGAN_CPU_ISA={isa}: the instruction set {isa} cannot run: this CPU has no \w+",
            says,
        )
    else:
        assert f"{isa} is not compiled into this build; compiled are" in says


def test_an_unknown_instruction_set_is_refused_with_the_choices(core: ModuleType) -> None:
    says = output(LOAD, **{CPU_ISA_VARIABLE: "sse9"})
    assert says == (
        "DRAWGAN_CPU_ISA=sse9: there is no instruction set 'sse9'; supported here are "
        + ", ".join(core.supported_isas())
    )
    in_use = core.isa()
    with pytest.raises(ValueError, match="no instruction set 'sse9'"):
        core.use_isa("sse9")
    assert core.isa() == in_use


@pytest.fixture
def bare_package(tmp_path: Path) -> Path:
    """A copy of the package without a core: the folder to put first on the path."""
    ignored = shutil.ignore_patterns(
        "_native_cpu.*", "_native_cuda.*", "__pycache__", "assets", "presets"
    )
    shutil.copytree(PACKAGE, tmp_path / "drawgan_fast", ignore=ignored)
    return tmp_path


def test_a_core_that_was_never_built(bare_package: Path) -> None:
    says = output(LOAD, PYTHONPATH=str(bare_package))
    assert says == (
        "the compiled CPU core is not there: it was never built; install drawgan_fast again"
    )


def test_a_core_that_could_not_be_built(bare_package: Path) -> None:
    (bare_package / "drawgan_fast/_native_cpu.reason.txt").write_text("no compiler, no core\n")
    says = output(LOAD, PYTHONPATH=str(bare_package))
    assert says == "the compiled CPU core is not there: no compiler, no core"


def test_a_core_for_another_python(bare_package: Path) -> None:
    (bare_package / "drawgan_fast/_native_cpu.cpython-27-pdp11.so").touch()
    says = output(LOAD, PYTHONPATH=str(bare_package))
    assert "for another Python or platform only (_native_cpu.cpython-27-pdp11.so)" in says


def test_a_core_that_cannot_be_loaded(bare_package: Path) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (bare_package / f"drawgan_fast/_native_cpu{suffix}").write_text("no library at all")
    says = output(LOAD, PYTHONPATH=str(bare_package))
    assert says.startswith("the compiled CPU core cannot be loaded: ")
    assert f"_native_cpu{suffix}" in says


def test_a_core_older_than_the_package(core: ModuleType) -> None:
    old = "import sys, types\nsys.modules['drawgan_fast._native_cpu'] = types.ModuleType('old')\n"
    assert "older than the Python code beside it; install drawgan_fast again" in output(old + LOAD)
    # Its operators then run on the next backend, and check what they are given as ever.
    read = """
import torch, drawgan_fast
from drawgan_fast import functional as F
with drawgan_fast.record_backends() as ran:
    F.attention_read(torch.zeros(2, 1, 8, 8), torch.zeros(2, 5), 2)
print([name for _, name in ran])
try:
    F.attention_read(torch.zeros(2, 1, 8, 8), torch.zeros(3, 5), 2)
except ValueError as error:
    print(error)
"""
    ran, says = output(old + read).splitlines()
    assert ran == "['reference']"
    assert says == "params must have shape [B, 5] with B = 2, got [3, 5]"


def test_a_failure_is_kept_and_raised_at_every_call(bare_package: Path) -> None:
    code = """
from drawgan_fast import _native
said = []
for _ in range(3):
    try:
        _native.load_cpu()
    except _native.NativeUnavailable as error:
        said.append((str(error), len(list(__import__("traceback").walk_tb(error.__traceback__)))))
print(len(said), len(set(said)))
"""
    assert output(code, PYTHONPATH=str(bare_package)) == "3 1"


def test_threads_that_load_at_once_get_one_module(core: ModuleType) -> None:
    code = """
import threading
from drawgan_fast._native import load_cpu
start, got = threading.Barrier(8), []
def load():
    start.wait()
    got.append(load_cpu())
threads = [threading.Thread(target=load) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(got), len(set(map(id, got))))
"""
    assert output(code) == "8 1"


@pytest.mark.parametrize("isa", ["sse9", "AVX2"])
def test_a_forced_set_that_cannot_run_is_no_silent_fallback(isa: str) -> None:
    code = """
import torch, drawgan_fast
from drawgan_fast import functional as F
try:
    F.attention_read(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2)
except drawgan_fast.BackendError as error:
    print(error)
with drawgan_fast.use_backend("reference"):
    print(F.attention_read(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2).shape[-1])
"""
    says = output(code, **{CPU_ISA_VARIABLE: isa})
    assert says.startswith(f"backend 'native' cannot run here: DRAWGAN_CPU_ISA={isa}: there is no")
    assert says.endswith("\n2")
