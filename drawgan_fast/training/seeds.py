"""Random numbers as a function of (seed, step), so that a run resumes without saved generators."""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1

#: Streams apart from the training steps 0, 1, 2, ... (steps never reach these numbers).
INIT_STREAM = _MASK
SAMPLE_STREAM = _MASK - 1


def _splitmix64(state: int) -> int:
    """One output of SplitMix64 (Steele, Lea & Flood 2014): a bijection of 64-bit integers."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def mix(seed: int, stream: int) -> int:
    """Seed for one stream of a run: ``splitmix64(splitmix64(seed) XOR stream) >> 1``.

    For a fixed seed the map from stream to 64-bit state is a bijection, so neighbouring steps (and
    neighbouring seeds) get unrelated generators, which ``seed + step`` would not give: step 1 of
    seed 0 would repeat step 0 of seed 1.

    Args:
        seed: the run's seed, any integer (taken modulo 2^64).
        stream: the step, >= 0, or one of the named streams.

    Returns:
        An integer in [0, 2^63), which ``torch.manual_seed`` takes on every device.

    Example:
        >>> mix(0, 1) == mix(1, 0), mix(7, 3) == mix(7, 3)
        (False, True)
    """
    return _splitmix64(_splitmix64(seed & _MASK) ^ (stream & _MASK)) >> 1


def seed_step(seed: int, step: int) -> None:
    """Seed torch's global generators for one training step.

    Noise and dropout of step ``s`` then depend on ``(seed, s)`` alone: a resumed run draws what the
    uninterrupted one would have drawn, with no generator state in the checkpoint.

    Example:
        >>> seed_step(0, 5); a = torch.rand(3)
        >>> seed_step(0, 5); torch.equal(a, torch.rand(3))
        True
    """
    torch.manual_seed(mix(seed, step))
