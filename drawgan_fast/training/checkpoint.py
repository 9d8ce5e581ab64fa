"""Checkpoints: one safetensors file each, written whole or not at all, never unpickled.

Tensors are named ``model/<state_dict key>``, ``ema/<key>`` and
``optimizer/<player>/<state>/<parameter>``; everything else is JSON in the file's header, under
:data:`HEADER_KEY`, with a SHA-256 over the tensors so that a flipped bit is noticed as well as a
missing byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from drawgan_fast._version import __version__
from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.files import write_atomically

if TYPE_CHECKING:
    from drawgan_fast.models import GenerativeModel

FORMAT_VERSION = 1
HEADER_KEY = "drawgan_fast"
_NAME = re.compile(r"step-(\d{8,})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: the file.
        header: format, step, epoch, batch, model (name and config), config, versions, metrics ...
        tensors: every tensor under its full name, on the CPU.
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.header["step"])

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name starts with ``prefix + "/"``, without it."""
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def checkpoint_path(folder: Path, step: int) -> Path:
    """Name of the checkpoint of a step.

    >>> checkpoint_path(Path("checkpoints"), 100).name
    'step-00000100.safetensors'
    """
    return folder / f"step-{step:08d}.safetensors"


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_checkpoint(
    folder: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], *, keep: int
) -> Path:
    """Write the checkpoint of ``header["step"]`` and remove all but the newest ``keep``.

    Args:
        folder: the run's ``checkpoints`` folder.
        header: JSON-able; ``format``, ``versions`` and ``sha256`` are added here.
        tensors: any shapes and devices; tensors that share memory are written twice.
        keep: >= 1.

    Returns:
        The file's path.

    Raises:
        DrawganError: the file cannot be written; the older checkpoints are all still there.
    """
    from safetensors.torch import save

    # One copy each, contiguous and on the CPU: safetensors refuses tensors that share memory.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    full = {
        "format": FORMAT_VERSION,
        "versions": {"drawgan_fast": __version__, "torch": str(torch.__version__)},
        **header,
        "sha256": _digest(copies),
    }
    path = checkpoint_path(folder, int(full["step"]))
    write_atomically(path, save(copies, {HEADER_KEY: json.dumps(full)}))
    for old in list_checkpoints(folder)[:-keep]:
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _way_out(path: Path) -> str:
    others = [other for other in list_checkpoints(path.parent) if other.name < path.name]
    if others:
        return f"the checkpoint before it is {str(others[-1])!r}: give that path instead"
    return "there is no older checkpoint beside it: train again, or give another path"


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read and verify a checkpoint. Nothing in it is ever unpickled or run.

    Raises:
        DrawganError: absent, truncated, corrupt, foreign or of a newer format; the sentence names
            the file, what is wrong and the previous good checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DrawganError(
            f"checkpoint {str(path)!r} cannot be read: {error.strerror}; {_way_out(path)}"
        ) from None
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError) as error:
        raise DrawganError(
            f"checkpoint {str(path)!r} is truncated or corrupt ({error}); {_way_out(path)}"
        ) from None
    if HEADER_KEY not in metadata:
        raise DrawganError(
            f"{str(path)!r} is a safetensors file but no checkpoint of a drawgan run; "
            f"{_way_out(path)}"
        )
    try:
        header = json.loads(metadata[HEADER_KEY])
        version, expected, _ = header["format"], header["sha256"], int(header["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise DrawganError(
            f"the header of checkpoint {str(path)!r} is corrupt ({error!r}); {_way_out(path)}"
        ) from None
    if version != FORMAT_VERSION:
        raise DrawganError(
            f"checkpoint {str(path)!r} has format {version!r} and this program reads "
            f"{FORMAT_VERSION}; use the drawgan_fast that wrote it "
            f"({header.get('versions', {}).get('drawgan_fast', 'unknown')})"
        )
    if _digest(tensors) != expected:
        raise DrawganError(
            f"checkpoint {str(path)!r} is corrupt (its checksum does not fit its content); "
            f"{_way_out(path)}"
        )
    return Checkpoint(path, header, tensors)


def find_checkpoint(run_or_checkpoint: Path | str) -> Path:
    """The newest checkpoint of a run folder, or the file itself.

    Raises:
        UsageError: there is no such folder or file.
        DrawganError: the run has no checkpoint yet.
    """
    path = Path(run_or_checkpoint)
    if os.path.isfile(path):  # False, too, for a name that cannot be
        return path
    if not os.path.isdir(path):
        raise UsageError(f"there is no run folder or checkpoint {str(path)!r}; check the path")
    found = list_checkpoints(path / "checkpoints") or list_checkpoints(path)
    if not found:
        raise DrawganError(
            f"run {str(path)!r} has no checkpoint yet; train it first (drawgan train --resume "
            f"{path})"
        )
    return found[-1]


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint file lies in; None for one that was copied elsewhere.

    >>> run_of(Path("elsewhere.safetensors")) is None
    True
    """
    folder = checkpoint.parent
    if not folder.name:  # the folder one stands in
        folder = folder.absolute()
    if folder.name != "checkpoints" or not os.path.isfile(folder.parent / "config.toml"):
        return None
    return folder.parent


def load_weights(model: GenerativeModel, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a model; names and shapes must fit.

    Raises:
        DrawganError: a name or a shape differs; the first one is named.
    """
    own = model.state_dict()
    for name in [*own, *weights]:
        ours = list(own[name].shape) if name in own else "nothing of that name"
        theirs = list(weights[name].shape) if name in weights else "nothing of that name"
        if ours != theirs:
            raise DrawganError(
                f"checkpoint {str(path)!r} is of another model: {name!r} is {theirs} there and "
                f"{ours} in this {type(model).__name__}; use the run's own configuration"
            )
    model.load_state_dict(dict(weights))


def load_model(
    run_or_checkpoint: Path | str | Checkpoint,
    *,
    ema: bool | None = None,
    device: str | torch.device = "cpu",
) -> GenerativeModel:
    """A trained model, ready to sample and to be scored (eval mode).

    Args:
        run_or_checkpoint: a run folder (its newest checkpoint), or a checkpoint file wherever it
            lies, or one that was read already.
        ema: the moving average's weights? ``None``: where the checkpoint has them.
        device: where to put it.

    Raises:
        DrawganError: no checkpoint, a damaged one, one of a model that this version does not know,
            or ``ema=True`` where there is no average.
    """
    from drawgan_fast.models import MODELS

    checkpoint = (
        run_or_checkpoint
        if isinstance(run_or_checkpoint, Checkpoint)
        else load_checkpoint(find_checkpoint(run_or_checkpoint))
    )
    described = checkpoint.header.get("model", {})
    name, arguments = described.get("name"), described.get("config", {})
    if name not in MODELS:
        raise DrawganError(
            f"checkpoint {str(checkpoint.path)!r} is of a model {name!r} that this version does "
            f"not have; it has {', '.join(MODELS)}"
        )
    try:
        model = MODELS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise DrawganError(
            f"the {name} of checkpoint {str(checkpoint.path)!r} cannot be built by this version: "
            f"{error}; use the drawgan_fast that wrote it"
        ) from None
    weights = checkpoint.group("model")
    average = checkpoint.group("ema")
    if ema is True and not average:
        raise DrawganError(
            f"checkpoint {str(checkpoint.path)!r} has no averaged weights; train with "
            "optimizer.ema_decay above 0, or load it without ema"
        )
    if ema is not False:
        weights |= average
    load_weights(model, weights, checkpoint.path)
    return model.to(device).eval()
