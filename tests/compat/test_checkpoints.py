"""Other people's weights in our DRAW, and ours in a file that describes itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from drawgan_fast import PRESETS
from drawgan_fast.compat import KEY_MAPS, load_foreign, load_weights, save_weights
from drawgan_fast.errors import DrawganError
from drawgan_fast.models import DRAW, VAE
from tests.support.other_draws import CONVENTIONS, Lists

# Square where the convention turns the image; our model's layers → the layout's.
SIDES = {name: (6, 6) if name == "rhychen" else (9, 6) for name in KEY_MAPS}


class GlimpseOnly(torch.nn.LSTMCell):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return super().forward(input[:, : self.input_size], hx)


class NoFeedback(Lists):
    """An encoder that does not see h_dec."""

    def __init__(self, convention: str, **sizes: Any) -> None:
        super().__init__(convention, **sizes)
        self.encoder = GlimpseOnly(18, 12)


class LogVariance(Lists):
    """The second layer gives log σ²."""

    def sample(self, h_enc: Tensor, t: int) -> Tensor:
        sd = torch.exp(0.5 * self.to_log_sigma(h_enc))
        return self.to_mu(h_enc) + sd * torch.randn(self.batch, self.z)


def original(layout: str) -> tuple[Lists, dict[str, Tensor]]:
    """A small model in a layout's form, and its weights under the layout's names."""
    keys = KEY_MAPS[layout]
    H, W = SIDES[layout]
    form = LogVariance if keys.log_sigma_scale != 1 else Lists
    if not keys.decoder_state:
        form = NoFeedback
    model = form(keys.spec, A=W, B=H, shared=keys.read == keys.write)
    state = model.state_dict()
    names = {"encoder": keys.encoder, "decoder": keys.decoder, "patch_layer": keys.patch}
    names |= {"window": keys.read, "write_window": keys.write}
    if len(keys.posterior) == 2:
        names |= dict(zip(("to_mu", "to_log_sigma"), keys.posterior))
    theirs = {
        f"{names[layer]}.{part}": value
        for key, value in state.items()
        for layer, _, part in [key.rpartition(".")]
        if layer in names
    }
    if len(keys.posterior) == 1:
        for part in ("weight", "bias"):
            both = [state[f"{layer}.{part}"] for layer in ("to_mu", "to_log_sigma")]
            theirs[f"{keys.posterior[0]}.{part}"] = torch.cat(both)
    for layer in keys.ignored:
        theirs[f"{layer}.weight"] = torch.randn(3)
    return model, theirs


@pytest.mark.parametrize("layout", KEY_MAPS)
def test_the_same_canvas_from_the_same_noise(layout: str) -> None:
    model, theirs = original(layout)
    H, W = SIDES[layout]
    ours = load_foreign(theirs, image_size=(H, W), steps=model.T)
    assert (
        ours.cfg.spec == PRESETS[KEY_MAPS[layout].spec] == CONVENTIONS[KEY_MAPS[layout].spec].spec
    )
    x = torch.rand(4, H * W)
    torch.manual_seed(3)
    model(x)
    torch.manual_seed(3)
    eps = torch.stack([torch.randn(4, model.z) for _ in range(model.T)])
    canvas = ours(x.view(4, 1, H, W), eps).canvas
    torch.testing.assert_close(canvas.flatten(1), model.cs[-1], rtol=1e-5, atol=1e-6)


def test_a_wrong_order_of_the_posterior_would_show() -> None:
    """The seeded bug of the test above."""
    model, theirs = original("natsu")
    for part in ("weight", "bias"):
        a, b = f"fc_mu.{part}", f"fc_sigma.{part}"
        theirs[a], theirs[b] = theirs[b], theirs[a]
    ours = load_foreign(theirs, image_size=(9, 6), steps=model.T)
    x = torch.rand(4, 54)
    torch.manual_seed(3)
    model(x)
    torch.manual_seed(3)
    eps = torch.stack([torch.randn(4, model.z) for _ in range(model.T)])
    assert not torch.allclose(ours(x.view(4, 1, 9, 6), eps).canvas.flatten(1), model.cs[-1])


def test_a_file_with_the_sizes_beside_the_weights(tmp_path: Path) -> None:
    _, theirs = original("natsu")
    path = tmp_path / "their_checkpoint"
    torch.save({"model": theirs, "optimizer": {}, "params": {"T": 3, "A": 6}}, path)
    assert load_foreign(path, image_size=(9, 6)).steps == 3
    assert load_foreign({"model_state_dicts": [theirs]}, image_size=(9, 6), steps=2).steps == 2
    with pytest.raises(ValueError, match="steps must be given"):
        load_foreign(theirs, image_size=(9, 6))
    assert load_foreign(path, image_size=(9, 6), spec="amarsaini").cfg.spec == PRESETS["amarsaini"]


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


class Inside(torch.nn.Module):
    def __init__(self, **parts: torch.nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def as_modules(state: dict[str, Tensor]) -> torch.nn.Module:
    """The network itself, of layers that have the names."""
    cells, layers = ("encoder", "decoder"), {}
    for name in dict.fromkeys(key.partition(".")[0] for key in state):
        weight = state[f"{name}.weight_ih" if name in cells else f"{name}.weight"]
        kind = torch.nn.LSTMCell if name in cells else torch.nn.Linear
        out = weight.shape[0] // 4 if name in cells else weight.shape[0]
        layers[name] = kind(weight.shape[1], out)
    network = Inside(**layers)
    network.load_state_dict(state)
    return network


def halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ``torch.compile`` and ``DataParallel`` of a layer leave in the middle of its names."""
    return {
        key.replace("encoder.", "encoder._orig_mod.").replace("fc_mu.", "fc_mu.module."): value
        for key, value in state.items()
    }


