"""Code in fresh interpreters: what a process loads can only be loaded once."""

from __future__ import annotations

import os
import subprocess
import sys

from drawgan_fast._native import CPU_ISA_VARIABLE


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that does not force an instruction set of its own."""
    inherited = {key: value for key, value in os.environ.items() if key != CPU_ISA_VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",  # the interpreter looks there first
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def output(code: str, **environment: str) -> str:
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# What a read needs: the paper's window on an 8x8 image, one 4x4 glimpse per image.
READ = """
import torch
from drawgan_fast._native import load_cpu

core = load_cpu()
window = core.WindowMap(
    extent_x=9.0, extent_y=9.0, origin=-1.0, delta_scale=2.0, log_sigma2_low=-20.0,
    log_sigma2_high=20.0, max_centre=1e6, max_log_delta=20.0, max_log_gamma=20.0,
)

x, params = torch.rand(256, 1, 8, 8), torch.randn(256, 5)

def read(threads):
    glimpse = torch.full((256, 1, 4, 4), float("nan"))
    core.attention_read(False, window, 256, 1, 8, 8, 4, [x.data_ptr()], params.data_ptr(), 0,
                        [glimpse.data_ptr()], threads)
    assert glimpse.isfinite().all()
    return glimpse
"""
