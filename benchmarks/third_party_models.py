"""Public DRAW implementations: how each is imported, built and trained, as its own script does.

No line of theirs is in this repository. They are imported from clones, and what they import and
this machine does not have (torchvision, tqdm, tensorboardX) is stubbed.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

STUBS = (
    "matplotlib.pyplot",
    "tensorboardX",
    "torchvision",
    "torchvision.datasets",
    "torchvision.transforms",
    "torchvision.utils",
    "tqdm",
)


@dataclass
class Implementation:
    """How to build and train one public model, as its own script does.

    Attributes:
        repository: OWNER/NAME.
        configuration: what the table says of it.
        numbers: C·H·W of an image.
        batch: images a step.
        build: its folder and a device → model, loss of a batch.
        clip: of the gradient's norm.
        canvas: model and result of forward → logits of the pixels, for checkpoints.
        steps: T.
        example: arguments of forward for `accelerate`, None if it finds them itself.
    """

    repository: str
    configuration: str
    numbers: tuple[int, int, int]
    batch: int
    build: Callable[[Path, torch.device], tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]]
    clip: float
    steps: int
    canvas: Callable[[Any, Any], Tensor]
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


def last_of_cs(model: Any, result: Any) -> Tensor:
    """The canvas of those that leave a list of them in the model."""
    return model.cs[-1]


IMPLEMENTATIONS = [
    Implementation(
        "Natsu6767/Generating-Devanagari-Using-DRAW",
        "28x28, T=25, h=400, N=5, batch 64",
        (1, 28, 28),
        64,
        natsu(1, 28, 5),
        5.0,
        25,
        last_of_cs,
    ),
    Implementation(
        "Natsu6767/Generating-Devanagari-Using-DRAW",
        "32x32x3, T=25, h=400, N=6, batch 128 (its train.py)",
        (3, 32, 32),
        128,
        natsu(3, 32, 6),
        5.0,
        25,
        last_of_cs,
    ),
    Implementation(
        "dingwen07/draw_pytorch",
        "28x28, T=10, h=256, N=5, batch 64",
        (1, 28, 28),
        64,
        czm0,
        5.0,
        10,
        last_of_cs,
    ),
    Implementation(
        "czm0/draw_pytorch",
        "28x28, T=10, h=256, N=5, batch 64",
        (1, 28, 28),
        64,
        czm0,
        5.0,
        10,
        last_of_cs,
    ),
    Implementation(
        "kamenbliznashki/generative_models",
        "28x28, T=32, h=256, N=2/5, batch 64",
        (1, 28, 28),
        64,
        kamen,
        10.0,
        32,
        lambda model, result: result[0].logits,
    ),
    Implementation(
        "rhychen/DRAW",
        "28x28, T=20, h=256, N=10, batch 128",
        (1, 28, 28),
        128,
        rhychen,
        float("inf"),
        20,
        lambda model, result: torch.logit(result[0]),
        lambda x: (len(x), x),
    ),
]
