"""Accelerated models and the building blocks inside the rest of PyTorch."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import lookup_backend
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from drawgan_fast import (
    BackendError,
    DrawConfig,
    backends,
    record_backends,
    use_backend,
)
from drawgan_fast.nn import AttentionReader, AttentionWriter, DrawCore, LSTMCell
from tests.support.accelerating import accelerate
from tests.support.cases import strided
from tests.support.other_draws import Bound

needs_native = pytest.mark.skipif(
    backends()["native"] is not None, reason="the compiled core is not built"
)
FUSE = pytest.mark.parametrize("fuse", [False, True], ids=["replaced", "fused"])


class Glance(nn.Module):
    """The building blocks, once each."""

    def __init__(self) -> None:
        super().__init__()
        self.read = AttentionReader(6, 3, spec="natsu")
        self.cell = LSTMCell(9, 6)
        self.write = AttentionWriter(6, 3, (7, 5), spec="natsu")

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        h, _ = self.cell(self.read(x, h).flatten(1), (h, h))
        return self.write(h, canvas=x)


def glance(B: int = 4) -> tuple[Glance, tuple[Tensor, Tensor]]:
    return Glance(), (torch.rand(B, 1, 7, 5), torch.randn(B, 6))


def accelerated(fuse: bool) -> tuple[Bound, Bound]:
    """The original and its accelerated copy."""
    original = Bound()
    ours = copy.deepcopy(original)
    accelerate(ours, fuse=fuse, example=images())
    return original, ours


def images(B: int = 4) -> Tensor:
    return torch.rand(B, 3, 6, 10)


def run(model: Callable[..., Any], x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return model(x)["pixels"]


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    return list(found)


def close(ours: list[Tensor], theirs: list[Tensor], **limits: float) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, **(limits or {"rtol": 1e-4, "atol": 1e-6}))


@FUSE
def test_compile_the_whole_graph_for_any_batch(fuse: bool) -> None:
    _, model = accelerated(fuse)
    seen: set[str] = set()

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        seen.update(ours_in(graph))
        return lookup_backend("aot_eager")(graph, inputs)

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo, of a lru_cache
        compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=True)
        for B in (5, 8):
            mine, plain = run(compiled, images(B)), run(model, images(B))
            assert mine.shape == plain.shape
        x = images(6)
        close([run(compiled, x)], [run(model, x)])
        close(gradients(model, run(compiled, x).sum()), gradients(model, run(model, x).sum()))
    if backends()["native"] is None:
        small = {"attention_read", "attention_write", "lstm_cell"}
        assert seen == ({"draw_scan"} if fuse else small)
    torch._dynamo.reset()


def ours_in(graph: torch.fx.GraphModule) -> set[str]:
    """Our operators in a graph."""
    names = {str(n.target) for n in graph.graph.nodes if n.op == "call_function"}
    return {name.split(".")[1] for name in names if name.startswith("drawgan_fast")}


@FUSE
def test_a_compiled_model_follows_its_settings(fuse: bool) -> None:
    """What eager code asks at each call a graph guards: a change traces the original anew."""
    original, model = accelerated(fuse)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        x = images(3)
        close([run(compiled, x)], [run(original, x)])
        for one in (original, model):
            one.rule = dataclasses.replace(one.rule, shift=-0.25)
        close([run(compiled, x)], [run(original, x)])
        for one in (original, model):
            one.patch = nn.Sequential(nn.Linear(12, 12), nn.Tanh())
            torch.manual_seed(8)
            for p in one.patch.parameters():
                nn.init.normal_(p)
        close([run(compiled, x)], [run(original, x)])
    torch._dynamo.reset()


@needs_native
@FUSE
def test_export_keeps_our_operators(fuse: bool) -> None:
    _, model = accelerated(fuse)
    shapes = ({0: torch.export.Dim("batch", min=2)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (images(),), dynamic_shapes=shapes)
    ours = ours_in(program.graph_module)
    small = {"attention_read", "attention_write", "lstm_cell"}
    assert ours == ({"draw_scan"} if fuse else small)
    x = images(5)
    close([run(program.module(), x)], [run(model, x)])


def test_onnx_of_generation_through_the_reference() -> None:
    pytest.importorskip("onnxscript", reason="needs onnx and onnxscript")
    from onnx.reference import ReferenceEvaluator

    cfg = DrawConfig((6, 5), hidden_size=8, latent_size=3, read_size=2, write_size=3)

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = DrawCore(cfg)

        def forward(self, eps: Tensor) -> Tensor:
            return torch.sigmoid(self.core.generate(eps).canvas)

    model = Generator().eval()
    batch = torch.export.Dim("batch")
    with use_backend("reference"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (torch.randn(2, 3, 3),), dynamic_shapes=({1: batch},), verbose=False
        )
    assert program is not None
    proto = program.model_proto
    assert not any(node.domain.startswith("drawgan") for node in proto.graph.node)
    eps = torch.randn(2, 5, 3)
    (out,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: eps.numpy()})
    with torch.no_grad():
        close([torch.from_numpy(out)], [model(eps)])


@FUSE
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(fuse: bool, dtype: torch.dtype) -> None:
    """Results as near to float32's as the original's are, and float32 gradients."""
    original, ours = accelerated(fuse)
    x = images()
    exact = run(original, x)
    with torch.autocast("cpu", dtype=dtype):
        theirs, mine = run(original, x), run(ours, x)
    assert mine.dtype == torch.float32  # our operators are of autocast's float32 kind
    off, allowed = ((t.float() - exact).norm() for t in (mine, theirs))
    # Of float16 the original makes NaN: its 1e-8 is 0 there, and 0/0 comes of it.
    assert off <= 2 * allowed + 1e-5 or (allowed.isnan() and off <= 1e-3)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients(ours, mine.sum()))


@FUSE
def test_functional_call(fuse: bool) -> None:
    original, ours = accelerated(fuse)
    other = {k: v.detach() * 1.5 for k, v in ours.named_parameters()}
    x = images()
    torch.manual_seed(0)
    mine = functional_call(ours, other, (x,))["pixels"]
    torch.manual_seed(0)
    close([mine], [functional_call(original, other, (x,))["pixels"]])
    assert not torch.allclose(mine, run(ours, x))


def test_vmap_over_parameters_of_every_sample() -> None:
    original, ours = accelerated(False)
    stacked = {k: torch.stack([v, 1.1 * v]).detach() for k, v in ours.named_parameters()}
    x = images(2)[:, None]

    def every(model: nn.Module) -> list[Tensor]:
        def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(model, parameters, (x,))["pixels"].square().sum()

        torch.manual_seed(0)
        return list(vmap(grad(loss), randomness="same")(stacked, x).values())

    with record_backends() as ran:
        mine = every(ours)
    assert {backend for _, backend in ran} == {"reference"}
    close(mine, every(original))


@needs_native
def test_vmap_on_a_compiled_backend_is_refused_with_the_way_out() -> None:
    model, (x, h) = glance()
    with use_backend("native"), pytest.raises(BackendError, match=r"torch\.func"):
        vmap(lambda x, h: model(x[None], h[None]))(x, h)


@FUSE
def test_checkpointing(fuse: bool) -> None:
    _, model = accelerated(fuse)
    x = images().requires_grad_()
    torch.manual_seed(0)
    kept = checkpoint(lambda x: model(x)["pixels"], x, use_reentrant=False)
    close(gradients(model, kept.sum()), gradients(model, run(model, x).sum()))


@FUSE
def test_hooks_run(fuse: bool) -> None:
    """Of the model, of layers that the replacements call, and of gradients."""
    original, ours = accelerated(fuse)
    x, seen = images(), {}
    for name, model in (("theirs", original), ("ours", ours)):
        counts: dict[str, int] = {}

        def count(key: str, counts: dict[str, int] = counts) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                counts[key] = counts.get(key, 0) + 1

            return hook

        model.register_forward_hook(count("model"))
        for path in ("encoder", "decoder", "patch", "windows.0", "windows.1", "mean"):
            model.get_submodule(path).register_forward_hook(count(path))
        model.decoder.weight_hh.register_hook(count("gradient"))
        run(model, x).sum().backward()
        seen[name] = counts
    assert seen["ours"] == seen["theirs"]


@FUSE
@pytest.mark.parametrize("frozen", ["encoder", "windows", "decoder.bias_ih", "", "mean.weight"])
def test_any_subset_of_parameters_may_be_frozen(fuse: bool, frozen: str) -> None:
    original, ours = accelerated(fuse)
    for model in (original, ours):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen) if frozen else "patch" in name)
    x = images()
    theirs = gradients(original, run(original, x).sum())
    close(gradients(ours, run(ours, x).sum()), theirs)


@FUSE
@pytest.mark.parametrize("layout", ["channels last", "strided", "expanded", "transposed"])
def test_layouts_of_the_input(fuse: bool, layout: str) -> None:
    original, ours = accelerated(fuse)
    x = {
        "channels last": images().to(memory_format=torch.channels_last),
        "strided": strided(images()),
        "expanded": images(1).expand(4, -1, -1, -1),
        "transposed": torch.rand(4, 3, 10, 6).mT,
    }[layout]
    assert layout == "channels last" or not x.is_contiguous()
    close([run(ours, x)], [run(original, x)])


@FUSE
def test_state_dict_round_trips(fuse: bool) -> None:
    original, ours = accelerated(fuse)
    assert list(ours.state_dict()) == list(original.state_dict())
    fresh = Bound()
    fresh.load_state_dict(ours.state_dict(), strict=True)
    close([run(fresh, images())[:0]], [run(ours, images())[:0]])
    ours.load_state_dict(Bound().state_dict(), strict=True)
    original.load_state_dict(ours.state_dict(), strict=True)
    x = images()
    close([run(ours, x)], [run(original, x)])


def test_building_blocks_copy_pickle_and_load() -> None:
    model, inputs = glance()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), Glance()):
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(*inputs), model(*inputs))
        assert twin.read.spec == model.read.spec
        assert twin.read.window.weight is not model.read.window.weight


@pytest.mark.gpu
@FUSE
def test_on_a_gpu(fuse: bool) -> None:
    original = Bound().cuda()
    ours = copy.deepcopy(original)
    accelerate(ours, fuse=fuse, example=images())
    x = images().cuda()
    with record_backends() as ran:
        mine = run(ours, x)
    assert {backend for _, backend in ran} == {"triton"}
    exact = run(original, x)
    close([mine], [exact])
    with torch.autocast("cuda", dtype=torch.bfloat16):
        theirs, mine = run(original, x), run(ours, x)
    assert mine.dtype == torch.float32
    assert (mine - exact).norm() <= 2 * (theirs.float() - exact).norm() + 1e-5


def test_two_processes_share_gradients(tmp_path: Path) -> None:
    """DDP: the mean over two halves of a batch is the gradient of the whole."""
    original = Bound()
    x = images(4)
    torch.save({"state": original.state_dict(), "x": x}, tmp_path / "start.pt")
    context = torch.multiprocessing.get_context("spawn")
    workers = [context.Process(target=_worker, args=(rank, str(tmp_path))) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    halves = [gradients(original, run(original, half).mean()) for half in x.split(2)]
    wanted = [(a + b) / 2 for a, b in zip(*halves)]
    for name in ("replaced", "fused"):
        found = [torch.load(tmp_path / f"{name} {rank}.pt") for rank in range(2)]
        close(found[0], wanted)
        close(found[0], found[1], rtol=0, atol=0)


def _worker(rank: int, folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    given = torch.load(f"{folder}/start.pt")
    for name in ("replaced", "fused"):
        model = Bound()
        model.load_state_dict(given["state"])
        accelerate(model, fuse=name == "fused", example=images())
        parallel = nn.parallel.DistributedDataParallel(model)
        run(parallel, given["x"].split(2)[rank]).mean().backward()
        torch.save([p.grad for p in model.parameters()], f"{folder}/{name} {rank}.pt")
    # Whatever still holds the group would end its threads while the interpreter ends, and torch
    # then aborts the process, half of the time and with any module.
    del parallel, model
    gc.collect()
    dist.destroy_process_group()
