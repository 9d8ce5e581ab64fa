"""Small DRAWs made from switches, accelerated, and held to their originals over random histories.

Whatever is done to both, the accelerated model gives what the original gives: the same results,
gradients, attributes and noise, or the same error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import nn

from drawgan_fast.compat import NotAccelerated
from tests.support import switched_draw
from tests.support.switched_draw import HIDDEN, LATENT, PLACES, SIDE, Switched
from tests.support.twins import Twins

SWITCHES = st.fixed_dictionaries(
    {},
    optional={
        "gain": st.sampled_from(PLACES),
        "noisy": st.sampled_from(["training", "eval"]),
        "clamp": st.sampled_from(["log_sigma", "mean", "pixels"]),
        "notes": st.sampled_from(["calls", "kl", "history", "deque", "nested", "eval", "patch"]),
        "first": st.sampled_from(["learned", "list"]),
        "result": st.sampled_from(["tuple", "numbers", "numpy"]),
        "batch_norm": st.just(True),
        "draws": st.sampled_from(["own", "numpy", "random"]),
    },
)


def images(B: int) -> torch.Tensor:
    return torch.rand(B, SIDE * SIDE, generator=torch.Generator().manual_seed(B))


def _linear(name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        old = getattr(model, name)
        if isinstance(old, nn.Linear):
            torch.manual_seed(9)
            setattr(model, name, nn.Linear(old.in_features, old.out_features))

    return change


def _wrapped(name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        torch.manual_seed(7)
        old = getattr(model, name)
        sizes = 5 if "window" in name else 4 if name == "patch" else LATENT
        setattr(model, name, nn.Sequential(old, nn.Linear(sizes, sizes)))

    return change


def _new_cell(model: Any) -> None:
    torch.manual_seed(4)
    model.decoder = nn.LSTMCell(LATENT, HIDDEN)


def _bumped(model: Any) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)


def _hooked(name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        getattr(model, name).register_forward_hook(lambda m, args, out: out * 1.5)

    return change


CALLS: dict[str, Callable[[Any], Any]] = {
    "forward": lambda m: m(images(4)),
    "larger batch": lambda m: m(images(9)),
    "one sample": lambda m: m(images(1)),
    "no sample": lambda m: m(images(0)),
    "more steps": lambda m: m(images(4), 3),
    "fewer steps": lambda m: m(images(4), steps=1),
    "no noise": lambda m: m(images(4), temperature=0.0),
    "labels": lambda m: m(images(4), labels=torch.arange(4)),
    "scale": lambda m: m(images(4), scale=0.5),
    "wrong size": lambda m: m(images(4)[:, :30]),
    "another shape": lambda m: m(images(4).view(4, SIDE, SIDE)),
    "generate": lambda m: m.generate(3),
    "read": lambda m: m.read(images(3), images(3) - 0.5, torch.ones(3, HIDDEN)),
    "write": lambda m: m.write(torch.ones(3, HIDDEN)),
}
CHANGES: dict[str, Callable[[Any], Any]] = {
    "gain": lambda m: m.set_gain(2.0),
    "gain back": lambda m: m.set_gain(1.0),
    "steps": lambda m: setattr(m, "steps", 3),
    "steps back": lambda m: setattr(m, "steps", 2),
    "train": lambda m: m.train(),
    "eval": lambda m: m.eval(),
    "training step": _bumped,
    "load": lambda m: m.load_state_dict({k: v * 0.9 for k, v in m.state_dict().items()}),
    "lr": lambda m: setattr(m.args, "lr", 0.01),
    "new cell": _new_cell,
    **{f"new {name}": _linear(name) for name in ("window", "patch", "mean")},
    **{f"wrapped {name}": _wrapped(name) for name in ("write_window", "patch", "log_sigma")},
    **{f"hook on {name}": _hooked(name) for name in ("window", "encoder", "mean", "head")}
    # A cell gives a pair, which cannot be multiplied.
    | {"hook on encoder": lambda m: m.encoder.register_forward_hook(lambda *_: None)},
}
ACTIONS = st.lists(
    st.one_of(st.sampled_from(sorted(CALLS)), st.sampled_from([*sorted(CHANGES), "copy"])),
    min_size=2,
    max_size=7,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(SWITCHES, st.booleans(), ACTIONS)
def test_any_history(switches: dict[str, Any], fuse: bool, actions: list[str]) -> None:
    torch.manual_seed(0)
    example = (images(7),)
    try:
        try:
            both = Twins(Switched(**switches), fuse=fuse, example=example)
        except NotAccelerated:
            if not fuse:
                raise
            both = Twins(Switched(**switches), example=example)
        event("fused" if both.report.fused else "replaced")
        both.call(CALLS["forward"])
        for action in actions:
            if action in CALLS:
                both.call(CALLS[action])
            elif action == "copy":
                both.original, both.ours = copy.deepcopy(both.original), copy.deepcopy(both.ours)
            else:
                both.change(CHANGES[action])
        both.call(CALLS["forward"])
    finally:
        switched_draw.reset()
