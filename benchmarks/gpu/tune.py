"""The tuning stage: for each attention kernel and default launch, a handful of others.

Writes what was clearly faster to the table that :mod:`drawgan_fast.backends.triton.launch` reads.
A launch serves every shape with its key: what counts is the mean, over these shapes, of the
logarithm of the times as fast as the default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import drawgan_fast
from benchmarks.cases import AttentionShape
from benchmarks.gate import WrongNumbers, error
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.operator_cases import LARGE, SMALL, WIDE, OperatorCase
from benchmarks.gpu.operators import one_line
from benchmarks.operators import TOLERANCE
from benchmarks.timing import Quantiles
from drawgan_fast import functional as F
from drawgan_fast.draw_config import DrawConfig
from drawgan_fast.files import write_atomically

TABLE = Path(drawgan_fast.__file__).parent / "backends" / "triton" / "tuned.json"
GAIN = 1.03  # times as fast as the default, below which nothing is changed
SAMPLES = 15
Launch = dict[str, Any]

BUCKETS = (
    (SMALL, WIDE, LARGE),
    (AttentionShape(128, 1, 64, 64, 24),),
    (AttentionShape(128, 1, 16, 16, 5),),
)
FIELDS = ("BLOCK_H", "BLOCK_W", "num_warps", "PRECISION")
SMALLEST = ((16, 16, 1, "ieee"), (16, 16, 2, "tf32x3"), (16, 16, 4, "ieee"), (16, 16, 4, "tf32x3"))
CANDIDATES = (
    (32, 32, 2, "ieee"),
    (32, 32, 4, "ieee"),
    (32, 32, 4, "tf32x3"),
    (32, 32, 8, "ieee"),
    (32, 64, 4, "ieee"),
    (64, 32, 8, "ieee"),
    *SMALLEST,
)
KERNELS = {
    "draw_boundary": ("draw_boundary", "forward"),
    "attention_read": ("attention_read", "forward"),
    "attention_write": ("attention_write", "forward"),
    "attention_read_backward": ("attention_read", "forward+backward"),
    "attention_write_backward": ("attention_write", "forward+backward"),
}


@dataclass(frozen=True)
class Bucket:
    """A kernel's default launch, and the shapes that share it."""

    kernel: str
    key: str
    shapes: tuple[AttentionShape, ...]

    @property
    def candidates(self) -> list[Launch]:
        """Other launches, without blocks that an image does not fill."""
        largest = max(max(s.H, s.W) for s in self.shapes)
        named = CANDIDATES if largest > 16 else SMALLEST
        if "/sm_" not in self.key:  # TF32 is NVIDIA's
            named = tuple(launch for launch in named if launch[-1] == "ieee")
        return [dict(zip(FIELDS, launch)) for launch in named]


def buckets(device: str) -> list[Bucket]:
    """Every kernel's, the ones of the benchmark's shapes first."""
    from drawgan_fast.backends.triton import launch

    target = launch.target(torch.device(device))
    found = []
    for shapes in BUCKETS:
        for kernel in KERNELS:
            keys = {_key(kernel, target, s) for s in shapes}
            assert len(keys) == 1, "shapes of one bucket share a launch"
            found.append(Bucket(kernel, keys.pop(), shapes))
    return found


def _key(kernel: str, target: str, shape: AttentionShape) -> str:
    from drawgan_fast.backends.triton import launch

    with overridden({}):
        default = launch.attention_launch(kernel, target, shape.H, shape.W, shape.N)
    blocks = "/".join(str(default[f"BLOCK_{axis}"]) for axis in "NHW")
    return f"{kernel}/{target}/{blocks}"


@contextmanager
def overridden(table: dict[str, Launch]) -> Any:
    """The launches of a table instead of the package's."""
    from drawgan_fast.backends.triton import launch

    before = launch.tuned
    launch.tuned = lambda: table
    launch.forget()
    try:
        yield
    finally:
        launch.tuned = before
        launch.forget()


def times(bucket: Bucket, override: Launch, clock: Clock) -> list[float]:
    """Seconds of the kernel's operator at each shape, past a gate; the device alone if it can."""
    _, mode = KERNELS[bucket.kernel]
    found = []
    with overridden({bucket.key: override} if override else {}), drawgan_fast.use_backend("triton"):
        for shape in bucket.shapes:
            operation = _operation(bucket.kernel, shape, clock.device)
            call = operation.forward if mode == "forward" else operation.forward_backward
            operation.check()
            with torch.set_grad_enabled(mode != "forward"):
                call()
                host = clock.host(call, 5)
                alone = [clock.ahead(call, host) for _ in range(SAMPLES)]
                samples = [t for t in alone if t is not None]
                found.append(Quantiles.of(samples or [clock.call(call) for _ in range(3)]).p50)
    return found


