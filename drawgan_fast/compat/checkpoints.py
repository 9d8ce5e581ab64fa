"""Weights of public implementations into our `DRAW`; our weights in a file that says what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast._version import __version__
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.key_maps import KEY_MAPS, KeyMap
from drawgan_fast.compat.replacements import grid_points
from drawgan_fast.errors import DrawganError, first_line
from drawgan_fast.files import write_atomically
from drawgan_fast.models import DRAW, MODELS, GenerativeModel
from drawgan_fast.sizes import height_and_width, whole

HEADER_KEY = "drawgan_fast"
FORMAT = "weights-1"
# Parts of names that only say what is around a module.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Where scripts keep the numbers beside the weights.
_NUMBERS_BESIDE = ("params", "hyperparams", "hyper_parameters", "config", "args")


def load_foreign(
    checkpoint: Path | str | nn.Module | Mapping[str, Any],
    *,
    image_size: Sequence[int],
    steps: int | None = None,
    channels: int = 1,
    attention: bool = True,
    layout: str = "auto",
    spec: str | AttentionSpec | None = None,
) -> DRAW:
    """A DRAW with the weights of a public implementation's checkpoint.

    Every size but the image's is read off the weights.

    Args:
        checkpoint: a file written by ``torch.save`` (read without running anything in it) or of
            safetensors, a ``state_dict``, a module, or a dictionary that holds one under any key
            (``"state_dict"``, ``"model"`` ...). What ``DataParallel``, ``torch.compile`` and
            modules around the network put before its names (``module.``, ``_orig_mod.``,
            ``model.`` ...) is taken off; weights elsewhere in the dictionary are left.
        image_size: (H, W) in pixels.
        steps: T; may be None where the checkpoint says.
        channels: C.
        attention: False for a network that was trained without attention.
        layout: one of :data:`KEY_MAPS`, whose names the weights have; ``"auto"``: by the names.
        spec: convention; None: that of the implementation. Forks with the same names and another
            convention: ``"amarsaini"`` (of ``natsu``), ``"czm0-python2"`` (of ``czm0``).

    Returns:
        The model, in training mode.

    Raises:
        DrawganError: the file cannot be read, the names are nobody's or stand there twice, a
            weight is absent or its shape fits no DRAW of that image size; the sentence names it.
        ValueError: ``layout`` is unknown, or ``steps`` is needed.

    >>> import torch
    >>> theirs = torch.nn.ModuleDict({
    ...     "encoder": torch.nn.LSTMCell(2 * 9 + 4, 4), "decoder": torch.nn.LSTMCell(2, 4),
    ...     "fc_mu": torch.nn.Linear(4, 2), "fc_sigma": torch.nn.Linear(4, 2),
    ...     "fc_write": torch.nn.Linear(4, 9), "fc_attention": torch.nn.Linear(4, 5),
    ... })
    >>> model = load_foreign(theirs.state_dict(), image_size=(8, 8), steps=5)
    >>> model.cfg.read_size, model.cfg.spec.grid_offset
    (3, 'N/2+1/2')
    """
    given = _read(checkpoint)
    name, keys, state = _weights_in(_flat(given), layout)
    if steps is None:
        steps = _steps_beside(given, keys)
        if steps is None:
            raise ValueError("steps must be given: the checkpoint does not say how many there are")
    _check_names(name, keys, state)
    hidden, latent = state[f"{keys.decoder}.weight_ih"].shape
    hidden //= 4
    glimpse = state[f"{keys.encoder}.weight_ih"].shape[1] - hidden * keys.decoder_state
    H, W = height_and_width("image_size", image_size)
    read = grid_points(glimpse, 2 * channels) if attention else 1
    write = grid_points(len(state[f"{keys.patch}.bias"]), channels) if attention else 1
    if read is None or write is None:
        raise DrawganError(
            f"weights of {keys.source} with {channels} channel(s): the encoder sees {glimpse} "
            f"numbers of a glimpse and {keys.patch!r} gives {len(state[f'{keys.patch}.bias'])}, "
            "which is no square grid; give the right channels"
        )
    model = DRAW(
        (H, W),
        channels,
        steps,
        hidden,
        latent,
        read,
        write,
        spec=keys.spec if spec is None else spec,
        attention=attention,
        shared_attention=attention and keys.read == keys.write,
    )
    _fill(model, _translated(keys, state, hidden, attention), keys)
    return model


def _read(checkpoint: Path | str | nn.Module | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(checkpoint, nn.Module):
        return checkpoint.state_dict()
    if not isinstance(checkpoint, Mapping):
        path = Path(checkpoint)
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load

                return load(path.read_bytes())
            # Nothing but tensors and plain values: a pickle could run anything.
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever the bytes provoke
            raise DrawganError(
                f"checkpoint {str(path)!r} cannot be read: {first_line(error)}"
            ) from None
        if not isinstance(checkpoint, Mapping):
            raise DrawganError(
                f"checkpoint {str(path)!r} holds a {type(checkpoint).__name__}, no dictionary"
            )
    return checkpoint


def _flat(value: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor in nested dictionaries and lists, by the way that leads to it.

    >>> list(_flat({"model": {"module.a.weight": torch.ones(1)}, "more": [torch.ones(1)]}))
    ['model.a.weight', 'more.0']
    """
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        found: dict[str, Tensor] = {}
        for key, item in value.items():
            parts = [part for part in str(key).split(".") if part not in _WRAPPERS]
            found |= _flat(item, ".".join([*filter(None, [prefix]), *parts]))
        return found
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    return {prefix: value} if isinstance(value, Tensor) else {}


