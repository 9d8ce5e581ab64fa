"""A small digit classifier whose last hidden layer is the feature space of the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drawgan_fast.errors import DrawganError

#: Height and width that the classifier sees.
INPUT_SIZE = (28, 28)
#: Where the shipped weights lie.
SHIPPED_WEIGHTS = Path(__file__).parent / "assets" / "mnist_classifier.safetensors"

Fit = Literal["crop", "resize"]


class Classifier(nn.Module):
    """Three 3×3 convolutions with max-pooling, a feature layer, a linear classifier.

    28×28 → 14×14 → 7×7 → 3×3, then 288 → ``feature_size`` → ``classes``.

    >>> net = Classifier(classes=10).eval()
    >>> net.features(torch.zeros(2, 1, 28, 28)).shape, net(torch.zeros(2, 1, 28, 28)).shape
    (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(self, classes: int = 10, feature_size: int = 64) -> None:
        super().__init__()
        self.classes, self.feature_size = classes, feature_size
        self.convolutions = nn.Sequential()
        for width_in, width_out in [(1, 16), (16, 32), (32, 32)]:
            self.convolutions.append(nn.Conv2d(width_in, width_out, 3, padding=1, bias=False))
            self.convolutions.append(nn.MaxPool2d(2))  # before the norm: a quarter of its work
            self.convolutions.append(nn.BatchNorm2d(width_out))
            self.convolutions.append(nn.ReLU())
        self.hidden = nn.Linear(32 * 3 * 3, feature_size)
        self.output = nn.Linear(feature_size, classes)

    def features(
        self,
        x: Tensor,  # [B, 1, 28, 28]
    ) -> Tensor:
        """Penultimate activations, after their ReLU: [B, feature_size], ≥ 0."""
        return F.relu(self.hidden(self.convolutions(x).flatten(1)))

    def forward(
        self,
        x: Tensor,  # [B, 1, 28, 28]
    ) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = self.output(self.features(x))
        return logits


def unit_float(
    images: Tensor,  # [n, C, H, W]
) -> Tensor:
    """Images as float32 in [0, 1]: uint8 is divided by 255, floats are taken as they are.

    >>> unit_float(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
    1.0
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be a tensor [n, C, H, W], got {shape}")
    if images.dtype == torch.uint8:
        return images.float().div_(255.0)
    if not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")
    return images.detach().float()


def choose_fit(
    images: Tensor,  # [n, C, H, W]
) -> Fit:
    """How :func:`prepare` brings this data to 28×28, decided on the *real* images alone.

    "crop" where they are larger on both sides and the border that a centre crop would cut is
    empty in all of them (MNIST padded to 32×32); else "resize".

    >>> choose_fit(torch.zeros(3, 1, 32, 32)), choose_fit(torch.ones(3, 1, 32, 32))
    ('crop', 'resize')
    """
    height, width = images.shape[-2:]
    if (height, width) == INPUT_SIZE or height < INPUT_SIZE[0] or width < INPUT_SIZE[1]:
        return "resize"
    inner = _centre_crop(images)
    border_is_empty = torch.equal(
        images.ne(0).sum((1, 2, 3)),
        inner.ne(0).sum((1, 2, 3)),
    )
    return "crop" if border_is_empty else "resize"


def _centre_crop(images: Tensor) -> Tensor:
    top = (images.shape[-2] - INPUT_SIZE[0]) // 2
    left = (images.shape[-1] - INPUT_SIZE[1]) // 2
    return images[..., top : top + INPUT_SIZE[0], left : left + INPUT_SIZE[1]]


def prepare(
    images: Tensor,  # [n, C, H, W]
    fit: Fit = "resize",
) -> Tensor:
    """What the classifier sees of an image: grey, 28×28, [n, 1, 28, 28] in [0, 1].

    Three channels are weighed 0.299, 0.587, 0.114 (ITU-R BT.601), any other number averaged.
    Another size is cropped around the centre (``fit="crop"``) or resized, bilinear with
    antialiasing (``fit="resize"``).

    >>> prepare(torch.ones(1, 3, 40, 20)).shape
    torch.Size([1, 1, 28, 28])
    """
    x = unit_float(images)
    if x.shape[1] == 3:
        x = torch.einsum("nchw,c->nhw", x, x.new_tensor([0.299, 0.587, 0.114])).unsqueeze(1)
    elif x.shape[1] != 1:
        x = x.mean(1, keepdim=True)
    if tuple(x.shape[-2:]) == INPUT_SIZE:
        return x
    if fit == "crop":
        if x.shape[-2] < INPUT_SIZE[0] or x.shape[-1] < INPUT_SIZE[1]:
            raise ValueError(f'fit="crop" needs images of 28 by 28 or more, got {tuple(x.shape)}')
        return _centre_crop(x)
    return F.interpolate(x, INPUT_SIZE, mode="bilinear", align_corners=False, antialias=True)


@dataclass(frozen=True)
class FeatureExtractor:
    """A classifier with the way its images are brought to size; callable.

    ``source`` is one sentence for people: where the weights came from and how good they are.
    """

    classifier: Classifier
    fit: Fit
    source: str

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,  # [n, C, H, W]
        batch_size: int = 500,
    ) -> Tensor:
        """Features [n, feature_size], float32, on the images' device."""
        return self._batched(images, batch_size, self.classifier.features)

    @torch.no_grad()
    def accuracy(
        self,
        images: Tensor,  # [n, C, H, W]
        labels: Tensor,  # [n]
        batch_size: int = 500,
    ) -> float:
        """Share of ``images`` whose most likely class is ``labels``, in [0, 1]."""
        predicted = self._batched(images, batch_size, self.classifier).argmax(1)
        return float((predicted == labels.to(predicted.device)).float().mean())

    def _batched(
        self, images: Tensor, batch_size: int, function: Callable[[Tensor], Tensor]
    ) -> Tensor:
        self.classifier.to(images.device).eval()
        # Batches keep the convolutions' activations in cache and in memory's bounds.
        batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
        return torch.cat([function(prepare(batch, self.fit)) for batch in batches])


def fit_classifier(
    images: Tensor,  # [n, C, H, W]
    labels: Tensor,  # [n]
    *,
    steps: int = 1500,
    batch_size: int = 128,
    learning_rate: float = 4e-3,
    feature_size: int = 64,
    max_shift: int = 2,
    fit: Fit | None = None,
    seed: int = 0,
) -> Classifier:
    """Train a :class:`Classifier` on labelled images: cross-entropy, AdamW, one-cycle rate.

    A function of its arguments on one machine: the global random state is neither read nor moved.

    Args:
        images: training images [n, C, H, W], uint8 or float in [0, 1].
        labels: classes [n], integers from 0.
        steps: optimisation steps; 1,500 take about 20 s on two cores.
        batch_size: images in a step, drawn epoch by epoch without replacement.
        learning_rate: its maximum.
        feature_size: width of the penultimate layer.
        max_shift: each batch is shifted by up to so many pixels each way, 0 for not at all.
        fit: see :func:`prepare`; None lets :func:`choose_fit` decide.
        seed: of weights, order and shifts.

    Returns:
        The classifier in eval mode, on the images' device.

    Raises:
        ValueError: images and labels differ in number, or are none.

    >>> x = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)]).repeat(8, 1, 1, 1)
    >>> net = fit_classifier(x, torch.tensor([0, 1] * 8), steps=30, batch_size=8)
    >>> net(x).argmax(1)[:2].tolist()
    [0, 1]
    """
    if len(images) != len(labels) or not len(images):
        raise ValueError(
            f"images and labels must be as many, and some, got {len(images)} and {len(labels)}"
        )
    fit = choose_fit(images) if fit is None else fit
    # Weights are initialised from the global generator: fork it, so that the caller's is not moved.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(int(labels.max()) + 1, feature_size).to(images.device).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=max(2, steps)
    )
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < min(batch_size, len(images)):
            order = torch.cat([order, torch.randperm(len(images), generator=generator)])
        rows, order = order[:batch_size].to(images.device), order[batch_size:]
        x = prepare(images[rows], fit)
        if max_shift:
            dy, dx = torch.randint(-max_shift, max_shift + 1, (2,), generator=generator).tolist()
            x = F.pad(x, (max_shift,) * 4).roll((dy, dx), (2, 3))
            x = x[..., max_shift:-max_shift, max_shift:-max_shift]
        loss = F.cross_entropy(net(x), labels[rows].to(torch.int64))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return net.eval()


def save_classifier(net: Classifier, path: Path, metadata: Mapping[str, str]) -> None:
    """Write weights and ``metadata`` (strings) as a safetensors file."""
    from safetensors.torch import save_file

    sizes = {"classes": str(net.classes), "feature_size": str(net.feature_size)}
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(state, path, metadata={**metadata, **sizes})


def load_classifier(path: Path | None = None) -> tuple[Classifier, dict[str, str]]:
    """Read a classifier and its metadata; None reads the weights shipped for MNIST.

    The shipped file's metadata: ``data``, ``test_accuracy`` (share in [0, 1], as text), ``steps``,
    ``seed``, ``classes``, ``feature_size``.

    Raises:
        DrawganError: the file is absent, no safetensors file, or of another network.

    >>> net, metadata = load_classifier()
    >>> float(metadata["test_accuracy"]) > 0.985
    True
    """
    from safetensors import SafetensorError, safe_open

    path = SHIPPED_WEIGHTS if path is None else path
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        net = Classifier(int(metadata["classes"]), int(metadata["feature_size"]))
        net.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DrawganError(
            f"the classifier weights in {path} cannot be read ({reason}); "
            "make them again with python -m drawgan_fast.metrics.train_classifier"
        ) from error
    return net.eval(), metadata