WRAPPED: dict[str, Any] = {
    "DataParallel": lambda s: prefixed(s, "module."),
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "inside a module": lambda s: prefixed(s, "model."),
    "inside three": lambda s: prefixed(s, "module._orig_mod.model.net."),
    "layers compiled": halves,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {}}},
    "Lightning": lambda s: {
        "state_dict": prefixed(s, "model.") | {"loss.weight": torch.ones(2)},
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
    },
    "two floors": lambda s: {"model": {"state_dict": prefixed(s, "module.")}},
    "two networks": lambda s: {"netG": s, "netD": {"0.weight": torch.ones(2)}},
    "arrays": lambda s: {key: value.numpy() for key, value in s.items()},
    "a module": as_modules,
    "a module in a dictionary": lambda s: {"model": as_modules(s)},
    "a module of modules": lambda s: Inside(draw=torch.nn.DataParallel(as_modules(s))),
}


@pytest.mark.parametrize("way", WRAPPED)
def test_what_is_around_the_weights_is_taken_off(way: str, tmp_path: Path) -> None:
    _, theirs = original("natsu")
    expected = load_foreign(theirs, image_size=(9, 6), steps=2).state_dict()
    given = WRAPPED[way](theirs)
    found = [load_foreign(given, image_size=(9, 6), steps=2)]
    found.append(load_foreign(given, image_size=(9, 6), steps=2, layout="natsu"))
    if "module" not in way and way != "arrays":
        torch.save(given, tmp_path / "theirs.pt")
        found.append(load_foreign(tmp_path / "theirs.pt", image_size=(9, 6), steps=2))
    for model in found:
        for key, value in model.state_dict().items():
            assert torch.equal(value, expected[key])


def test_a_file_of_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    _, theirs = original("natsu")
    save_file(prefixed(theirs, "model."), tmp_path / "theirs.safetensors")
    ours = load_foreign(tmp_path / "theirs.safetensors", image_size=(9, 6), steps=np.int64(2))
    assert torch.equal(ours.core.encoder.weight_ih, theirs["encoder.weight_ih"])
    assert type(ours.config()["steps"]) is int


