"""The random numbers of a corruption: by seed, kind and number of the image, alike at all severities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Randomness:
    """Random numbers of a batch.

    Args:
        normal: Standard normal, shape (n, C, H, W).
        uniform: Uniform on [0, 1), shape (n, C, H, W).
        few: Uniform on [0, 1), shape (n, 4).
    """

    normal: Tensor
    uniform: Tensor
    few: Tensor


def randomness(kind: str, shape: Sequence[int], seed: int, first: int) -> Randomness:
    """Random numbers for the images from number `first` on.

    Args:
        kind: Name of the corruption.
        shape: Shape of the batch, (n, C, H, W).
        seed: Seed.
        first: Number of the first image of the batch.
    """
    n, *image = shape
    drawn = []
    for index in range(first, first + n):
        digest = hashlib.sha256(f"{kind}:{seed}:{index}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        drawn.append(
            (
                torch.randn(image, generator=source),
                torch.rand(image, generator=source),
                torch.rand(4, generator=source),
            )
        )
    return Randomness(*(torch.stack(part) for part in zip(*drawn, strict=True)))
