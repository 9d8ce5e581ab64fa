"""DrawCore under hooks, pruning, reparametrised weights and replaced layers: as plain PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from drawgan_fast import DrawConfig, record_backends
from drawgan_fast.models import DRAWGAN
from drawgan_fast.nn import DrawCore

T, B = 3, 4
CONFIG = DrawConfig((6, 5), hidden_size=7, latent_size=3, read_size=2, write_size=3)
LAYERS = ["encoder", "posterior", "decoder", "patch", "write_window", "read_window"]


def core(**options: Any) -> DrawCore:
    torch.manual_seed(1)
    return DrawCore(CONFIG, **options).double()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    kind = {"generator": generator, "dtype": torch.float64}
    return (
        torch.rand(B, 1, 6, 5, **kind),
        torch.randn(T, B, 3, **kind),
        torch.randn(T, 2, 3, **kind),
    )


def numbers(model: DrawCore) -> list[Tensor]:
    """All that a core gives, its own generation too."""
    x, eps, prior_eps = inputs()
    out = model(x, eps, prior_eps, trace=True)
    sample = model.generate(prior_eps, trace=True)
    assert out.trace is not None
    assert sample.trace is not None
    return [*out[:5], *out.trace, sample.canvas, sample.trace.canvases]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-11) for a, b in zip(ours, theirs))


def times(model: DrawCore, layer: str, factor: float) -> DrawCore:
    """A copy whose layer gives ``factor`` times what it gave."""
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in scaled.get_submodule(layer).parameters():
            parameter.mul_(factor)
    return scaled


@pytest.mark.parametrize("layer", ["posterior", "patch", "write_window", "read_window"])
@pytest.mark.parametrize("options", [{}, {"memory": "recompute"}], ids=str)
def test_a_forward_hook_changes_what_its_layer_gives(layer: str, options: dict[str, str]) -> None:
    plain, hooked = core(**options), core(**options)
    assert same(numbers(hooked), numbers(plain))
    handle = hooked.get_submodule(layer).register_forward_hook(lambda m, x, y: 1.5 * y)
    expected = numbers(times(plain, layer, 1.5))
    assert same(numbers(hooked), expected)
    assert not same(expected, numbers(plain))
    handle.remove()
    assert same(numbers(hooked), numbers(plain))


# Of a layer whose input wants no gradient: the first window's.
quiet = pytest.mark.filterwarnings("ignore:Full backward hook")


@quiet
@pytest.mark.parametrize("layer", LAYERS)
def test_hooks_run_at_every_step(layer: str) -> None:
    """Forward, pre-forward, backward, each with the layer's own numbers."""
    model = core()
    target = model.get_submodule(layer)
    seen: list[str] = []
    target.register_forward_pre_hook(lambda m, args: seen.append("pre"))
    target.register_forward_hook(lambda m, args, out: seen.append("forward"))
    target.register_full_backward_pre_hook(lambda m, grad: seen.append("backward pre"))
    target.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append("backward"))
    x, eps, _ = inputs()
    plain = core()
    theirs = plain(x, eps)
    ours = model(x, eps)
    (theirs.canvas.sum() + theirs.kl.sum()).backward()
    (ours.canvas.sum() + ours.kl.sum()).backward()
    assert same(list(ours[:4]), list(theirs[:4]))
    assert same([p.grad for p in model.parameters()], [p.grad for p in plain.parameters()])
    forward = [s for s in seen if "backward" not in s]
    assert forward == ["pre", "forward"] * T
    assert seen.count("backward pre") == T
    assert seen.count("backward") in (T, T - 1)
    model.generate(eps)
    used = layer in ("decoder", "patch", "write_window")
    assert seen.count("forward") == T * (2 if used else 1)


