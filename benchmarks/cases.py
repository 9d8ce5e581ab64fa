"""What is timed: named configurations of a training step, and the operators' shapes.

A configuration is named here and nowhere else; the report, the tests and the plots ask for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.models import DRAW, DRAWGAN, GenerativeModel


@dataclass(frozen=True)
class TrainCase:
    """One training step: which model, of what sizes, on how many images.

    >>> CASES["draw-paper"].scaled(batch=64).key
    'draw-paper/b64'
    """

    name: str
    title: str
    model: str  # "draw" or "draw-gan"
    image_size: tuple[int, int]
    channels: int
    steps: int
    hidden_size: int
    latent_size: int
    read_size: int
    write_size: int
    batch: int

    @property
    def key(self) -> str:
        """The name under which its measurements are filed."""
        return f"{self.name}/b{self.batch}"

    @property
    def sizes(self) -> str:
        """Every size in one word: fit for a file's name, and no two cases share it."""
        C, (H, W) = self.channels, self.image_size
        sizes = f"T{self.steps}-h{self.hidden_size}-z{self.latent_size}"
        return f"{self.model}-b{self.batch}-{C}x{H}x{W}-{sizes}-{self.read_size}-{self.write_size}"

    def scaled(self, **changes: Any) -> TrainCase:
        """The same case with some sizes changed."""
        return replace(self, **changes)

    def arguments(self) -> dict[str, Any]:
        """The model's constructor arguments."""
        sizes = ("image_size", "channels", "steps", "hidden_size", "latent_size")
        return {k: getattr(self, k) for k in (*sizes, "read_size", "write_size")}

    def to_json(self) -> dict[str, Any]:
        """Fields, JSON-able; :meth:`from_json` takes them back."""
        return {**asdict(self), "image_size": list(self.image_size)}

    @staticmethod
    def from_json(fields: dict[str, Any]) -> TrainCase:
        """Back from :meth:`to_json`."""
        return TrainCase(**{**fields, "image_size": tuple(fields["image_size"])})


def _case(
    name: str,
    title: str,
    image: tuple[int, int, int],  # C, H, W
    T: int,
    h: int,
    z: int,
    windows: tuple[int, int],  # read N, write N
    batch: int,
) -> TrainCase:
    model = "draw-gan" if name.startswith("draw-gan") else "draw"
    return TrainCase(name, title, model, image[1:], image[0], T, h, z, *windows, batch)


# The paper prints no batch sizes: those of CIFAR, SVHN and the odd sizes are ours.
CASES: dict[str, TrainCase] = {
    case.name: case
    for case in (
        _case("draw-paper", "DRAW, the paper's MNIST", (1, 28, 28), 64, 256, 100, (2, 5), 128),
        _case(
            "draw-authors",
            "DRAW, DRAW-GAN's sizes",
            (1, 32, 32),
            20,
            400,
            20,
            (5, 5),
            64,
        ),
        _case("draw-cifar", "DRAW, the paper's CIFAR-10", (3, 32, 32), 64, 400, 200, (5, 5), 64),
        _case("draw-svhn", "DRAW, the paper's SVHN", (3, 54, 54), 32, 800, 100, (12, 12), 64),
        _case("draw-odd", "DRAW, odd sizes", (2, 19, 31), 64, 203, 17, (3, 7), 64),
        _case("draw-gan-authors", "DRAW-GAN", (1, 32, 32), 20, 400, 20, (5, 5), 64),
    )
}

SEEDS = {"weights": 0, "images": 1, "noise": 2}


def build(case: TrainCase, **options: Any) -> GenerativeModel:
    """The case's model, the same weights every time; ``options`` are further arguments."""
    torch.manual_seed(SEEDS["weights"])
    kind = DRAWGAN if case.model == "draw-gan" else DRAW
    return kind(**case.arguments(), **options)


def images(case: TrainCase) -> Tensor:
    """The case's batch [B, C, H, W], the same every time: grey noise in [0, 1]."""
    generator = torch.Generator().manual_seed(SEEDS["images"])
    return torch.rand(case.batch, case.channels, *case.image_size, generator=generator)


def noise(case: TrainCase, model: GenerativeModel) -> Tensor:
    """The noise on which the correctness gate compares variants, the same every time."""
    return model.noise(case.batch, torch.Generator().manual_seed(SEEDS["noise"]))


@dataclass(frozen=True)
class AttentionShape:
    """Images and window of one call of ``attention_read`` or ``attention_write``."""

    B: int
    C: int
    H: int
    W: int
    N: int

    @property
    def key(self) -> str:
        """For file and test names."""
        return f"{self.C}x{self.H}x{self.W}-N{self.N}"


@dataclass(frozen=True)
class LSTMShape:
    """One call of ``lstm_cell``."""

    B: int
    D: int
    K: int

    @property
    def key(self) -> str:
        """For file and test names."""
        return f"{self.D}-{self.K}"


ATTENTION_SHAPES = [
    AttentionShape(128, 1, 28, 28, 5),
    AttentionShape(128, 1, 28, 28, 12),
    AttentionShape(128, 3, 64, 64, 5),
    AttentionShape(128, 3, 64, 64, 12),
]
# The encoder's and the decoder's of the paper's MNIST network.
LSTM_SHAPES = [LSTMShape(128, 264, 256), LSTMShape(128, 100, 256)]
