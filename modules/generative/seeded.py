"""Noise of which every sample has its own, whatever the batch it is drawn in."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from integrand.diffusion.random_numbers import SampleNoise, Stream


def noise_rows(seed: int, start: int, stop: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise of the samples start … stop − 1, the same as diffusion samplers start from.

    The noise of sample i follows from seed, i and shape alone: not from the batch size, the number of samples
    or processes, or the device.

    Args:
        seed: Seed of the whole set of samples.
        start: Index of the first sample.
        stop: Index after the last.
        shape: Shape of one sample.

    Returns:
        Shape (stop − start, *shape), float32, on the CPU.
    """
    if stop <= start:
        return torch.empty(0, *shape)
    return SampleNoise(seed, (stop - start, *shape), first_sample=start).normals(0, Stream.PRIOR)


def seed_of(*key: object) -> int:
    """A seed for a key; neighbouring keys share nothing."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, key)).encode()).digest()[:8], "big") >> 1