def _operation(kernel: str, shape: AttentionShape, device: str) -> Any:
    op, mode = KERNELS[kernel]
    if kernel == "draw_boundary":
        return Boundary(shape, device)
    return OperatorCase(op, shape, mode, "fp32").operation(device)


class Boundary:
    """The write that ends a step of the recurrence and the read that starts the next.

    Args:
        shape: of images and of both windows.
        device: where it runs.
    """

    def __init__(self, shape: AttentionShape, device: str) -> None:
        from drawgan_fast.backends.scan.arrays import Sizes

        B, C, H, W, N = vars(shape).values()
        cfg = DrawConfig((H, W), channels=C, read_size=N, write_size=N)
        self.N, self.size, self.sizes = N, (H, W), Sizes(cfg, 1, B, B)
        torch.manual_seed(0)
        self.projection = 0.3 * torch.randn(B, self.sizes.projection, device=device)
        self.x = torch.rand(B, C, H, W, device=device)
        self.canvas = torch.randn(B, C, H, W, device=device)
        self.after = torch.empty_like(self.canvas)
        self.glimpses = torch.empty(B, self.sizes.R, device=device)

    def forward(self) -> None:
        """One launch."""
        from drawgan_fast.backends.triton.draw_scan import boundary

        halves = self.glimpses.chunk(2, dim=1)
        boundary(self.projection, self.x, self.canvas, self.after, *halves, self.sizes)

    def check(self) -> float:
        """Hold the results to the reference in float64; raises WrongNumbers as others do."""
        self.after.fill_(float("nan"))
        self.glimpses.fill_(float("nan"))
        self.forward()
        patch, write, read = self.projection.double().split([self.sizes.patch, 5, 5], dim=1)
        B, C = self.x.shape[:2]
        with drawgan_fast.use_backend("reference"):
            patch = patch.reshape(B, C, self.N, self.N)
            after = F.attention_write(patch, write, self.size, canvas=self.canvas.double())
            seen = F.attention_read(self.x.double(), read, self.N, canvas=after)
        glimpses = torch.cat([glimpse.flatten(1) for glimpse in seen], dim=1)
        worst = max(error(self.after, after), error(self.glimpses, glimpses))
        if not worst <= TOLERANCE:
            raise WrongNumbers(f"error {worst:.2e}, tolerance {TOLERANCE:.2e}")
        return worst


def gain(default: Sequence[float], other: Sequence[float]) -> float:
    """Times as fast, the geometric mean over shapes.

    >>> gain([2.0, 8.0], [1.0, 4.0])
    2.0
    """
    logs = [math.log(a / b) for a, b in zip(default, other)]
    return round(math.exp(sum(logs) / len(logs)), 6)


def tune(bucket: Bucket, clock: Clock, deadline: Deadline) -> dict[str, Any]:
    """Try a bucket's candidates against its default, and once more the best against chance."""
    default = times(bucket, {}, clock)
    tried: list[dict[str, Any]] = []
    for candidate in bucket.candidates:
        if deadline.passed():
            break
        try:
            tried.append({**candidate, "gain": gain(default, times(bucket, candidate, clock))})
        except Exception as failure:  # more shared memory than there is, a wrong number
            tried.append({**candidate, "failed": one_line(failure)})
    measured = [t for t in tried if "gain" in t]
    best = max(measured, key=lambda t: t["gain"], default=None)
    chosen: Launch | None = None
    if best is not None and best["gain"] >= GAIN:
        launch = {k: best[k] for k in FIELDS}
        best["again"] = gain(times(bucket, {}, clock), times(bucket, launch, clock))
        chosen = launch if best["again"] >= GAIN else None
    return {"key": bucket.key, "default": default, "tried": tried, "chosen": chosen}


def run(
    clock: Clock, deadline: Deadline, save: Callable[[dict[str, Any]], None], table: Path
) -> None:
    """Tune bucket after bucket; the table is written after each.

    Args:
        clock: of the device.
        deadline: after which nothing new is tried.
        save: takes what was tried.
        table: the file of launches; those of other keys stay.
    """
    launches: dict[str, Launch] = json.loads(table.read_text()) if table.exists() else {}
    found: dict[str, Any] = {"buckets": [], "left_out": []}
    for bucket in buckets(clock.device):
        if deadline.passed():
            found["left_out"].append(f"{bucket.key}: no time was left")
            continue
        tuned = tune(bucket, clock, deadline)
        found["buckets"].append(tuned)
        launches.pop(bucket.key, None)
        if tuned["chosen"]:
            launches[bucket.key] = tuned["chosen"]
        found["table"] = launches
        save(found)
        if launches or table.exists():
            text = json.dumps(launches, indent=1, sort_keys=True) + "\n"
            write_atomically(table, text.encode())
    save(found)
