"""Brownian motion from torch's generators: seeded, replayable, the same for any split of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

CHUNK = 16
"""Steps drawn together. torch fills CPU tensors of normals in groups of 16 values: with multiples of 16 for
each sample, a sample's values depend only on how many samples come before it."""

_MASK = 2**63 - 1


class BrownianPath(Protocol):
    """Standard normal numbers of every step."""

    def normals(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Z with ΔW = √h Z for step n, and ζ with ∫∫dW ds = h^{3/2} (Z + ζ/√3) / 2 where it is drawn."""


class SeededBrownian:
    """Normals keyed by (seed, chunk of steps), drawn on the CPU whatever the device.

    A chunk can be drawn again at any time, so that a backward pass replays the path without storing it.

    Args:
        seed: Seed of all paths.
        first_sample: Index of the first sample of this batch.
        shape: Shape of ΔW, (batch, ...).
        dtype: Dtype of the state.
        device: Device of the state.
        area: Whether ζ is wanted too.
    """

    def __init__(
        self,
        seed: int,
        first_sample: int,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        area: bool,
    ) -> None:
        self.seed, self.first_sample = seed, first_sample
        self.shape, self.dtype, self.device = tuple(shape), dtype, device
        self.area = area
        self._drawn = torch.float64 if dtype == torch.float64 else torch.float32
        self._generator = torch.Generator()
        self._chunk, self._numbers = -1, torch.empty(0)

    def normals(self, n: int) -> tuple[Tensor, Tensor | None]:
        """See `BrownianPath.normals`."""
        if n // CHUNK != self._chunk:
            self._draw(n // CHUNK)
        k = n % CHUNK
        return self._numbers[k], self._numbers[CHUNK + k] if self.area else None

    def _draw(self, chunk: int) -> None:
        batch, *rest = self.shape
        rows = CHUNK * (1 + self.area)
        size = rows * math.prod(rest)
        # an odd multiplier scatters neighbouring seeds and chunks over the generator's seeds
        self._generator.manual_seed((self.seed * 0x9E3779B97F4A7C15 + chunk * 0xBF58476D1CE4E5B9) & _MASK)
        if self.first_sample:
            torch.empty(self.first_sample * size, dtype=self._drawn).normal_(generator=self._generator)
        numbers = torch.empty(batch, rows, *rest, dtype=self._drawn).normal_(generator=self._generator)
        moved = numbers.transpose(0, 1).contiguous()
        self._numbers = moved.to(dtype=self.dtype).to(self.device, non_blocking=True)
        self._chunk = chunk


def draw_seed() -> int:
    """A seed from torch's default generator."""
    return int(torch.randint(_MASK, (1,)).item())
