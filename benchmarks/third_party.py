"""`drawgan_fast.accelerate` on public DRAW code as it is: agreement and step time.

    python -m benchmarks.third_party --path DIR

DIR holds clones of the repositories in folders called OWNER-NAME or NAME; those that are absent are
left out. No line of theirs is in this repository: their modules are imported from DIR, and what
they import and this machine does not have (torchvision, tqdm, tensorboardX) is stubbed.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

import drawgan_fast
from benchmarks.environment import environment
from drawgan_fast.data.mnist import load_subset

SEEDS = (0, 1, 2)
CURVE_STEPS = 100
VARIANTS = ("original", "replaced", "fused")
STUBS = ("torchvision", "tqdm", "tensorboardX", "matplotlib.pyplot", "torchvision.utils")
STUBS += ("torchvision.transforms", "torchvision.datasets")


@dataclass
class Implementation:
    """How to build and train one public model, as its own script does.

    Attributes:
        repository: OWNER/NAME.
        configuration: what the table says of it.
        numbers: C·H·W of an image.
        batch: images a step.
        build: its folder → (model, loss of a batch, clip).
        example: arguments of forward for `accelerate`, None if it finds them itself.
    """

    repository: str
    configuration: str
    numbers: tuple[int, int, int]
    batch: int
    build: Callable[[Path, torch.device], tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]]
    clip: float
    example: Callable[[Tensor], Any] | None = None

    def folder(self, root: Path) -> Path | None:
        """Where it is below ``root``."""
        owner, name = self.repository.split("/")
        found = [root / f"{owner}-{name}", root / name]
        return next((path for path in found if path.is_dir()), None)


def load(path: Path, **globals_: Any) -> types.ModuleType:
    """Import a file of theirs; what is not installed is a mock that is never called."""
    stubs = {name: MagicMock() for name in STUBS if not installed(name)}
    for name in ("config", "utility", "utils", path.stem):
        sys.modules.pop(name, None)  # another repository's of the same name
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        vars(module).update(globals_)
        sys.modules[path.stem] = module
        with mock.patch.dict(sys.modules, stubs):
            spec.loader.exec_module(module)
            module.imported = {n: sys.modules.get(n) for n in ("config", "utility")}  # type: ignore[attr-defined]
    finally:
        sys.path.remove(str(path.parent))
    return module


def installed(name: str) -> bool:
    """Whether a package can be imported here."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def natsu(C: int, A: int, N: int) -> Any:
    def build(folder: Path, device: torch.device) -> Any:
        module = load(folder / "draw_model.py")
        sizes = {"T": 25, "A": A, "B": A, "z_size": 100, "read_N": N, "write_N": N}
        units = {"enc_size": 400, "dec_size": 400, "device": device, "channel": C}
        return module.DRAWModel(sizes | units).to(device), lambda model, x: model.loss(x)

    return build


def czm0(folder: Path, device: torch.device) -> Any:
    # Written for Python 2, of which only the name of range is left that differs here.
    module = load(folder / "draw_model.py", xrange=range)
    config = module.imported["config"]
    vars(module.imported["utility"])["USE_CUDA"] = device.type == "cuda"
    names = ("T", "A", "B", "z_size", "N", "dec_size", "enc_size")
    model = module.DrawModel(*(getattr(config, name) for name in names))
    return model.to(device), lambda model, x: model.loss(x)


def kamen(folder: Path, device: torch.device) -> Any:
    module = load(folder / "draw.py")
    # Its loss takes grey levels for Bernoulli outcomes, which torch refuses since 1.8.
    torch.distributions.Distribution.set_default_validate_args(False)
    args = module.parser.parse_args(["--use_read_attn", "--use_write_attn"])
    model = module.DRAW(args).to(device)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return module.loss_fn(*model(x), x)

    return model, loss


