"""Addresses beyond what 32 bits count, in the launches that the recurrence makes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from drawgan_fast import AttentionSpec
from drawgan_fast import functional as F
from tests.device.test_attention import inputs


def test_rows_lie_further_apart_than_32_bits_count(device: str, tmp_path: Path) -> None:
    """Glimpses, patches and windows of four samples, 2³⁰ numbers apart."""
    apart, size = 2**30, 3 * 2**30 + 64
    if device == "cpu":  # a file with holes: memory is taken for what is touched
        far = torch.from_file(str(tmp_path / "far"), shared=True, size=size, dtype=torch.float32)
    else:
        far = torch.empty(size, device=device)
    x, canvas, params, patch = inputs(4, 1, (9, 13), 3, device)
    spec = AttentionSpec()

    def rows(values: Tensor, offset: int) -> Tensor:
        flat = values.flatten(1)
        return far.as_strided(flat.shape, (apart, 1), offset).copy_(flat)

    from drawgan_fast.backends.compiled.image_pairs import CANVAS
    from drawgan_fast.backends.triton import attention_read as read
    from drawgan_fast.backends.triton import attention_write as write

    expected = F.attention_read(x, params, 3, canvas=canvas)
    far_params, far_patch = rows(params, 0), rows(patch, 8)
    glimpses = rows(0 * patch, 24), rows(0 * patch, 40)
    read.launch(x, canvas, CANVAS, far_params, *glimpses, 3, spec)
    for one, other in zip(glimpses, expected):
        assert torch.equal(one, other.flatten(1))
    written = torch.empty_like(canvas)
    write.launch(far_patch, far_params, canvas, written, 3, spec)
    assert torch.equal(written, F.attention_write(patch, params, (9, 13), canvas=canvas))
