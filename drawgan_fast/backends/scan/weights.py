"""The recurrence's weights as its products want them, and their gradients' way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drawgan_fast.backends.scan.arrays import Sizes
from drawgan_fast.draw_config import DrawWeights


class ScanWeights(NamedTuple):
    """One matrix [out, in] and one bias a product; inputs in the order of a row."""

    enc: Tensor  # [4K, R padded + 2K]
    enc_b: Tensor  # [4K]
    posterior: Tensor  # [2Z, K]
    posterior_b: Tensor  # [2Z]
    dec: Tensor  # [4K, K + Z]
    dec_b: Tensor  # [4K]
    projection: Tensor  # [projection, K]
    projection_b: Tensor  # [projection]


def named(weights: Sequence[Tensor]) -> DrawWeights:
    """Sixteen weights, or twelve without attention, by their names."""
    return DrawWeights(*weights)


def pack(weights: Sequence[Tensor], s: Sizes, dtype: torch.dtype) -> ScanWeights:
    """Once a call: a few copies of the weights' size."""
    w, R = named(weights), s.R
    padding = w.enc_w_ih.new_zeros(w.enc_w_ih.shape[0], s.h_enc - R)
    projection, bias = [w.patch_w], [w.patch_b]
    if s.cfg.attention:
        projection += [w.write_w, w.read_w]  # type: ignore[list-item]
        bias += [w.write_b, w.read_b]  # type: ignore[list-item]
    packed = ScanWeights(
        torch.cat([w.enc_w_ih[:, :R], padding, w.enc_w_hh, w.enc_w_ih[:, R:]], dim=1),
        w.enc_b_ih + w.enc_b_hh,
        w.posterior_w,
        w.posterior_b,
        torch.cat([w.dec_w_hh, w.dec_w_ih], dim=1),
        w.dec_b_ih + w.dec_b_hh,
        torch.cat(projection),
        torch.cat(bias),
    )
    return ScanWeights(*(tensor.to(dtype) for tensor in packed))


def unpack(d: ScanWeights, s: Sizes, count: int) -> list[Tensor]:
    """Gradients in the order of ``DrawWeights``, each a tensor of its own."""
    K, R, p, dense = s.cfg.hidden_size, s.R, s.patch, torch.contiguous_format
    enc, dec = d.enc, d.dec
    gradients = [
        torch.cat([enc[:, :R], enc[:, s.h_enc + K :]], dim=1),
        enc[:, s.h_enc : s.h_enc + K].clone(memory_format=dense),
        d.enc_b,
        d.enc_b.clone(),
        dec[:, K:].clone(memory_format=dense),
        dec[:, :K].clone(memory_format=dense),
        d.dec_b,
        d.dec_b.clone(),
        d.posterior,
        d.posterior_b,
        d.projection[:p].clone(memory_format=dense),
        d.projection_b[:p].clone(memory_format=dense),
    ]
    if s.cfg.attention:
        for first in (p + 5, p):  # the read window lies after the write window
            gradients += [
                d.projection[first : first + 5].clone(memory_format=dense),
                d.projection_b[first : first + 5].clone(memory_format=dense),
            ]
    return gradients[:count]