def test_two_networks_of_one_kind_are_not_guessed_at() -> None:
    _, theirs = original("natsu")
    _, others = original("natsu")
    with pytest.raises(DrawganError, match=r"2 networks of Natsu.*under ema, model; give"):
        load_foreign({"model": theirs, "ema": others}, image_size=(9, 6), steps=2)
    first = load_foreign({"model_state_dicts": [theirs, others]}, image_size=(9, 6), steps=2)
    assert torch.equal(first.core.patch.weight, theirs["fc_write.weight"])


def test_colour_and_no_attention() -> None:
    model = Lists(channel=3)
    state = model.state_dict()
    names = {"to_mu": "fc_mu", "to_log_sigma": "fc_sigma", "patch_layer": "fc_write"}
    names |= {"window": "fc_attention"}
    theirs = {
        ".".join([names.get(layer, layer), part]): value
        for key, value in state.items()
        for layer, _, part in [key.rpartition(".")]
        if layer != "write_window"
    }
    ours = load_foreign(theirs, image_size=(7, 9), steps=3, channels=3)
    assert (ours.cfg.channels, ours.cfg.read_size, ours.cfg.write_size) == (3, 3, 3)
    with pytest.raises(DrawganError, match="no square grid; give the right channels"):
        load_foreign(theirs, image_size=(7, 9), steps=3)
    with pytest.raises(DrawganError, match="needs"):
        load_foreign(theirs, image_size=(7, 9), steps=3, channels=3, attention=False)


def test_bad_checkpoints(tmp_path: Path) -> None:
    _, theirs = original("czm0")
    with pytest.raises(DrawganError, match="names of no implementation known here"):
        load_foreign({"a.weight": torch.zeros(1)}, image_size=(9, 6), steps=3)
    changed = {k: v for k, v in theirs.items() if k != "dec_linear.bias"}
    changed["more"] = torch.zeros(1)
    with pytest.raises(DrawganError, match=r"missing \['dec_linear.bias'\], unknown \['more'\]"):
        load_foreign(changed, image_size=(9, 6), steps=3)
    with pytest.raises(ValueError, match="layout must be auto or one of"):
        load_foreign(theirs, image_size=(9, 6), steps=3, layout="nobody")
    with pytest.raises(DrawganError, match="no state_dict"):
        load_foreign({}, image_size=(9, 6), steps=3)
    with pytest.raises(DrawganError, match="cannot be read"):
        load_foreign(tmp_path / "absent", image_size=(9, 6), steps=3)
    evil = tmp_path / "evil"
    torch.save({"model": Path}, evil)
    with pytest.raises(DrawganError, match="cannot be read"):
        load_foreign(evil, image_size=(9, 6), steps=3)


def test_our_weights_in_a_file_that_describes_itself(tmp_path: Path) -> None:
    model = DRAW((9, 6), steps=3, hidden_size=12, latent_size=4, spec="natsu")
    path = save_weights(model, tmp_path / "draw.safetensors")
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        header = json.loads(file.metadata()["drawgan_fast"])
    assert header["model"] == {"name": "draw", "config": model.config()}
    again = load_weights(path)
    assert isinstance(again, DRAW)
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    vae = VAE((8, 8))
    assert load_weights(save_weights(vae, tmp_path / "vae.safetensors")).config() == vae.config()


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    model = DRAW((9, 6), steps=3, hidden_size=12, latent_size=4)
    path = save_weights(model, tmp_path / "draw.safetensors")
    whole = path.read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DrawganError, match="truncated or corrupt"):
        load_weights(tmp_path / "half")
    with pytest.raises(DrawganError, match="cannot be read"):
        load_weights(tmp_path / "absent")
    (tmp_path / "other").write_bytes(whole.replace(b"weights-1", b"weights-9"))
    with pytest.raises(DrawganError, match="format is 'weights-9'"):
        load_weights(tmp_path / "other")
    (tmp_path / "wrong").write_bytes(whole.replace(b'hidden_size\\": 12', b'hidden_size\\": 13'))
    with pytest.raises(DrawganError, match="does not fit its own configuration"):
        load_weights(tmp_path / "wrong")
    with pytest.raises(TypeError, match="model must be one of"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "linear")  # type: ignore[arg-type]
