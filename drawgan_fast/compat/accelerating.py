"""`accelerate`: find, replace, prove, report; or change nothing and say why."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.compat.candidates import find_cells, find_windows, image_shape, read_and_write
from drawgan_fast.compat.discovery import check_model, probe_arguments
from drawgan_fast.compat.originals import batch_of, observe, record
from drawgan_fast.compat.probing import untouched
from drawgan_fast.compat.proving import Trial
from drawgan_fast.compat.report import NotAccelerated, Report
from drawgan_fast.compat.sites import find_sites
from drawgan_fast.compat.timing import slower_parts
from drawgan_fast.compat.whole import fuse as find_whole


def accelerate(
    model: nn.Module,
    spec: Literal["auto"] | str | AttentionSpec = "auto",
    *,
    fuse: bool = False,
    example: Tensor | tuple[Any, ...] | None = None,
    only_faster: bool = True,
) -> Report:
    """Make somebody else's PyTorch DRAW faster in place, without changing its numbers.

    Finds the model's ``read`` and ``write`` (methods, functions bound in ``__init__`` or
    submodules) by watching forward passes, decides the convention of their windows by their
    numbers on random hidden states in float64, and puts fused operators in their place; its
    ``nn.LSTMCell`` become :class:`drawgan_fast.nn.LSTMCell` where they stand. Parameters remain
    the same objects, so ``state_dict`` and optimizers stay valid. Then outputs and gradients of
    whole forward passes are compared with the original's, in float64 and in the model's dtype, over
    several batches, weights and modes.

    A replacement runs only under the conditions that it was proved under: arguments, shapes,
    settings, modes, layers and hooks. Every other call goes to the original code;
    ``report.fallbacks`` says why and how often.

    Args:
        model: changed in place: its class becomes a subclass of itself. What cannot be proved is
            left as it is.
        spec: the convention, if only one is to be considered: a preset's name or an
            :class:`AttentionSpec`; ``"auto"`` considers all.
        fuse: run the whole of ``forward`` through ``draw_scan``, for a model that is a standard
            DRAW: encoder LSTM, Gaussian latent, decoder LSTM. It returns and leaves in the model
            what the original does, and draws the same noise from the same seed.
        example: arguments of ``model.forward``, where they are more than one image batch or the
            image's size cannot be read off the model. Only its shapes and types matter.
        only_faster: time each part against what it replaces, with 64 samples or as many as
            ``example`` has, and leave those that are slower on this machine.

    Returns:
        A :class:`Report`: what was replaced, what was left and why, the agreement;
        ``report.restore()`` undoes everything.

    Raises:
        NotAccelerated: no DRAW, nothing in it that could be proved, a model that is accelerated
            already, parameters on several devices; with ``fuse``, one that ``draw_scan`` does not
            compute. The model is unchanged, and the message says what failed and by how much.
        TypeError: ``model`` is no ``nn.Module``.

    Source: DRAW (Gregor et al. 2015); conventions of public implementations: docs/conventions.md.

    >>> __name__ = "__main__"  # as in a script of one's own
    >>> from drawgan_fast import nn as parts
    >>> class Small(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.A = self.B = 8
    ...         self.encoder = torch.nn.LSTMCell(2 * 9 + 16, 16)
    ...         self.decoder = torch.nn.LSTMCell(16, 16)
    ...         self.reader = parts.AttentionReader(16, 3, spec="natsu")
    ...         self.writer = parts.AttentionWriter(16, 3, (8, 8), spec="natsu")
    ...     def read(self, x, x_hat, h):
    ...         both = self.reader((x.view(-1, 1, 8, 8), x_hat.view(-1, 1, 8, 8)), h)
    ...         return torch.cat([glimpse.flatten(1) for glimpse in both], 1)
    ...     def write(self, h):
    ...         return self.writer(h).flatten(1)
    ...     def forward(self, x):
    ...         zero = x.new_zeros(len(x), 16)
    ...         enc, dec, canvas = (zero, zero), (zero, zero), torch.zeros_like(x)
    ...         for _ in range(3):
    ...             glimpse = self.read(x, x - torch.sigmoid(canvas), dec[0])
    ...             enc = self.encoder(torch.cat([glimpse, dec[0]], 1), enc)
    ...             dec = self.decoder(enc[0], dec)
    ...             canvas = canvas + self.write(dec[0])
    ...         return canvas
    >>> report = accelerate(Small(), only_faster=False)
    >>> report.replaced
    ['read', 'write', 'encoder (LSTMCell)', 'decoder (LSTMCell)']
    >>> report.read_spec.eps
    1e-08
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    wanted = None if isinstance(spec, str) and spec == "auto" else resolve_spec(spec)
    try:
        return _accelerate(model, wanted, fuse, example, only_faster)
    except NotAccelerated:
        raise
    except Exception as error:  # whatever another's code may raise
        raise NotAccelerated(
            f"nothing was changed: the probes of the model ended in {type(error).__name__}: {error}"
        ) from error


def _accelerate(
    model: nn.Module,
    wanted: AttentionSpec | None,
    fuse: bool,
    example: Tensor | tuple[Any, ...] | None,
    only_faster: bool,
) -> Report:
    check_model(model)
    given = probe_arguments(model, example)
    original = observe(model, given)
    with untouched(model, torch.float64):
        own, others = record(model, original, find_sites(model))
        windows, left = find_windows(model, own, original.args, wanted)
        cells, left_cells = find_cells(model, own)
    left += left_cells
    read, write = read_and_write(windows)
    shape = image_shape(windows, original.args)
    whole = None
    if fuse:
        with untouched(model, torch.float64):
            whole = find_whole(
                model, original.odd, read, write, shape, original.behaviours, left, original.counted
            )
    if not windows and not cells and whole is None:
        raise NotAccelerated(
            f"nothing was changed: nothing in {type(model).__name__} can be replaced: "
            + "; ".join(left)
        )
    trial = Trial(model, original, own, others, windows, cells, whole)
    try:
        trial.prove()
        if only_faster:
            batch = max(64, batch_of(given))
            trial.leave(slower_parts(model, original, own, trial, batch))
        trial.conclude()
    except BaseException:
        trial.undo()
        raise
    return Report(
        trial.replaced,
        left + trial.left,
        trial.agreement,
        shape,
        read.replacement.spec if read and trial.has(read) else None,
        write.replacement.spec if write and trial.has(write) else None,
        trial.proof.whole is not None,
        trial.proof.reasons,
        [trial.undo],
    )
