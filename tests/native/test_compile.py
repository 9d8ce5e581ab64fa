"""Registered operators as compilers, exporters and tracers see them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor, library, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from drawgan_fast import functional as F
from drawgan_fast import use_backend
from drawgan_fast.backends.compiled.texts import config_text, spec_text
from drawgan_fast.nn import AttentionReader, AttentionWriter, DrawCore, LSTMCell
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs

pytestmark = pytest.mark.usefixtures("native")

OPS = torch.ops.drawgan_fast


@pytest.fixture
def native(core: ModuleType) -> Iterator[None]:
    with use_backend("native"):
        yield
    torch._dynamo.reset()


class Glance(nn.Module):
    """Reads, remembers and writes: every small operator once."""

    def __init__(self) -> None:
        super().__init__()
        self.read = AttentionReader(4, 3, spec="natsu")
        self.cell = LSTMCell(18, 4)
        self.write = AttentionWriter(4, 3, (6, 7))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        seen, error = self.read(x, h, canvas=2 * x)
        h, c = self.cell(torch.cat([seen.flatten(1), error.flatten(1)], 1), (h, c))
        return self.write(h, x), h, c


def glance_inputs(B: int) -> tuple[Tensor, ...]:
    return torch.rand(B, 1, 6, 7), torch.rand(B, 4), torch.rand(B, 4)


def scan_module_inputs(B: int, prior: int) -> tuple[Tensor, ...]:
    return tuple(scan_inputs(SMALL, T=3, B=B, prior=prior)[:3])


def step(model: nn.Module, call: Callable, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The results of a call and the gradients of the model's parameters."""
    results = [r for r in call(*inputs) if r is not None]
    loss = sum(r.square().sum() for r in results)
    return [*results, *torch.autograd.grad(loss, list(model.parameters()))]


def assert_same(left: list[Tensor], right: list[Tensor]) -> None:
    for one, other in zip(left, right):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trace", [False, True])
def test_the_whole_graph_compiles_once_for_every_batch(trace: bool) -> None:
    # The first batch is of no other dimension's size: one symbol would stand for both.
    for model, batches in (
        (Glance(), [glance_inputs(B) for B in (5, 8, 3)]),
        (DrawCore(SMALL), [scan_module_inputs(B, P) for B, P in ((7, 10), (4, 5), (8, 9))]),
    ):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")

        def call(*inputs: Tensor, model: nn.Module = model) -> tuple[Tensor | None, ...]:
            if isinstance(model, Glance):
                return model(*inputs)
            return tuple(model(*inputs, trace=trace)[:5])

        compiled = torch.compile(call, fullgraph=True, backend=counter, dynamic=True)
        counts = set()
        for inputs in batches:
            assert_same(step(model, compiled, inputs), step(model, call, inputs))
            counts.add(counter.frame_count)
        assert len(counts) == 1, "another batch was compiled again"


def test_conventions_are_part_of_what_is_compiled() -> None:
    """Another spec is another graph, not the first one's numbers."""
    x, params = torch.rand(2, 1, 6, 6), windows(2)
    compiled = torch.compile(F.attention_read, fullgraph=True, backend="aot_eager")
    for spec in ("paper", "natsu", "vivanov", "paper"):
        assert torch.equal(compiled(x, params, 3, spec), F.attention_read(x, params, 3, spec))


