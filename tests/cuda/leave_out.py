"""Leaves every barrier out of the CUDA kernels in turn: does ThreadSanitizer miss it?

``python -m tests.cuda.leave_out [file ...]`` builds the emulation without one barrier after
another, runs the recurrence and both attention operators on it, and says which barriers nobody
missed. Half an hour on two cores, so it is for whoever changes barriers, not for every change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BARRIER = re.compile(r"(\w+\.)?(sync|__syncthreads)\(\);")


def barriers(names: list[str]) -> Iterator[tuple[Path, int]]:
    """File and line of every barrier that a kernel calls."""
    for file in sorted((ROOT / "csrc/cuda").glob("*.cu*")):
        if names and file.name not in names:
            continue
        for number, line in enumerate(file.read_text().splitlines()):
            comment_or_definition = line.lstrip().startswith("//") or "void sync" in line
            if BARRIER.search(line) and not comment_or_definition:
                yield file.relative_to(ROOT), number


def work() -> None:
    """What has to notice: several tiles, both kinds of team, both directions, every reduction."""
    import torch

    from drawgan_fast import DrawConfig, use_backend
    from drawgan_fast import functional as F
    from drawgan_fast.backends.cuda.core import core
    from drawgan_fast.backends.cuda.draw_plan import prescribed
    from tests.support.scans import scan_inputs, scan_of

    torch.set_num_threads(1)
    core().emulate_device(resident_clusters=1, resident_blocks=8)  # tiles one after another
    cfg = DrawConfig((5, 6), channels=2, hidden_size=20, latent_size=7, read_size=2, write_size=3)
    layouts = [("cluster", 2, 1, -1), ("cluster", 8, 1, -1), ("grid", 2, 1, -1), ("grid", 8, 1, 0)]
    with use_backend("cuda"):
        for schedule in ("forward", "random"):
            core().emulate_schedule(schedule, 3)
            for layout in layouts:
                inputs = [t.requires_grad_() for t in scan_inputs(cfg, T=2, B=18, prior=3)]
                with prescribed(*layout):
                    outputs = scan_of(cfg, prior=True)(*(t.float() for t in inputs))
                    sum(o.sum() for o in outputs if o is not None).backward()
            for spec in ("paper", "shuaiyihuang"):  # the second divides by a sum over all filters
                x, canvas = torch.rand(2, 2, 9, 7), torch.rand(2, 2, 9, 7, requires_grad=True)
                params = torch.randn(2, 5, requires_grad=True)
                glimpses = F.attention_read(x, params, N=3, spec=spec, canvas=canvas)
                out = F.attention_write(glimpses[1], params, (9, 7), spec=spec, canvas=canvas)
                out.sum().backward()


def noticed(module: Path) -> bool:
    """Whether the work on this module fails or races."""
    sanitizer = subprocess.run(
        [os.environ.get("CXX", "c++"), "-print-file-name=libtsan.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    variables = {"DRAWGAN_CUDA_EMULATION": str(module), "LD_PRELOAD": sanitizer}
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.leave_out", "--work"],
        cwd=ROOT,
        env={**os.environ, **variables, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode != 0


def build(tree: Path, folder: Path) -> Path:
    """The emulation of a copy of the sources, watched for races."""
    import pybind11

    configure = ["cmake", "-S", tree, "-B", folder, "-G", "Ninja", "-DDRAWGAN_CORE=cuda_emulation"]
    configure += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", "-DDRAWGAN_CUDA_SANITIZE=thread"]
    for command in (configure, ["cmake", "--build", folder]):
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    (module,) = (folder / "modules").glob("_native_cuda_emulated.*")
    return module


def main(names: list[str]) -> int:
    """Each barrier left out once; how many nobody missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        tree, folder = Path(temporary) / "tree", Path(temporary) / "build"
        for part in ("csrc", "tests/support/cuda_on_cpu"):
            shutil.copytree(ROOT / part, tree / part)
        shutil.copy(ROOT / "CMakeLists.txt", tree)
        if noticed(build(tree, folder)):
            raise SystemExit("with every barrier in place something fails: nothing to learn")
        for file, number in barriers(names):
            source = (ROOT / file).read_text()
            lines = source.splitlines(keepends=True)
            lines[number] = BARRIER.sub(";", lines[number])
            (tree / file).write_text("".join(lines))
            found = noticed(build(tree, folder))
            missed += not found
            place = f"{file}:{number + 1}"
            print("found " if found else "MISSED", place, source.splitlines()[number].strip())
            (tree / file).write_text(source)
    return missed


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        sys.exit(min(main(sys.argv[1:]), 1))