@quiet
@pytest.mark.parametrize(
    ("register", "hook"),
    [
        ("register_module_forward_pre_hook", lambda m, args: None),
        ("register_module_forward_hook", lambda m, args, out: None),
        ("register_module_full_backward_pre_hook", lambda m, grad: None),
        ("register_module_full_backward_hook", lambda m, grad_in, grad_out: None),
    ],
)
def test_hooks_for_all_modules_see_every_layer(register: str, hook: Callable[..., Any]) -> None:
    model, seen = core(), []
    x, eps, _ = inputs()
    expected = model(x, eps)

    def noting(module: nn.Module, *rest: Any) -> None:
        seen.append(module)
        hook(module, *rest)

    handle = getattr(torch_module, register)(noting)
    try:
        out = model(x, eps)
        (out.canvas.sum() + out.kl.sum()).backward()
    finally:
        handle.remove()
    assert same(list(out[:4]), list(expected[:4]))
    for layer in LAYERS:
        assert seen.count(model.get_submodule(layer)) >= T - 1, layer


def weight_name(layer: str) -> str:
    return "weight_hh" if layer in ("encoder", "decoder") else "weight"


def pruned(layer: nn.Module, name: str) -> None:
    prune.l1_unstructured(layer, name, amount=0.3)
    prune.random_unstructured(layer, name, amount=0.2)  # PyTorch's container of two


