"""Noise of which every sample has its own, whatever the batch it is drawn in."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

BLOCK = 256
"""Samples that share a generator; their noise is drawn together and cut to what is asked for."""


def generator_for(*key: object) -> torch.Generator:
    """A CPU generator for a key; neighbouring keys share nothing."""
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def noise_rows(
    seed: int, start: int, stop: int, shape: tuple[int, ...], purpose: str = "prior"
) -> Tensor:
    """Standard normal noise of the samples start … stop − 1.

    The noise of sample i follows from seed, i, shape and purpose alone: not from the batch size, the number
    of samples or processes, or the device.

    Args:
        seed: Seed of the whole set of samples.
        start: Index of the first sample.
        stop: Index after the last.
        shape: Shape of one sample.
        purpose: Keeps independent draws of one sample apart, such as the steps of an SDE sampler.

    Returns:
        Shape (stop − start, *shape), float32, on the CPU.
    """
    parts = []
    for block in range(start // BLOCK, math.ceil(stop / BLOCK)):
        drawn = torch.randn(BLOCK, *shape, generator=generator_for(purpose, seed, block))
        first = block * BLOCK
        parts.append(drawn[max(start - first, 0) : min(stop - first, BLOCK)])
    return torch.cat(parts) if parts else torch.empty(0, *shape)
