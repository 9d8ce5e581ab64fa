"""The core as a module of a process: arguments, OpenMP threads, forked children."""

from __future__ import annotations

import ast
import os
import sys
from types import ModuleType

import pytest

from tests.native._process import READ, output


def test_fields_are_named_and_checked(core: ModuleType) -> None:
    window = core.WindowMap(normalisation="each", extent_x=29.0)
    assert (window.normalisation, window.extent_x, window.sigma_scale) == ("each", 29.0, 1.0)
    with pytest.raises(ValueError, match="no normalisation 'eahc'"):
        window.normalisation = "eahc"
    with pytest.raises(AttributeError, match="extent_z"):
        core.WindowMap(extent_z=1.0)
    shape = core.ScanShape(steps=3, read=window)
    assert shape.steps == 3
    assert (shape.read.normalisation, shape.write.normalisation) == ("each", "softmax")


def test_lists_must_have_the_right_length(core: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"one glimpse per image.*2 images and 1 glimpses"):
        core.attention_read(False, core.WindowMap(), 0, 1, 8, 8, 2, [64, 64], 64, 0, [64], 1)
    with pytest.raises(TypeError):
        core.draw_scan(core.ScanShape(), 1, [0] * 3, [0] * 15, [0] * 11)


@pytest.mark.parametrize("huge", ["steps", "hidden", "height", "read_size", "write_size", "latent"])
def test_sizes_that_cannot_be_counted_are_refused(core: ModuleType, huge: str) -> None:
    sizes = dict.fromkeys(("steps", "channels", "height", "width", "hidden", "latent"), 8)
    sizes |= {"read_size": 2, "write_size": 2, huge: 2**40}
    shape = core.ScanShape(**sizes, attention=True)
    if huge in ("steps", "height"):  # large, but countable for no images at all
        shape.batch = 2**20
    with pytest.raises(OverflowError, match="more numbers than can be counted"):
        core.scan_saved_bytes(shape)
    with pytest.raises(OverflowError, match="more numbers than can be counted"):
        core.draw_scan(shape, 1, [0] * 3, [0] * 16, [0] * 11)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_the_core_shares_the_openmp_library_of_torch(core: ModuleType) -> None:
    if not core.has_openmp():
        pytest.skip("built without OpenMP")
    code = (
        READ
        + """
from pathlib import Path
torch.set_num_threads(2)
torch.rand(500_000).sigmoid().sum()
read(2)
lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if "omp" in line]
print(sorted({line.split()[-1] for line in lines if ".so" in line}))
"""
    )
    libraries = ast.literal_eval(output(code))
    assert len(libraries) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer's own allocator may be locked in a child forked beside threads",
)
def test_a_forked_child_reads_after_its_parent_used_threads(core: ModuleType) -> None:
    code = (
        READ
        + """
import os, signal, threading
expected = read(2)
# A thread that calls the core all the time: the fork may find the pool locked.
stop = threading.Event()
def churn():
    while not stop.is_set():
        read(1)
thread = threading.Thread(target=churn)
thread.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that hangs is killed, and its code says so
        os._exit(0 if torch.equal(read(2), expected) else 1)
    codes.append(os.waitpid(child, 0)[1])
    if codes[-1]:
        break
stop.set()
thread.join()
print(set(codes), torch.equal(read(2), expected))
"""
    )
    assert output(code) == "{0} True"