def _weights_in(
    tensors: Mapping[str, Tensor], layout: str
) -> tuple[str, KeyMap, dict[str, Tensor]]:
    """The layout's name, the layout, and its weights by its own names."""
    if layout != "auto" and layout not in KEY_MAPS:
        raise ValueError(f"layout must be auto or one of {', '.join(KEY_MAPS)}, got {layout!r}")
    if not tensors:
        raise DrawganError("the checkpoint holds no state_dict: there is no tensor in it")
    for name, keys in KEY_MAPS.items() if layout == "auto" else [(layout, KEY_MAPS[layout])]:
        first = f"{keys.encoder}.weight_ih"
        places = [k.removesuffix(first) for k in tensors if f".{k}".endswith(f".{first}")]
        networks = {place: _under(place, tensors) for place in places}
        if layout == "auto":
            networks = {
                place: state
                for place, state in networks.items()
                if _layers_of(state).issuperset(keys.layers())
            }
        if not networks:
            continue
        # Of a list, the first; of two names, nobody knows which is meant.
        names = {re.sub(r"(^|\.)\d+\.", r"\1", place): place for place in reversed(networks)}
        if len(names) > 1:
            raise DrawganError(
                f"the checkpoint holds {len(names)} networks of {keys.source}, under "
                f"{', '.join(sorted(place.rstrip('.') or 'no name' for place in networks))}; "
                "give the dictionary of one of them"
            )
        return name, keys, networks[next(iter(names.values()))]
    if layout != "auto":
        return layout, KEY_MAPS[layout], dict(tensors)  # what is missing will be named
    raise DrawganError(
        f"the weights {', '.join(sorted(_layers_of(tensors)))} have the names of no "
        f"implementation known here ({', '.join(KEY_MAPS)})"
    )


def _under(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(place): v for k, v in tensors.items() if k.startswith(place)}


def _layers_of(tensors: Mapping[str, Tensor]) -> set[str]:
    return {key.rpartition(".")[0] for key in tensors}


def _steps_beside(checkpoint: Mapping[str, Any], keys: KeyMap) -> int | None:
    """T, where it stands beside the weights."""
    for holder in _NUMBERS_BESIDE:
        beside = checkpoint.get(holder)
        if isinstance(beside, Mapping) and keys.steps in beside:
            return whole("steps", beside[keys.steps])
    return None


def _check_names(name: str, keys: KeyMap, state: Mapping[str, Tensor]) -> None:
    cells = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    wanted = [f"{cell}.{part}" for cell in (keys.encoder, keys.decoder) for part in cells]
    wanted += [f"{layer}.{part}" for layer in keys.layers()[2:] for part in ("weight", "bias")]
    missing = [key for key in wanted if key not in state]
    known = tuple(f"{layer}." for layer in keys.ignored)
    surplus = [key for key in state if key not in wanted and not key.startswith(known or ("\0",))]
    if missing or surplus:
        raise DrawganError(
            f"these are no weights of layout {name!r} ({keys.source}): missing {missing}, "
            f"unknown {surplus}"
        )


