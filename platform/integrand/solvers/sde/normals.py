"""Standard normal numbers keyed by seed, place and sample, so that they can be drawn again at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GROUP = 16
"""torch fills CPU tensors of normals in groups of 16 values: with a multiple of 16 for each sample, the first
numbers of a draw do not depend on how many follow."""

_MASK = 2**64 - 1
_SEED = 2**63 - 1


def mix(*key: int) -> int:
    """A generator seed of 32 bits that depends on every bit of the key.

    torch's CPU generator takes no more than the low 32 bits of a seed. The mixing is splitmix64's (Steele,
    Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators).
    """
    state = 0
    for part in key:
        state = (state ^ part) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 32


def draw_seed() -> int:
    """A seed from torch's default generator."""
    return int(torch.randint(_SEED, (1,)).item())


class KeyedNormals:
    """Normals for samples first_sample, first_sample + 1, … of a seed, drawn on the CPU whatever the device.

    Samples are drawn in blocks of fixed size, each with a generator of its own, so that a sample's numbers
    depend neither on the batch nor on the samples before it, and far samples cost no more than near ones.
    They are drawn in float32, the same for every dtype.

    Args:
        seed: Seed of all samples.
        first_sample: Index of the first sample of this batch.
        shape: Shape of a draw, (batch, ...).
    """

    def __init__(self, seed: int, first_sample: int, shape: Sequence[int]) -> None:
        self.seed = seed
        batch, *self._rest = shape
        self._size = math.prod(self._rest)
        # many small samples to a block, or 64 large ones
        block = max(64, 1 << max(1, 2048 // max(1, self._size)).bit_length() - 1)
        # block, its first and last sample in this batch
        self._parts = [
            (b, max(first_sample - b * block, 0), min(first_sample + batch - b * block, block))
            for b in range(first_sample // block, (first_sample + batch - 1) // block + 1)
        ]
        self._generator = torch.Generator()
        self._scratch = torch.empty(0)

    def fill(self, out: Tensor, rows: int, std: float, *place: int) -> None:
        """Fill `out` with the first numbers of a place; the same at every call.

        Args:
            out: Shape (n, batch, ...), n ≤ rows.
            rows: Rows that the place has.
            std: Standard deviation.
            *place: What the numbers are keyed by, beside seed and sample.
        """
        used = rows * self._size
        width = -(-used // GROUP) * GROUP
        done = 0
        for block, start, stop in self._parts:
            # one buffer for all: fresh memory of this size costs more than the numbers
            if stop * width > len(self._scratch):
                # kept over solves: it must not become an inference tensor, which only inference may change
                with torch.inference_mode(False):
                    self._scratch = torch.empty(stop * width)
            self._generator.manual_seed(mix(self.seed, block, *place))
            drawn = self._scratch[: stop * width].normal_(0, std, generator=self._generator)
            samples = drawn.view(stop, width)[start:, :used].view(stop - start, rows, *self._rest)
            out[:, done : done + stop - start].copy_(samples.transpose(0, 1)[: len(out)])
            done += stop - start