@pytest.mark.slow
def test_inductor() -> None:
    model, inputs = DrawCore(SMALL), scan_module_inputs(4, 3)

    def call(*inputs: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(model(*inputs)[:5])

    compiled = torch.compile(call, fullgraph=True)
    assert_same(step(model, compiled, inputs), step(model, call, inputs))


def test_autocast_reaches_a_compiled_scan() -> None:
    model, inputs = DrawCore(SMALL), scan_module_inputs(4, 3)

    def call(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(*inputs)
        return out.canvas, out.mu

    with torch.no_grad():
        compiled = torch.compile(call, fullgraph=True, backend="aot_eager")(*inputs)
    for one, other in zip(compiled, call(*inputs)):
        assert torch.equal(one, other)


def operators_of(program: torch.export.ExportedProgram) -> set[str]:
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    return {name for name in targets if name.startswith("drawgan_fast")}


def test_export_keeps_the_operators() -> None:
    model, batch = Glance(), torch.export.Dim("batch", min=1)
    shapes = ({0: batch},) * 3
    program = torch.export.export(model, glance_inputs(3), dynamic_shapes=shapes)
    expected = {f"drawgan_fast.{n}.default" for n in ("attention_read", "attention_write")}
    assert operators_of(program) == expected | {"drawgan_fast.lstm_cell.default"}
    assert operators_of(program.run_decompositions()) == operators_of(program)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for B in (1, 6):
        inputs = glance_inputs(B)
        assert_same(loaded(*inputs), model(*inputs))


def test_export_of_the_scan() -> None:
    model, inputs = DrawCore(SMALL), scan_module_inputs(4, 3)
    with torch.no_grad():
        program = torch.export.export(model, inputs)
    assert operators_of(program) == {"drawgan_fast.draw_scan.default"}
    torch.testing.assert_close(program.module()(*inputs).canvas, model(*inputs).canvas)


def test_an_exported_operator_checks_what_it_is_given() -> None:
    x, params = torch.rand(2, 1, 6, 6), windows(2)
    with pytest.raises(ValueError, match=r"params must have shape \[2, 5\], got \[1, 5\]"):
        OPS.attention_read([x], params[:1], None, 3, '"paper"', "native")
    with pytest.raises(
        TypeError, match=r"patch must have dtype torch\.float32, got torch\.float64"
    ):
        OPS.attention_write(x[..., :2, :2].double(), params, None, 6, 6, '"paper"', "native")
    inputs = scan_inputs(SMALL)
    with pytest.raises(ValueError, match="weights must be 16 tensors, got 15"):
        OPS.draw_scan(*inputs[:2], None, inputs[2:-1], config_text(SMALL), *[False] * 4, "native")


def test_fake_tensors_and_tracers_see_one_operator() -> None:
    x, params = torch.rand(2, 1, 6, 6), windows(2)

    def read(x: Tensor, params: Tensor) -> Tensor:
        return F.attention_read(x, params, 3)

    graph = make_fx(read)(x, params)
    assert "drawgan_fast.attention_read" in graph.code
    traced = torch.jit.trace(read, (x, params))
    assert "drawgan_fast::attention_read" in str(traced.graph)
    other = torch.rand(2, 1, 6, 6), windows(2)
    assert torch.equal(graph(*other), read(*other))
    assert torch.equal(traced(*other), read(*other))
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(t) for t in (x, params)]
        assert read(*fakes).shape == (2, 1, 3, 3)
    assert read(*fakes).shape == (2, 1, 3, 3)  # and outside of the mode


# ------------------------------------------------------------------------------------- opcheck


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [t.detach().requires_grad_() for t in tensors]


def test_opcheck_of_attention_read() -> None:
    x, canvas, params = leaves(torch.rand(2, 1, 6, 7), torch.randn(2, 1, 6, 7), windows(2))
    library.opcheck(OPS.attention_read, ([x], params, canvas, 3, '"natsu"', "native"))
    library.opcheck(OPS.attention_read, ([x, canvas], params, None, 3, '"paper"', "native"))
    plain = [t.detach() for t in (x, params, canvas)]
    glimpses = [torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)]
    backward = (
        [plain[0]],
        plain[1],
        plain[2],
        glimpses,
        [True, False, True],
        3,
        '"paper"',
        "native",
    )
    library.opcheck(OPS.attention_read_backward, backward)


def test_opcheck_of_attention_write() -> None:
    patch, params, canvas = leaves(torch.randn(2, 1, 3, 3), windows(2), torch.randn(2, 1, 6, 7))
    library.opcheck(OPS.attention_write, (patch, params, canvas, 6, 7, '"natsu"', "native"))
    library.opcheck(OPS.attention_write, (patch, params, None, 6, 7, '"paper"', "native"))
    backward = (patch.detach(), params.detach(), torch.randn(2, 1, 6, 7), '"paper"', "native")
    library.opcheck(OPS.attention_write_backward, backward)


def test_opcheck_of_lstm_cell() -> None:
    shapes = [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]
    tensors = leaves(*(torch.randn(s) for s in shapes))
    library.opcheck(OPS.lstm_cell, (*tensors, False, True, "native"))
    plain = [t.detach() for t in tensors]
    library.opcheck(OPS.lstm_cell, (*plain[:5], None, None, False, False, "native"))
    _, c, gates = OPS.lstm_cell(*plain, False, True, "native")
    saved = [*plain[:5], gates, c]
    backward = (saved, torch.randn(2, 4), None, [True, False, True, True, False, True], "native")
    library.opcheck(OPS.lstm_cell_backward, backward)


@pytest.mark.parametrize("recompute", [False, True])
def test_opcheck_of_draw_scan(recompute: bool) -> None:
    x, eps, prior_eps, *weights = leaves(*scan_inputs(SMALL, prior=2))
    text = config_text(SMALL)
    library.opcheck(
        OPS.draw_scan, (x, eps, prior_eps, weights, text, True, recompute, False, False, "native")
    )
    plain = [x.detach(), eps.detach(), prior_eps.detach(), [w.detach() for w in weights]]
    library.opcheck(OPS.draw_scan, (*plain, text, False, False, False, True, "native"))
    canvas, mu, log_sigma, kl, prior_canvas, saved, *_ = OPS.draw_scan(
        *plain, text, True, recompute, False, False, "native"
    )
    given = [torch.randn_like(t) for t in (canvas, mu, log_sigma, kl, prior_canvas)]
    given[2] = None
    wants = [True, False, True, *[i % 3 > 0 for i in range(16)]]
    library.opcheck(
        OPS.draw_scan_backward,
        (*plain, saved, mu, log_sigma, *given, wants, text, recompute, False, "native"),
    )


def test_a_forward_that_kept_nothing_cannot_be_differentiated() -> None:
    tensors = leaves(*(torch.randn(s) for s in [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4)]))
    h, _, _ = OPS.lstm_cell(*tensors, None, None, False, False, "native")
    with pytest.raises(RuntimeError, match="keep=True"):
        h.sum().backward()
    x, eps, *weights = leaves(*scan_inputs(SMALL))
    canvas = OPS.draw_scan(x, eps, None, weights, config_text(SMALL), *[False] * 4, "native")[0]
    with pytest.raises(RuntimeError, match="save=True"):
        canvas.sum().backward()


def test_texts_are_what_the_schema_carries() -> None:
    from drawgan_fast import PRESETS

    assert spec_text(PRESETS["natsu"]) == '"natsu"'
    assert '"hidden_size": 21' in config_text(SMALL)