def _translated(
    keys: KeyMap, state: Mapping[str, Tensor], hidden: int, attention: bool
) -> dict[str, Tensor]:
    """The weights by our names."""
    ours: dict[str, Tensor] = {}
    for part, cell in (("encoder", keys.encoder), ("decoder", keys.decoder)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            ours[f"core.{part}.{name}"] = state[f"{cell}.{name}"]
    if not keys.decoder_state:
        # Columns of zeros: an encoder that does not look at h_dec.
        weight = ours["core.encoder.weight_ih"]
        ours["core.encoder.weight_ih"] = torch.nn.functional.pad(weight, (0, hidden))
    layers = {"patch": keys.patch}
    if attention:
        layers["write_window"] = keys.write
        if keys.read != keys.write:
            layers["read_window"] = keys.read
    for name in ("weight", "bias"):
        for part, layer in layers.items():
            ours[f"core.{part}.{name}"] = state[f"{layer}.{name}"]
        if len(keys.posterior) == 1:
            mu, log_sigma = state[f"{keys.posterior[0]}.{name}"].chunk(2)
        else:
            mu, log_sigma = (state[f"{layer}.{name}"] for layer in keys.posterior)
        ours[f"core.posterior.{name}"] = torch.cat([mu, keys.log_sigma_scale * log_sigma])
    return ours


def _fill(model: GenerativeModel, weights: Mapping[str, Tensor], keys: KeyMap) -> None:
    for name, own in model.state_dict().items():
        if weights[name].shape != own.shape:
            raise DrawganError(
                f"weights of {keys.source}: what becomes {name!r} has shape "
                f"{list(weights[name].shape)}, and a DRAW of these sizes needs {list(own.shape)}"
            )
    model.load_state_dict(dict(weights))


def save_weights(model: GenerativeModel, path: Path | str) -> Path:
    """Write a model's weights and configuration to one safetensors file, whole or not at all.

    The tensors have the names of ``model.state_dict()``; the file's metadata holds JSON with the
    model's name and constructor arguments, so that :func:`load_weights` needs nothing else.

    Args:
        model: one of ``drawgan_fast.models``.
        path: where to; its folder exists.

    Returns:
        The path.

    Raises:
        DrawganError: it cannot be written.
        TypeError: the model is none of this package's.

    >>> import tempfile
    >>> model = DRAW((8, 8), steps=2, hidden_size=4, latent_size=2)
    >>> path = save_weights(model, Path(tempfile.mkdtemp()) / "draw.safetensors")
    >>> load_weights(path).config() == model.config()
    True
    """
    from safetensors.torch import save

    names = [name for name, kind in MODELS.items() if kind is type(model)]
    if not names:
        raise TypeError(f"model must be one of {', '.join(MODELS)}, got {type(model).__name__}")
    header = {
        "format": FORMAT,
        "model": {"name": names[0], "config": model.config()},
        "versions": {"drawgan_fast": __version__, "torch": str(torch.__version__)},
    }
    # Copies: safetensors refuses tensors that share memory.
    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    path = Path(path)
    write_atomically(path, save(state, {HEADER_KEY: json.dumps(header)}))
    return path


def load_weights(path: Path | str) -> GenerativeModel:
    """The model of a file that :func:`save_weights` wrote, in training mode on the CPU.

    Raises:
        DrawganError: the file cannot be read, is no such file, or its weights do not fit its
            configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        data = path.read_bytes()
        weights = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        header = json.loads(metadata.get(HEADER_KEY, "{}"))
    except OSError as error:
        raise DrawganError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except (SafetensorError, ValueError) as error:
        raise DrawganError(f"{str(path)!r} is truncated or corrupt ({error})") from None
    if header.get("format") != FORMAT:
        raise DrawganError(
            f"{str(path)!r} was not written by save_weights: its format is "
            f"{header.get('format')!r} (a run's checkpoint is read by "
            "drawgan_fast.training.load_model)"
        )
    try:
        model = MODELS[header["model"]["name"]](**header["model"]["config"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DrawganError(f"{str(path)!r} does not fit its own configuration: {error}") from None
    return model
