"""A training step in PyTorch: eager reference, compiled reference, or a backend of ours."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor

import drawgan_fast
from benchmarks.cases import TrainCase, build, images
from benchmarks.variants import compiled
from benchmarks.variants.base import BETAS, EPS, LEARNING_RATES, Unavailable
from drawgan_fast.draw_config import Memory


class TorchStep:
    """DRAW or DRAW-GAN on one backend, with one fused Adam for each player.

    Args:
        case: what to train.
        backend: forced for every call; it never falls back.
        bfloat16: forward and loss under ``torch.autocast(…, torch.bfloat16)``.
        memory: the model's argument.
        compile: what ``torch.compile`` gets: nothing, the ``step`` or the ``cell``.
        mode: ``torch.compile``'s.
        precision: ``torch.set_float32_matmul_precision``, for the whole process.
        device: where it trains.
        capturable: Adam as a CUDA graph needs it.

    Raises:
        Unavailable: the backend cannot run here, with the reason.
    """

    def __init__(
        self,
        case: TrainCase,
        backend: str = "reference",
        *,
        bfloat16: bool = False,
        memory: Memory = "keep",
        compile: str | None = None,
        mode: str | None = None,
        precision: str = "highest",
        device: str = "cpu",
        capturable: bool = False,
    ) -> None:
        check_backend(backend)
        torch.set_float32_matmul_precision(precision)
        self.case, self.backend, self.bfloat16 = case, backend, bfloat16
        self.device = torch.device(device)
        # Made on the CPU, so that weights and images are the same on every device.
        self.model = build(case, memory=memory).to(self.device)
        if compile is not None:
            compiled.apply(self.model, compile, mode)
        self.x = images(case).to(self.device)
        self.optimizers = [
            torch.optim.Adam(
                player.parameters(),
                lr=LEARNING_RATES[name],
                betas=BETAS,
                eps=EPS,
                fused=True,
                capturable=capturable,
            )
            for name, player in self.model.players().items()
        ]

    def gradients(self, eps: Tensor) -> tuple[float, dict[str, Tensor]]:
        """See :class:`~benchmarks.variants.base.TrainingStep`."""
        if self.case.model == "draw-gan":
            self.model.eval()  # only its discriminator knows the difference
        loss = float(self.accumulate(eps.to(self.device)))
        self.model.train()
        found = {
            name: (torch.zeros_like(p) if p.grad is None else p.grad.clone()).cpu()
            for name, p in self.model.named_parameters()
        }
        self.model.zero_grad(set_to_none=True)
        return loss, found

    def __call__(self) -> None:
        """One training step."""
        self.accumulate(self.model.noise(self.case.batch))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def accumulate(self, eps: Tensor) -> Tensor:
        """Add a step's gradients at this noise; the loss, detached."""
        with ExitStack() as stack:
            stack.enter_context(drawgan_fast.use_backend(self.backend))
            if not self.bfloat16:
                return self.model.accumulate_gradients(self.x, eps)["loss"]
            autocast = torch.autocast(self.device.type, torch.bfloat16)
            if self.case.model == "draw-gan":
                # Its backward passes are several and lie between its forward ones.
                stack.enter_context(autocast)
                return self.model.accumulate_gradients(self.x, eps)["loss"]
            with autocast:
                loss = self.model.loss(self.x, eps).total
            torch.autograd.backward(loss)
            return loss.detach()


def check_backend(name: str) -> None:
    """Raise Unavailable, with the reason, unless the backend can run on this machine."""
    known = drawgan_fast.backends()
    if name not in known:
        raise Unavailable(f"this version has no backend {name}")
    if known[name] is not None:
        raise Unavailable(f"backend {name} cannot run here: {known[name]}")