def of_hooks(make: Callable[..., nn.Module]) -> Callable[[nn.Module, str], None]:
    def apply(layer: nn.Module, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and in use
            make(layer, name)

    return apply


REWRITES: dict[str, Callable[[nn.Module, str], Any]] = {
    "prune": pruned,
    "weight_norm": of_hooks(weight_norm),
    "spectral_norm": of_hooks(spectral_norm),
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rewrite", REWRITES)
def test_computed_weights_are_computed_anew(rewrite: str, layer: str) -> None:
    """After a step of an optimizer, too; on the fast way, with gradients to what they come of."""
    model = core()
    target, name = model.get_submodule(layer), weight_name(layer)
    REWRITES[rewrite](target, name)
    model.eval()  # spectral norms stay where they are
    for _ in range(2):
        with torch.no_grad():
            for parameter in target.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        with record_backends() as ran:
            ours = numbers(model)
        assert {op for op, _ in ran} == {"draw_scan", "draw_generate"}
        # Called as PyTorch calls it, for the weight that this leaves in it.
        state = torch.zeros(1, 7, dtype=torch.float64)
        if isinstance(target, nn.LSTMCell):
            target(torch.zeros(1, target.input_size, dtype=torch.float64), (state, state))
        else:
            target(state)
        expected = core()
        found = {k: v for k, v in model.state_dict().items() if k in expected.state_dict()}
        expected.load_state_dict(found, strict=False)
        with torch.no_grad():
            getattr(expected.get_submodule(layer), name).copy_(getattr(target, name))
        assert same(ours, numbers(expected))
    x, eps, _ = inputs()
    out = model(x, eps)
    (out.canvas.sum() + out.kl.sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in target.parameters())
    if rewrite == "prune":
        mask = getattr(target, f"{name}_mask")
        assert not getattr(target, f"{name}_orig").grad[mask == 0].any()


class LowRank(nn.Module):
    """What adapters do: the old layer and a small one beside it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, 2, bias=False).double()
        self.up = nn.Linear(2, layer.out_features, bias=False).double()

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    @property
    def bias(self) -> Tensor:
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


@pytest.mark.parametrize("layer", ["posterior", "patch", "write_window", "read_window"])
def test_a_replaced_layer_is_the_one_that_runs(layer: str) -> None:
    model, merged = core(), core()
    adapter = LowRank(model.get_submodule(layer))
    setattr(model, layer, adapter)
    with torch.no_grad():
        merged.get_submodule(layer).weight.add_(adapter.up.weight @ adapter.down.weight)
    assert same(numbers(model), numbers(merged))
    x, eps, _ = inputs()
    out = model(x, eps)
    (out.canvas.sum() + out.kl.sum()).backward()
    assert adapter.up.weight.grad is not None
    assert adapter.up.weight.grad.any()


def test_a_layer_without_bias_is_one_with_a_bias_of_zeros() -> None:
    model, expected = core(), core()
    model.patch.bias = None
    nn.init.zeros_(expected.patch.bias)
    assert same(numbers(model), numbers(expected))


def test_what_runs_again_draws_the_same() -> None:
    """``memory="recompute"`` under dropout: the gradients of ``"keep"``."""
    found = []
    for memory in ("keep", "recompute"):
        model = core(memory=memory)
        model.patch.register_forward_hook(lambda m, x, y: nn.functional.dropout(y, 0.5))
        torch.manual_seed(3)
        out = model(*inputs()[:2])
        out.canvas.square().sum().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert same(*found)


def test_shared_attention_and_none() -> None:
    for options in ({"shared_attention": True}, {}):
        plain = core(**options)
        hooked = copy.deepcopy(plain)
        hooked.write_window.register_forward_hook(lambda *_: None)
        assert same(numbers(hooked), numbers(plain))
    blind = DrawCore(DrawConfig((6, 5), hidden_size=7, latent_size=3, attention=False)).double()
    hooked = copy.deepcopy(blind)
    hooked.patch.register_forward_hook(lambda *_: None)
    x, eps, _ = inputs()
    assert same(list(hooked(x, eps)[:4]), list(blind(x, eps)[:4]))


def test_the_slow_way_says_why_once(caplog: pytest.LogCaptureFixture) -> None:
    model = core()
    model.patch.register_forward_hook(lambda *_: None)
    with caplog.at_level(logging.INFO, logger="drawgan_fast.nn"):
        for _ in range(2):
            model(*inputs()[:2])
    assert [r.message for r in caplog.records] == [
        "DrawCore calls its layers at every step, since patch has hooks"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": torch.zeros(T, 1, 3)}, r"x must have shape \[1, 1, 6, 5\], got \[4, 1, 6, 5\]"),
        ({"eps": torch.zeros(T, B, 2)}, r"eps must have shape \[3, 4, 3\], got \[3, 4, 2\]"),
        ({"eps": torch.zeros(B, 3)}, r"eps must have shape \[T, B, 3\], got \[4, 3\]"),
        ({"prior_eps": torch.zeros(9, 2, 3)}, r"prior_eps must have shape \[3, B', 3\]"),
    ],
)
def test_wrong_shapes_are_named_on_the_slow_way(change: dict[str, Tensor], message: str) -> None:
    model = core()
    model.patch.register_forward_hook(lambda *_: None)
    x, eps, prior_eps = inputs()
    given = {"x": x, "eps": eps, "prior_eps": prior_eps} | change
    with pytest.raises(ValueError, match=message):
        model(**given)


@pytest.mark.parametrize("kind", ["hook", "prune", "weight_norm"])
def test_compiled_and_exported(kind: str) -> None:
    """Whole graphs, in which the hook is."""
    model = core()
    if kind == "hook":
        model.patch.register_forward_hook(lambda m, x, y: 1.5 * y)
    else:
        REWRITES[kind](model.patch, "weight")
    x, eps, _ = inputs()

    class Canvas(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = model

        def forward(self, x: Tensor, eps: Tensor) -> Tensor:
            return self.core(x, eps).canvas

    expected = model(x, eps).canvas
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(Canvas(), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x, eps), expected)
        program = torch.export.export(Canvas(), (x, eps))
    torch.testing.assert_close(program.module()(x, eps), expected)
    torch._dynamo.reset()


def test_pruned_draw_gan_trains() -> None:
    """Pruned weights stay 0 over steps of an optimizer, in DRAW and in the discriminator."""
    model = DRAWGAN((6, 5), steps=2, hidden_size=7, latent_size=3, write_size=3)
    for layer in (model.draw.core.patch, model.discriminator.blocks[0][1]):
        prune.l1_unstructured(layer, "weight", amount=0.5)
    before = model.draw.core.patch.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model.accumulate_gradients(torch.rand(4, 1, 6, 5))
        optimizer.step()
    model.generate(1)
    after = model.draw.core.patch.weight.detach()
    assert not torch.equal(after, before)
    assert torch.equal(after == 0, before == 0)
