"""DRAW trained on MNIST for as long as there is time: nats a test digit, against the paper's.

The network of DRAW's table 2 on digits binarised anew each time, Adam, bfloat16 products; a loop
of its own, since a machine with a GPU need not have what the trainer needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.deadline import Deadline
from drawgan_fast import record_backends
from drawgan_fast.data import ImageData
from drawgan_fast.data.mnist import load_mnist
from drawgan_fast.models.draw import DRAW

BATCH = 128
RATE, LAST_RATE = 1e-3, 5e-5  # of Adam, along half a cosine
CLIP = 5.0  # norm of the gradient
EVALUATION = 20.0  # seconds that are kept for it
LOOK = 30  # steps between looks at the loss


def run(
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    device: str = "cuda",
    model: DRAW | None = None,
) -> None:
    """Train until the time is up, then take the bound on the test digits.

    Args:
        deadline: of training and evaluation together.
        save: takes the result: before, and after the evaluation.
        device: to train on.
        model: another network than the paper's.
    """
    torch.manual_seed(0)
    model = (model or DRAW()).to(device)
    train, test = load_mnist("train"), load_mnist("test")
    kept = min(EVALUATION, deadline.left() / 4)
    whole = deadline.left() - kept
    with record_backends() as ran:
        steps, loss = _train(model, train.images.to(device), Deadline(whole), whole)
    found: dict[str, Any] = {
        "digits": len(train),
        "source": train.source,
        "steps": steps,
        "epochs": steps * BATCH / len(train),
        "seconds": whole,
        "backends": sorted({backend for _, backend in ran}),
        "loss": loss,
    }
    save(found)
    save({**found, "nats": bound(model, test, device), "test_digits": len(test)})


def _train(model: DRAW, images: Tensor, deadline: Deadline, seconds: float) -> tuple[int, float]:
    """Steps taken, and the loss of the last."""
    device = images.device.type
    adam = torch.optim.Adam(model.parameters(), RATE, fused=device == "cuda")
    for steps, rows in enumerate(_batches(images), 1):
        done = 1.0 - deadline.left() / seconds
        adam.param_groups[0]["lr"] = (
            LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2
        )
        adam.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model.loss(torch.bernoulli(images[rows] / 255.0)).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        if steps % LOOK == 0 or deadline.passed():  # the clock never runs far ahead of the device
            value = float(loss.detach())
            if not math.isfinite(value):
                raise RuntimeError(f"the loss is {value} after {steps} steps")
            if deadline.passed():
                return steps, value
    raise AssertionError("batches never end")


def _batches(images: Tensor) -> Iterator[Tensor]:
    """Rows of whole batches, in a new order every epoch."""
    while True:
        order = torch.randperm(len(images), device=images.device)
        yield from order[: len(order) // BATCH * BATCH].split(BATCH)


@torch.no_grad()
def bound(model: DRAW, test: ImageData, device: str) -> float:
    """Mean nats of the test digits, binarised once, in float32."""
    generator = torch.Generator().manual_seed(1)
    x = torch.bernoulli(test.images / 255.0, generator=generator).to(device)
    total = 0.0
    for rows in x.split(BATCH):
        total += float(model.loss(rows).total) * len(rows)
    return total / len(x)