def rhychen(folder: Path, device: torch.device) -> Any:
    # The file trains when it is imported: only its class is taken from it.
    tree = ast.parse((folder / "models/DRAW.py").read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    space: dict[str, Any] = {"torch": torch, "nn": nn, "__builtins__": builtins}
    exec(compile(tree, "DRAW.py", "exec"), space)
    model = space["draw"](20, 28 * 28, 28, 28, 256, 100, 10).to(device)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        # Its loss function is a closure over its globals; these are its terms.
        pixels, means, log_vars = model(len(x), x)
        total = nn.functional.binary_cross_entropy(pixels, x, reduction="sum")
        for mu, log_var in zip(means, log_vars):
            total = total - 0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp())
        return total

    return model, loss


IMPLEMENTATIONS = [
    Implementation(
        "Natsu6767/Generating-Devanagari-Using-DRAW",
        "28x28, T=25, h=400, N=5, batch 64",
        (1, 28, 28),
        64,
        natsu(1, 28, 5),
        5.0,
    ),
    Implementation(
        "Natsu6767/Generating-Devanagari-Using-DRAW",
        "32x32x3, T=25, h=400, N=6, batch 128 (its train.py)",
        (3, 32, 32),
        128,
        natsu(3, 32, 6),
        5.0,
    ),
    Implementation(
        "dingwen07/draw_pytorch", "28x28, T=10, h=256, N=5, batch 64", (1, 28, 28), 64, czm0, 5.0
    ),
    Implementation(
        "czm0/draw_pytorch", "28x28, T=10, h=256, N=5, batch 64", (1, 28, 28), 64, czm0, 5.0
    ),
    Implementation(
        "kamenbliznashki/generative_models",
        "28x28, T=32, h=256, N=2/5, batch 64",
        (1, 28, 28),
        64,
        kamen,
        10.0,
    ),
    Implementation(
        "rhychen/DRAW",
        "28x28, T=20, h=256, N=10, batch 128",
        (1, 28, 28),
        128,
        rhychen,
        float("inf"),
        lambda x: (len(x), x),
    ),
]


class Trainer:
    """A model, its loss and its optimizer: one step as every one of their scripts takes it."""

    def __init__(self, model: nn.Module, loss: Any, clip: float) -> None:
        self.model, self.loss, self.clip = model, loss, clip
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def gradients(self, x: Tensor, seed: int) -> dict[str, Tensor]:
        """The loss and every parameter's gradient."""
        torch.manual_seed(seed)
        self.optimizer.zero_grad()
        loss = self.loss(self.model, x)
        loss.backward()
        found = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
        return {"loss": loss.detach(), **found}

    def step(self, x: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model, x)
        value = loss.item()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return value


def outputs(model: nn.Module, args: tuple[Any, ...], seed: int) -> dict[str, Tensor]:
    """What forward gives and leaves in the model."""
    from drawgan_fast.compat.proof import behaviour

    found = behaviour(model, args, torch.float32, seed=seed).outputs
    return {k: v for k, v in found.items() if isinstance(v, Tensor)}


