"""Batches: the right images, the right noise, and the same ones after a resume."""

from __future__ import annotations

import math

import pytest
import torch

from drawgan_fast.data import ImageData
from drawgan_fast.data.mnist import load_subset
from drawgan_fast.errors import DrawganError


def ramp(n: int = 20, channels: int = 1, size: tuple[int, int] = (3, 4)) -> ImageData:
    """Image i is filled with the byte i, its label is i."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, channels, *size)
    return ImageData(images.contiguous(), torch.arange(n), "ramp", "made here")


def flat(level: int, n: int = 40) -> ImageData:
    images = torch.full((n, 1, 50, 50), level, dtype=torch.uint8)
    return ImageData(images, None, "flat", "made here")


def ids(batch: torch.Tensor) -> list[int]:
    return (batch[:, 0, 0, 0] * 255).round().int().tolist()


class TestBatches:
    def test_grey_levels_are_bytes_over_255(self) -> None:
        images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        data = ImageData(images, None, "levels", "made here")
        (batch,) = data.batches(1, epoch=0, seed=0)
        assert batch.dtype == torch.float32
        expected = torch.arange(256, dtype=torch.float64).view(1, 1, 16, 16) / 255
        assert torch.equal(batch, expected.float())

    @pytest.mark.parametrize("n", [20, 21, 23])
    def test_an_epoch_takes_every_image_once(self, n: int) -> None:
        data = ramp(n)
        batches = list(data.batches(4, epoch=0, seed=1, drop_last=False))
        assert sorted(i for batch in batches for i in ids(batch)) == list(range(n))
        assert len(batches) == data.batch_count(4, drop_last=False) == math.ceil(n / 4)
        whole = list(data.batches(4, epoch=0, seed=1))
        assert [len(batch) for batch in whole] == [4] * (n // 4)

    def test_without_shuffle_the_order_is_kept(self) -> None:
        assert [ids(b) for b in ramp(6).batches(2, epoch=5, seed=9, shuffle=False)] == [
            [0, 1],
            [2, 3],
            [4, 5],
        ]

    def test_order_depends_on_seed_and_epoch_and_nothing_else(self) -> None:
        def order(seed: int, epoch: int, batch_size: int = 20) -> list[int]:
            return [i for b in ramp().batches(batch_size, epoch=epoch, seed=seed) for i in ids(b)]

        torch.manual_seed(0)
        first = order(0, 0)
        torch.manual_seed(1)
        assert order(0, 0) == first == order(0, 0, batch_size=5)
        assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9

    @pytest.mark.parametrize("binarise", ["none", "fixed", "epoch"])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_an_epoch_resumed_at_any_batch_goes_on_bit_for_bit(
        self, binarise, shuffle: bool
    ) -> None:
        data = load_subset("test")

        def epoch(start: int = 0) -> list[torch.Tensor]:
            return list(
                data.batches(
                    300,
                    epoch=2,
                    seed=3,
                    binarise=binarise,
                    shuffle=shuffle,
                    drop_last=False,
                    start=start,
                )
            )

        whole = epoch()
        assert [len(batch) for batch in whole] == [300, 300, 300, 100]
        for start in range(5):
            rest = epoch(start)
            assert len(rest) == 4 - start
            assert all(torch.equal(a, b) for a, b in zip(whole[start:], rest))

    def test_known_order(self) -> None:
        """Pinned: another order would break the promise that a run resumes after an upgrade."""
        (batch,) = ramp(8).batches(8, epoch=1, seed=2)
        assert ids(batch) == [1, 0, 2, 7, 3, 6, 5, 4]

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"batch_size": 0}, "batch_size"),
            ({"start": -1}, "start"),
            ({"start": 6}, "start"),
            ({"epoch": -1}, "epoch"),
            ({"seed": -1}, "seed"),
            ({"binarise": "always"}, "binarise"),
        ],
    )
    def test_wrong_arguments_are_refused_before_the_first_batch(self, arguments, name) -> None:
        arguments = {"batch_size": 4, "epoch": 0, "seed": 0} | arguments
        with pytest.raises(ValueError, match=name):
            ramp().batches(arguments.pop("batch_size"), **arguments)

    def test_fewer_images_than_a_batch(self) -> None:
        with pytest.raises(DrawganError, match="20 images, fewer than one batch of 64"):
            ramp().batches(64, epoch=0, seed=0)
        (batch,) = ramp().batches(64, epoch=0, seed=0, drop_last=False)
        assert len(batch) == 20


class TestBinarise:
    @pytest.mark.parametrize("binarise", ["fixed", "epoch"])
    @pytest.mark.parametrize("level", [0, 1, 64, 128, 254, 255])
    def test_a_pixel_is_on_with_probability_of_its_grey_level(self, binarise, level: int) -> None:
        (batch,) = flat(level).batches(40, epoch=0, seed=0, binarise=binarise)
        assert set(batch.unique().tolist()) <= {0.0, 1.0}
        p, n = level / 255, batch.numel()
        # Five standard deviations; 0 and 255 are exact.
        assert abs(batch.mean().item() - p) <= 5 * math.sqrt(p * (1 - p) / n) + 1e-7

    def test_pixels_are_independent(self) -> None:
        (batch,) = flat(128).batches(40, epoch=0, seed=0, binarise="epoch")
        centred = batch - batch.mean()
        for axis in range(4):
            if batch.shape[axis] > 1:
                product = (centred * centred.roll(1, axis)).mean() / centred.square().mean()
                assert abs(product.item()) < 5 / math.sqrt(batch.numel())

    def test_fixed_is_the_same_in_every_epoch_and_for_every_seed(self) -> None:
        data = load_subset("test")
        one, two = (
            next(data.batches(1000, epoch=e, seed=s, binarise="fixed", shuffle=False))
            for e, s in ((0, 0), (4, 5))
        )
        assert torch.equal(one, two)
        assert torch.equal(one, data.binarised(0).images.float() / 255)
        assert not torch.equal(one, data.binarised(1).images.float() / 255)

    def test_fixed_noise_follows_the_image_through_the_shuffle(self) -> None:
        """Images are told apart by a first pixel that is always 0 or 1, after binarising too."""
        images = torch.full((2, 1, 8, 8), 128, dtype=torch.uint8)
        images[:, 0, 0, 0] = torch.tensor([0, 255], dtype=torch.uint8)
        data = ImageData(images, None, "two", "made here")
        expected = data.binarised(0).images.float() / 255
        for epoch in range(6):
            (batch,) = data.batches(2, epoch=epoch, seed=0, binarise="fixed")
            for image in batch:
                assert torch.equal(image, expected[int(image[0, 0, 0])])

    def test_epoch_noise_is_new_in_every_epoch_batch_and_seed(self) -> None:
        data = flat(128)
        batches = [
            batch
            for epoch, seed in ((0, 0), (1, 0), (0, 1))
            for batch in data.batches(20, epoch=epoch, seed=seed, binarise="epoch")
        ]
        for i, one in enumerate(batches):
            for other in batches[:i]:
                assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.02)


class TestImageData:
    def test_padding_keeps_every_pixel_in_the_middle(self) -> None:
        data = load_subset("test")
        padded = data.resized(32)
        assert padded.image_size == (32, 32)
        assert torch.equal(padded.images[:, :, 2:30, 2:30], data.images)
        assert padded.images.long().sum() == data.images.long().sum()
        assert torch.equal(padded.labels, data.labels)
        odd = ramp(3, size=(3, 4)).resized((6, 5))
        assert odd.images[2, 0].nonzero().amin(0).tolist() == [1, 0]
        assert odd.images[2, 0].nonzero().amax(0).tolist() == [3, 3]

    def test_halving_averages_and_keeps_the_mean(self) -> None:
        stripes = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
        stripes[..., ::4] = 200
        small = ImageData(stripes, None, "s", "made here").resized(2)
        assert 25 <= small.images.min() <= small.images.max() <= 75  # aliasing would give 0
        data = load_subset("test")
        assert data.resized(14).images.float().mean().item() == pytest.approx(
            data.images.float().mean().item(), rel=0.01
        )
        assert data.resized((20, 40)).image_size == (20, 40)
        assert data.resized(28) is data

    def test_subset_takes_labels_along(self) -> None:
        part = ramp().subset(torch.tensor([7, 3]))
        assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist() == [7, 3]

    @pytest.mark.parametrize(
        ("images", "labels", "error", "message"),
        [
            (torch.zeros(2, 1, 3, 3), None, TypeError, "images must be torch.uint8"),
            (torch.zeros(2, 3, 3, dtype=torch.uint8), None, ValueError, r"\[2, 3, 3\]"),
            (torch.zeros(0, 1, 3, 3, dtype=torch.uint8), None, ValueError, "no empty side"),
            (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2), TypeError, "int64"),
            (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.arange(3), ValueError, r"\[2\]"),
        ],
    )
    def test_wrong_tensors(self, images, labels, error, message) -> None:
        with pytest.raises(error, match=message):
            ImageData(images, labels, "x", "y")

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA or ROCm device")
    @pytest.mark.parametrize("binarise", ["none", "fixed", "epoch"])
    def test_a_device_gives_the_same_batches(self, binarise) -> None:
        data = load_subset("test")
        pairs = zip(
            data.batches(100, epoch=1, seed=2, binarise=binarise),
            data.to("cuda").batches(100, epoch=1, seed=2, binarise=binarise),
        )
        for one, other in pairs:
            assert other.is_cuda
            assert torch.equal(one, other.cpu())
