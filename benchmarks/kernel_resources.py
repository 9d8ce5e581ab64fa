"""What every Triton kernel takes on every chip: ``python -m benchmarks.kernel_resources``.

Records what the backend launches, compiles it ahead of time for each chip, and writes
``docs/kernel_resources.md``. tests/triton/test_ahead_of_time.py holds the same kernels to: nothing
spilled, shared memory within the chip's limit, matrix instructions where they are meant to be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.triton_aot import SHARED_MEMORY, TARGETS, Launches, Resources, compile_kernel
from drawgan_fast import PRESETS, AttentionSpec, DrawConfig, DrawWeights

# Triton 3.9 asks for a choice; 3.6 and the interpreter have this one.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

PAGE = Path(__file__).parents[1] / "docs" / "kernel_resources.md"


@dataclass(frozen=True)
class Compiled:
    """One kernel of one call of the backend on one chip."""

    case: str
    kernel: str
    chip: str
    launch: str  # block sizes
    uses_matrix_units: bool
    resources: Resources


def _images(B: int, C: int, size: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(B, C, size, size, dtype=dtype)


def _read(C: int, size: int, N: int, dtype: torch.dtype, spec: str = "paper") -> None:
    from drawgan_fast.backends.triton.kernels import TritonKernels as host

    x, params = _images(2, C, size, dtype), torch.zeros(2, 5, dtype=dtype)
    convention = PRESETS.get(spec) or AttentionSpec()
    glimpses = host.attention_read([x], params, x, N, convention)
    host.attention_read_backward([x], params, x, glimpses, [True] * 3, N, convention)


def _write(C: int, size: int, N: int, dtype: torch.dtype, spec: str = "paper") -> None:
    from drawgan_fast.backends.triton import attention_write as host

    canvas, params = _images(2, C, size, dtype), torch.zeros(2, 5, dtype=dtype)
    patch, convention = torch.zeros(2, C, N, N, dtype=dtype), PRESETS.get(spec) or AttentionSpec()
    host.attention_write(patch, params, canvas, (size, size), convention)
    host.attention_write_backward(patch, params, canvas, convention)


def _cell(D: int, K: int, *, bf16: bool) -> None:
    from drawgan_fast.backends.triton.kernels import TritonKernels as host

    shapes = [(4, D), (4, K), (4, K), (4 * K, D), (4 * K, K), (4 * K,), (4 * K,)]
    x, h, c, w_ih, w_hh, b_ih, b_hh = (torch.zeros(shape) for shape in shapes)
    _, c_out, gates = host.lstm_cell(x, h, c, w_ih, w_hh, b_ih, b_hh, bf16, True)
    assert gates is not None
    host.lstm_cell_backward([x, h, c, w_ih, w_hh, gates, c_out], h, c, [True] * 6)


def _scan(cfg: DrawConfig, *, bf16: bool) -> None:
    from drawgan_fast.backends.compiled import Gradients, Options
    from drawgan_fast.backends.triton.kernels import TritonKernels

    host = TritonKernels()
    weights = [torch.zeros(shape) for shape in DrawWeights.shapes(cfg).values()]
    x, eps = _images(2, 1, cfg.image_size[0], torch.float32), torch.zeros(2, 2, cfg.latent_size)
    options = Options(save=True, recompute=False, bf16=bf16, trace=False)
    out = host.draw_scan(x, eps, eps, weights, cfg, options)
    given = Gradients(out.canvas, None, None, out.kl, out.prior_canvas)
    wants = [False, False, False, *[True] * len(weights)]
    host.draw_scan_backward(
        x, eps, eps, weights, out.saved, out.mu, out.log_sigma, given, wants, cfg, options
    )


def cases() -> dict[str, Callable[[], None]]:
    """Calls of the backend, by name: every operator, sizes at which its launch differs, dtypes."""
    f32, bf16, f16 = torch.float32, torch.bfloat16, torch.float16
    found: dict[str, Callable[[], None]] = {}
    for name, run in (("attention_read", _read), ("attention_write", _write)):
        for C, size, N, dtype in (
            (1, 28, 5, f32),
            (1, 28, 5, bf16),
            (1, 28, 5, f16),
            (3, 64, 12, f32),
            (1, 32, 32, f32),
            (1, 64, 64, f32),
        ):
            kind = str(dtype).removeprefix("torch.")
            label = f"{name} {C}\u00d7{size}\u00d7{size}, N={N}, {kind}"
            found[label] = lambda run=run, a=(C, size, N, dtype): run(*a)  # type: ignore[misc]
    for K in (64, 256):
        found[f"lstm_cell K={K}, float32"] = lambda K=K: _cell(K, K, bf16=False)  # type: ignore[misc]
    found["lstm_cell K=256, autocast"] = lambda: _cell(256, 256, bf16=True)
    paper, large = DrawConfig((28, 28)), DrawConfig((64, 64), read_size=40, write_size=64)
    found["draw_scan, float32"] = lambda: _scan(paper, bf16=False)
    found["draw_scan, autocast"] = lambda: _scan(paper, bf16=True)
    found["draw_scan, 64x64, N=40 and 64"] = lambda: _scan(large, bf16=False)
    return found


def conventions() -> dict[str, Callable[[], None]]:
    """A read and a write in every convention."""
    found: dict[str, Callable[[], None]] = {}
    for spec in PRESETS:
        for name, run in (("attention_read", _read), ("attention_write", _write)):
            found[f"{name} {spec}"] = lambda run=run, spec=spec: run(  # type: ignore[misc]
                1, 28, 5, torch.float32, spec
            )
    return found


def compiled(chip: str, runs: dict[str, Callable[[], None]]) -> Iterator[Compiled]:
    """Everything that these calls launch, compiled for a chip, each kernel once."""
    from drawgan_fast.backends.triton import (
        attention_read,
        attention_write,
        draw_scan,
        draw_scan_backward,
        lstm_cell,
    )

    launches = Launches(attention_read, attention_write, lstm_cell, draw_scan, draw_scan_backward)
    done = set()
    for case, run in runs.items():
        launches.seen.clear()
        with launches.recording(chip), torch.no_grad():
            run()
        for kernel, args, options in launches.seen:
            key = (kernel.__name__, args, tuple(sorted(options.items())))
            if key in done:
                continue
            done.add(key)
            blocks = [f"{k} {v}" for k, v in options.items() if k.startswith("BLOCK")]
            name = kernel.__name__.removesuffix("_kernel")
            resources = compile_kernel(kernel, chip, *args, **options)
            matrix = options.get("PRECISION", "") == "tf32x3" or (
                "PRECISION" in options and chip.startswith("gfx")
            )
            launch = ", ".join(blocks).replace("BLOCK_", "")
            yield Compiled(case, name, chip, launch, matrix, resources)


def _of_chip(chip: str) -> list[Compiled]:
    return list(compiled(chip, cases()))


def everything() -> list[Compiled]:
    """All cases on all chips, two chips at a time."""
    # Workers that are spawned import Triton themselves, and pretend to be one chip each.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [row for rows in pool.map(_of_chip, TARGETS) for row in rows]


def render(rows: list[Compiled]) -> str:
    """The page."""
    import triton

    lines = [
        "# What the Triton kernels take",
        "",
        "Written by `python -m benchmarks.kernel_resources`: every kernel that a call launches,",
        f"compiled ahead of time by Triton {triton.__version__} with the blocks and warps that the",
        "backend chooses on that chip. Numbers: registers a thread / shared memory in KiB /",
        "warps; a spilled register would be named. `+` marks kernels whose products are matrix",
        "instructions.",
        "",
        f"| call | kernel | blocks | {' | '.join(TARGETS)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in TARGETS)} |",
    ]
    by_key: dict[tuple[str, str], dict[str, Compiled]] = {}
    for row in rows:
        by_key.setdefault((row.case, row.kernel), {}).setdefault(row.chip, row)
    for (case, kernel), chips in by_key.items():
        first = next(iter(chips.values()))
        cells = []
        for chip in TARGETS:
            row = chips.get(chip)
            if row is None:
                cells.append("")
                continue
            r = row.resources
            cell = f"{r.registers} / {r.shared / 1024:.0f} / {r.warps}"
            cell += " +" if r.matrix_instructions else ""
            cells.append(cell + (f" **{r.spilled} spilled**" if r.spilled else ""))
        lines.append(f"| {case} | `{kernel}` | {first.launch} | {' | '.join(cells)} |")
    limits = ", ".join(f"{chip} {limit // 1024}" for chip, limit in SHARED_MEMORY.items())
    lines += ["", f"Shared memory that a block can have, in KiB: {limits}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(everything()))
    print(f"wrote {PAGE}")
