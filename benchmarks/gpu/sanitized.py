"""Each of our kernels once on small odd sizes: what compute-sanitizer looks at.

``python -m benchmarks.gpu.sanitized``, with PYTORCH_NO_CUDA_MEMORY_CACHING=1 so that every tensor
is an allocation of its own, at whose end an access out of bounds shows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

import drawgan_fast
from drawgan_fast import DrawConfig, DrawWeights
from drawgan_fast import functional as F

BACKENDS = ("triton", "cuda")
SIZES = ((3, 2, 7, 13, 3), (2, 1, 37, 70, 5))  # B, C, H, W, N
CELLS = ((3, 7, 9), (3, 130, 21))  # B, D, K: in one launch, and in two
SCAN = DrawConfig((7, 11), channels=2, hidden_size=19, latent_size=7, read_size=3, write_size=4)
# How the core's blocks talk, blocks of a team, tiles of it, matrices that stay in shared memory
# (-1: all that fit); the recurrence goes through each.
LAYOUTS = (("cluster", 2, 1, -1), ("cluster", 4, 2, -1), ("grid", 3, 1, -1), ("grid", 2, 2, 0b1010))


def attention(device: str, B: int, C: int, H: int, W: int, N: int) -> None:
    """Reads of one image, of two and of an error image; writes with and without a canvas."""
    x, other, canvas = (torch.randn(B, C, H, W, device=device) for _ in range(3))
    params = 0.3 * torch.randn(B, 5, device=device)
    patch = torch.randn(B, C, N, N, device=device)
    given = [t.requires_grad_() for t in (x, other, canvas, params, patch)]
    _differentiate([F.attention_read(x, params, N)], given)
    _differentiate(F.attention_read((x, other), params, N), given)
    _differentiate(F.attention_read(x, params, N, canvas=canvas), given)
    _differentiate([F.attention_write(patch, params, (H, W))], given)
    _differentiate([F.attention_write(patch, params, (H, W), canvas=canvas)], given)


def lstm_cell(device: str, B: int, D: int, K: int) -> None:
    """One step of one LSTM."""
    shapes = [(B, D), (B, K), (B, K), (4 * K, D), (4 * K, K), (4 * K,), (4 * K,)]
    x, h, c, *weights = given = [torch.randn(s, device=device).requires_grad_() for s in shapes]
    _differentiate(F.lstm_cell(x, (h, c), *weights), given)
    with torch.no_grad():
        F.lstm_cell(x, (h, c), *weights)


def draw_scan(device: str) -> None:
    """Two steps with prior samples, kept and computed again."""
    shapes = DrawWeights.shapes(SCAN)
    weights = {n: (0.2 * torch.randn(shapes[n], device=device)).requires_grad_() for n in shapes}
    x = torch.rand(17, SCAN.channels, *SCAN.image_size, device=device)
    eps, prior = (torch.randn(2, B, SCAN.latent_size, device=device) for B in (17, 3))
    for memory in ("keep", "recompute"):
        out = F.draw_scan(x, eps, DrawWeights(**weights), SCAN, prior_eps=prior, memory=memory)
        assert out.prior_canvas is not None
        _differentiate([out.canvas, out.kl, out.prior_canvas], list(weights.values()))
    with torch.no_grad():
        F.draw_generate(prior, DrawWeights(**weights), SCAN)


def draw_scan_in_every_layout(device: str) -> None:
    """The core's recurrence as clusters and as teams of a grid; a device may have no clusters."""
    from drawgan_fast.backends.cuda.draw_plan import prescribed

    for layout in LAYOUTS:
        with prescribed(*layout):
            try:
                draw_scan(device)
            except drawgan_fast.BackendError as reason:
                print(f"left out: {reason}")


def _differentiate(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    total = torch.stack([o.sum() for o in outputs]).sum()
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    for tensor in (*outputs, *gradients):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise ArithmeticError("a result is not finite")


def run(backend: str, device: str) -> str:
    """Everything on one backend's kernels, never on a fallback; what it came to."""
    reason = drawgan_fast.backends()[backend]
    if reason is not None:
        return f"{backend} cannot run here: {reason}"
    torch.manual_seed(0)
    with drawgan_fast.use_backend(backend), drawgan_fast.record_backends() as ran:
        for size in SIZES:
            attention(device, *size)
        for cell in CELLS:
            lstm_cell(device, *cell)
        draw_scan(device)
        if backend == "cuda":
            draw_scan_in_every_layout(device)
    if device != "cpu":
        torch.cuda.synchronize()
    return f"{sum(ran.values())} calls of {len({op for op, _ in ran})} operators on {backend}"


def main(device: str) -> None:
    """Every backend that can run; there must be one."""
    print("; ".join(run(backend, device) for backend in BACKENDS))
    if all(drawgan_fast.backends()[backend] is not None for backend in BACKENDS):
        raise SystemExit("nothing was run")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