def largest_error(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Of any tensor: norm of the difference over norm."""
    assert ours.keys() == theirs.keys()
    pairs = [(ours[name].double(), theirs[name].double()) for name in theirs]
    return max(((a - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in pairs)


def measure(
    implementation: Implementation, folder: Path, device: torch.device, rounds: int
) -> dict[str, Any]:
    """Everything about one implementation on one device."""
    C, H, W = implementation.numbers
    images = load_subset("train").images[: 10 * implementation.batch].float() / 255
    images = torch.nn.functional.interpolate(images, (H, W)).expand(-1, C, -1, -1)
    batches = images.flatten(1).to(device).split(implementation.batch)

    torch.manual_seed(5)
    first, loss = implementation.build(folder, device)
    args = implementation.example(batches[0]) if implementation.example else (batches[0],)
    trainers, reports = {}, {}
    for variant in VARIANTS:
        model = copy.deepcopy(first)
        if variant != "original":
            example = implementation.example(batches[0][:7]) if implementation.example else None
            begin = time.perf_counter()
            reports[variant] = drawgan_fast.accelerate(
                model, fuse=variant == "fused", example=example
            )
            reports[variant + " seconds"] = time.perf_counter() - begin
        trainers[variant] = Trainer(model, loss, implementation.clip)

    row: dict[str, Any] = {
        "repository": implementation.repository,
        "configuration": implementation.configuration,
        "commit": commit(folder),
        "device": device.type,
        "report": {v: str(reports[v]).splitlines() for v in VARIANTS[1:]},
        "accelerate seconds": {v: reports[v + " seconds"] for v in VARIANTS[1:]},
    }
    original = trainers["original"]
    for variant in VARIANTS[1:]:
        ours = trainers[variant]
        row[f"{variant} outputs"] = max(
            largest_error(outputs(ours.model, args, s), outputs(original.model, args, s))
            for s in SEEDS
        )
        row[f"{variant} gradients"] = max(
            largest_error(ours.gradients(batches[s], s), original.gradients(batches[s], s))
            for s in SEEDS
        )
    row |= times(trainers, batches[0], device, rounds)
    row |= curves(first, trainers, loss, implementation, batches)
    return row


def times(
    trainers: dict[str, Trainer], x: Tensor, device: torch.device, rounds: int
) -> dict[str, Any]:
    """Milliseconds a step, every variant in turn each round; speed-ups are medians of ratios."""
    taken: dict[str, list[float]] = {variant: [] for variant in trainers}
    for number in range(rounds + 1):
        for variant, trainer in trainers.items():
            trainer.step(x)  # the caches are another's
            best = float("inf")
            for _ in range(2):
                begin = time.perf_counter()
                trainer.step(x)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                best = min(best, time.perf_counter() - begin)
            if number:
                taken[variant].append(1e3 * best)
    found: dict[str, Any] = {f"{v} ms": statistics.median(t) for v, t in taken.items()}
    for variant in VARIANTS[1:]:
        ratios = [a / b for a, b in zip(taken["original"], taken[variant])]
        found[f"{variant} speed-up"] = statistics.median(ratios)
    return found


def curves(
    first: nn.Module,
    trainers: dict[str, Trainer],
    loss: Any,
    implementation: Implementation,
    batches: tuple[Tensor, ...],
) -> dict[str, Any]:
    """Loss curves of 100 steps from the same start: the largest distance, relative to the loss."""
    curve: dict[str, list[float]] = {}
    for variant, trainer in trainers.items():
        trainer.model.load_state_dict(first.state_dict())
        fresh = Trainer(trainer.model, loss, implementation.clip)
        torch.manual_seed(9)
        curve[variant] = [fresh.step(batches[i % len(batches)]) for i in range(CURVE_STEPS)]
    found: dict[str, Any] = {
        f"{variant} curve": max(
            abs(a - b) / abs(b) for a, b in zip(curve[variant], curve["original"])
        )
        for variant in VARIANTS[1:]
    }
    return found | {"loss": [curve["original"][0], curve["original"][-1]]}


def commit(folder: Path) -> str:
    """Of the clone, or what a file COMMIT in the folder says."""
    written = folder / "COMMIT"
    if written.is_file():
        return written.read_text().strip()
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder with the clones")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a repository's name")
    parser.add_argument("--out", type=Path, help="write everything there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    rows = []
    for implementation in IMPLEMENTATIONS:
        folder = implementation.folder(options.path)
        if options.only not in implementation.repository:
            continue
        if folder is None:
            print(f"{implementation.repository}: not in {options.path}", file=sys.stderr)
            continue
        for device in devices:
            row = measure(implementation, folder, device, options.rounds)
            rows.append(row)
            shown = {k: v for k, v in row.items() if k not in ("report",)}
            print(json.dumps(shown, ensure_ascii=False, indent=1), flush=True)
    if options.out is not None:
        found = {"environment": environment(), "threads": options.threads, "rows": rows}
        options.out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
