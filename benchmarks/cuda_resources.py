"""What every CUDA kernel takes of each GPU, as the build itself noted it: docs/cuda_resources.md.

``python -m benchmarks.cuda_resources`` after an install with nvcc.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/cuda_resources.md"
# As setup.py names it.
BUILD = ROOT / "build" / f"{sys.implementation.cache_tag}-cuda"

_SECOND = ("none", "image", "canvas")  # what is read beside an image: csrc/cuda/operators.h
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<chip>\w+)'\n"
    r"(?:.*\n)*?\s+(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\n"
    r"(?:.*\n)*?.*Used (?P<registers>\d+) registers"
)


@dataclass(frozen=True)
class Kernel:
    """One kernel on one chip."""

    file: str
    name: str
    chip: str
    registers: int
    stack: int  # bytes
    spilled: int  # bytes stored and loaded


def compiler() -> str:
    """Version of the nvcc that built it."""
    cache = next((BUILD / "CMakeFiles").glob("*/CMakeCUDACompiler.cmake"))
    found = re.search(r'CMAKE_CUDA_COMPILER_VERSION "([^"]+)"', cache.read_text())
    assert found is not None
    return found[1]


def kernels() -> list[Kernel]:
    """Every kernel of the build; none if there is no build."""
    found = []
    for note in sorted(BUILD.glob("CMakeFiles/**/*.ptxas.txt")):
        file = note.name.removesuffix(".o.ptxas.txt")
        if not (ROOT / "csrc/cuda" / file).exists():  # an earlier source's
            continue
        entries = list(_ENTRY.finditer(note.read_text()))
        names = _demangled([entry["name"] for entry in entries])
        for name, entry in zip(names, entries):
            registers, stack = int(entry["registers"]), int(entry["stack"])
            spilled = int(entry["stores"]) + int(entry["loads"])
            found.append(Kernel(file, name, entry["chip"], registers, stack, spilled))
    return found


def _demangled(names: list[str]) -> list[str]:
    """Short names: no namespaces, no arguments."""
    filt = shutil.which("c++filt")
    if filt is None:
        raise RuntimeError("c++filt (binutils) is not installed")
    given = "\n".join(names)
    done = subprocess.run([filt], input=given, capture_output=True, text=True, check=True)
    short = []
    for line in done.stdout.splitlines():
        name = re.sub(r"\(anonymous namespace\)::|drawgan::|cuda::|^void ", "", line)
        # A template's constants; those of Second by their names.
        name = re.sub(r"\(Second\)(\d)", lambda m: _SECOND[int(m[1])], name)
        name = re.sub(r"\((int|unsigned int|bool)\)(\w+)", r"\2", name)
        short.append(re.sub(r"\(.*\)$", "", name))
    return short


def number_of(chip: str) -> int:
    """80 for sm_80."""
    return int(re.sub(r"\D", "", chip))


def render(rows: list[Kernel], version: str) -> str:
    """The page."""
    chips = sorted({row.chip for row in rows}, key=number_of)
    lines = [
        "# What the CUDA kernels take",
        "",
        "Written by `python -m benchmarks.cuda_resources` from what ptxas said in the build, nvcc",
        f"{version}: registers a thread, and bytes of stack where there are any. A spilled",
        "register fails the build that `.ci/run` makes. Shared memory is asked for at the launch,",
        "all of it.",
        "",
        f"| file | kernel | {' | '.join(chips)} |",
        f"| --- | --- | {' | '.join('---' for _ in chips)} |",
    ]
    by_kernel: dict[tuple[str, str], dict[str, Kernel]] = {}
    for row in rows:
        by_kernel.setdefault((row.file, row.name), {})[row.chip] = row
    for (file, name), there in sorted(by_kernel.items()):
        cells = [_cell(there[chip]) if chip in there else "" for chip in chips]
        lines.append(f"| {file} | `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(kernel: Kernel) -> str:
    cell = str(kernel.registers)
    cell += f", {kernel.stack} B of stack" if kernel.stack else ""
    return cell + (f", **{kernel.spilled} B spilled**" if kernel.spilled else "")


if __name__ == "__main__":
    PAGE.write_text(render(kernels(), compiler()))
    print(f"wrote {PAGE}")
