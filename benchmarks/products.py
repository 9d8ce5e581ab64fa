"""The matrix products that a training step cannot do without, with their shapes.

Rows are images of the batch (B) or of all time steps (T·B); K is the hidden size, Z the latent
size, G and P the numbers of a glimpse and of a patch. With products of one input side by side::

    encoder    [r, h_dec, h_enc] [B, G+2K] × [G+2K, 4K]
    posterior  h_enc             [B, K]    × [K, 2Z]
    decoder    [z, h_dec]        [B, Z+K]  × [Z+K, 4K]
    heads      h_dec             [B, K]    × [K, P+10]     patch, write window, read window

Each is computed T times forward, and T times for the gradient of its input with the transposed
weights; each weight's gradient is one product over all T·B rows. That is 3·2·(MACs per row)·T·B
operations. The first step's products with a zero state, 1/T of the recurrent ones, count like the
others.

DRAW-GAN decodes B prior samples beside the B posterior ones: 2B rows in decoder and heads. Its
discriminator [C·H·W → 500 → 100 → 1] sees 3B images. Going back, its own gradients take 3B rows
down to the first layer's output; the generator's take another way down, of the 2B images that it
drew and to the images themselves.

The window's products F_y·I·F_xᵀ are left out: they are tiny, one pair of filterbanks for each
image, and no library reaches a rate on them. Counting them would raise the floor.
:func:`window_operations` says how many operations they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cases import TrainCase

DISCRIMINATOR = (500, 100, 1)


@dataclass(frozen=True)
class Product:
    """[rows, depth] × [depth, columns], ``count`` times in a step.

    >>> Product("a", 2, 3, 4, count=5).operations
    240
    """

    name: str
    rows: int
    depth: int
    columns: int
    count: int

    @property
    def operations(self) -> int:
        """Floating-point operations of all of them; a multiplication and an addition are two."""
        return 2 * self.rows * self.depth * self.columns * self.count

    def to_json(self) -> dict[str, Any]:
        """Fields, JSON-able."""
        return asdict(self)


def products(case: TrainCase) -> list[Product]:
    """Every product of one training step.

    >>> from benchmarks.cases import CASES
    >>> round(sum(p.operations for p in products(CASES["draw-paper"])) / 1e9, 2)
    47.05
    """
    T, B, K, Z = case.steps, case.batch, case.hidden_size, case.latent_size
    G = 2 * case.channels * case.read_size**2
    P = case.channels * case.write_size**2
    decoded = 2 * B if case.model == "draw-gan" else B
    layers = [
        ("encoder", B, G + 2 * K, 4 * K),
        ("posterior", B, K, 2 * Z),
        ("decoder", decoded, Z + K, 4 * K),
        ("heads", decoded, K, P + 10),
    ]
    found = []
    for name, rows, inputs, outputs in layers:
        found += [
            Product(f"{name}, forward", rows, inputs, outputs, T),
            Product(f"{name}, input gradient", rows, outputs, inputs, T),
            Product(f"{name}, weight gradient", outputs, T * rows, inputs, 1),
        ]
    if case.model == "draw-gan":
        found += _discriminator(case)
    return found


def _discriminator(case: TrainCase) -> list[Product]:
    width = case.channels * case.image_size[0] * case.image_size[1]
    found = []
    for number, outputs in enumerate(DISCRIMINATOR):
        name, seen = f"discriminator {number + 1}", 3 * case.batch
        found.append(Product(f"{name}, forward", seen, width, outputs, 1))
        found.append(Product(f"{name}, weight gradient", outputs, seen, width, 1))
        if number > 0:
            found.append(Product(f"{name}, input gradient", seen, outputs, width, 1))
        drawn = 2 * case.batch
        found.append(Product(f"{name}, generator's gradient", drawn, outputs, width, 1))
        width = outputs
    return found


def operations(case: TrainCase) -> int:
    """Floating-point operations of all products of a step."""
    return sum(product.operations for product in products(case))


def window_operations(case: TrainCase) -> int:
    """Operations of the windows' own products, which the floor leaves out.

    Forward; twice as many more for the gradients of both factors.
    """
    (H, W), C, R, N = case.image_size, case.channels, case.read_size, case.write_size
    read = 2 * C * (R * H * W + R * R * W)  # x and the error image
    write = C * (N * N * W + H * N * W)
    decoded = 2 if case.model == "draw-gan" else 1
    return 3 * 2 * case.steps * case.batch * (read + decoded * write)
