"""Random numbers of samplers: a sample's numbers depend on the seed and its index only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import torch
from torch import Tensor

CHUNK = 16
"""Tensors drawn together. torch fills CPU tensors of normals in groups of 16 values: with multiples of 16 for
each sample, a sample's values do not depend on how many samples follow it."""

_MASK = 2**63 - 1


class Stream(IntEnum):
    """Independent sequences of numbers of one seed."""

    PRIOR = 0
    STEP = 1
    CORRECTOR = 2
    CHURN = 3
    PROBE = 4
    JUMP = 5
    KNOWN = 6


_SINGLE = (Stream.PRIOR, Stream.PROBE)
"""Streams of which a run draws one tensor or few."""


class Noise(Protocol):
    """Standard normal numbers for a batch of samples."""

    def normals(self, n: int, stream: Stream = Stream.STEP) -> Tensor:
        """The n-th tensor of a stream, shape (batch, ...); the same at every call."""


class SampleNoise:
    """Normals keyed by (seed, stream, n, sample), the same whatever the batch size or number of devices.

    Samples are drawn in blocks of fixed size with one CPU generator each, and a batch cuts its part out of
    the blocks it touches, so that no numbers of earlier samples need to be skipped.

    Args:
        seed: Seed of all samples.
        shape: Shape of the batch, (batch, ...).
        first_sample: Index of the batch's first sample among all samples of the seed.
        dtype: Dtype of the state.
        device: Device of the state.
    """

    def __init__(
        self,
        seed: int,
        shape: Sequence[int],
        first_sample: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.seed, self.shape, self.first_sample = seed, tuple(shape), first_sample
        self.dtype, self.device = dtype, torch.device(device)
        batch, *rest = self.shape
        self.block = block_size(rest)
        first, last = first_sample // self.block, max(first_sample, first_sample + batch - 1) // self.block
        self._blocks = range(first, last + 1)
        self._start = first_sample - first * self.block
        self._paths: dict[Stream, list[_Chunks]] = {}

    def normals(self, n: int, stream: Stream = Stream.STEP) -> Tensor:
        """See `Noise.normals`."""
        paths = self._paths.get(stream)
        if paths is None:
            paths = self._paths[stream] = [self._path(b, stream) for b in self._blocks]
        if stream in _SINGLE:
            # a path always draws CHUNK rows: here they are samples, where for steps they are steps ahead
            parts = [path.normals(CHUNK * n + k) for path in paths for k in range(CHUNK)]
        else:
            parts = [path.normals(n) for path in paths]
        drawn = parts[0] if len(parts) == 1 else torch.cat(parts)
        return drawn[self._start : self._start + self.shape[0]].to(self.device, non_blocking=True)

    def _path(self, block: int, stream: Stream) -> _Chunks:
        # odd multipliers scatter neighbouring seeds, blocks and streams over the generator's seeds
        key = self.seed * 0x9E3779B97F4A7C15 + block * 0xD6E8FEB86659FD93 + (stream + 1) * 0xCA5A826395121157
        shape = (self.block // CHUNK if stream in _SINGLE else self.block, *self.shape[1:])
        return _Chunks(key & _MASK, shape, self.dtype)


class _Chunks:
    """Normals keyed by (seed, chunk of tensors), drawn on the CPU; the last chunk is kept."""

    def __init__(self, seed: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.seed, self.shape, self.dtype = seed, tuple(shape), dtype
        self._drawn = torch.float64 if dtype == torch.float64 else torch.float32
        self._generator = torch.Generator()
        self._chunk, self._numbers = -1, torch.empty(0)

    def normals(self, n: int) -> Tensor:
        """The n-th tensor, shape (batch, ...)."""
        if n // CHUNK != self._chunk:
            self._draw(n // CHUNK)
        return self._numbers[n % CHUNK]

    def _draw(self, chunk: int) -> None:
        batch, *rest = self.shape
        self._generator.manual_seed((self.seed * 0x9E3779B97F4A7C15 + chunk * 0xBF58476D1CE4E5B9) & _MASK)
        numbers = torch.empty(batch, CHUNK, *rest, dtype=self._drawn).normal_(generator=self._generator)
        self._numbers, self._chunk = numbers.transpose(0, 1).contiguous().to(self.dtype), chunk


def block_size(shape: Sequence[int]) -> int:
    """Samples drawn together for samples of the given shape: many small ones, or few large ones."""
    fitting = 4096 // max(1, math.prod(shape))
    return int(max(CHUNK, 1 << max(0, fitting.bit_length() - 1)))
