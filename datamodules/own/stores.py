"""Samples that are read when a batch asks for them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..images.loading import Inputs
from .answers import Rows
from .pictures import Fit, damaged, pixels

KEPT = 1 << 29
"""Bytes of decoded images that are kept; of a larger set every image is decoded each time."""
_BLOCK = 1 << 24  # bytes of an array that are looked at together
_CPU = torch.device("cpu")


class LazyImages:
    """Images that are opened, resized and cut when they are asked for; kept if all of them fit.

    Args:
        names: What errors call each image.
        opened: Opens an image by its row.
        channels: 1 for grey, 3 for RGB.
        side: Height and width, in pixels.
        fit: How other shapes become square.
    """

    device = _CPU

    def __init__(
        self, names: Sequence[str], opened: Callable[[int], Image.Image], channels: int, side: int, fit: Fit
    ) -> None:
        self.names, self.opened, self.fit = names, opened, fit
        self.shape: Sequence[int] = (len(names), channels, side, side)
        keep = int(np.prod(self.shape)) <= KEPT
        # pages are taken as they are written
        self._kept = torch.empty(tuple(self.shape), dtype=torch.uint8) if keep else None
        self._known = torch.zeros(len(names), dtype=torch.bool)

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """uint8, shape (B, channels, side, side).

        Raises:
            UsageError: An image is damaged; it is named.
        """
        rows = index.tolist()
        if self._kept is None:
            return torch.stack([self._decoded(i) for i in rows])
        for i in rows:
            if not self._known[i]:
                self._kept[i] = self._decoded(i)
                self._known[i] = True
        return self._kept.index_select(0, index)

    def _decoded(self, row: int) -> Tensor:
        _, channels, side, _ = self.shape
        with damaged(self.names[row]):
            return torch.from_numpy(pixels(self.opened(row), channels, side, self.fit))


class Stacked:
    """Arrays one after the other, each left where it lies.

    Args:
        pieces: Shape (n_i, …) each.
    """

    def __init__(self, pieces: Sequence[npt.NDArray[Any]]) -> None:
        self.pieces = pieces
        self.ends = np.cumsum([len(piece) for piece in pieces])
        self.shape: tuple[int, ...] = (int(self.ends[-1]), *pieces[0].shape[1:])
        self.dtype = np.result_type(*pieces)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Rows) -> npt.NDArray[Any]:
        """Some rows, shape (B, …)."""
        at = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        found = np.empty((len(at), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.ends, at, side="right")
        for i, piece in enumerate(self.pieces):
            here = which == i
            found[here] = piece[at[here] - (self.ends[i] - len(piece))]
        return found


class ArrayRows:
    """Rows of an array, which may lie on disk.

    Args:
        array: Shape (n, …), numbers.
        shape: Shape of all samples so arranged.
        arranged: Takes some rows to how a batch holds them, (B, C, …).
    """

    device = _CPU

    def __init__(
        self,
        array: npt.NDArray[Any] | Stacked,
        shape: Sequence[int],
        arranged: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda rows: rows,
    ) -> None:
        self.array, self.shape, self.arranged = array, shape, arranged

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """The rows as they are stored, uint8 or float32."""
        return torch.from_numpy(np.ascontiguousarray(self.arranged(self.array[index.numpy()])))


class Part:
    """The samples of one split.

    Args:
        inputs: All samples.
        rows: Those of the split.
    """

    def __init__(self, inputs: Inputs, rows: Rows) -> None:
        self.inputs, self.rows = inputs, torch.from_numpy(rows)

    @property
    def shape(self) -> Sequence[int]:
        """See `Inputs`."""
        return (len(self.rows), *self.inputs.shape[1:])

    @property
    def device(self) -> torch.device:
        """See `Inputs`."""
        return self.inputs.device

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """See `Inputs`."""
        return self.inputs.index_select(0, self.rows.index_select(0, index))


def blocks(inputs: Inputs, rows: Rows) -> Iterator[Tensor]:
    """Samples in blocks of bounded size, float64 (B, C, …).

    Args:
        inputs: All samples.
        rows: Those wanted.
    """
    size = max(1, _BLOCK // (8 * int(np.prod(inputs.shape[1:]))))
    for start in range(0, len(rows), size):
        yield inputs.index_select(0, torch.from_numpy(rows[start : start + size])).double()


def moments(inputs: Inputs, rows: Rows) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel over some samples; a deviation of 0 where nothing varies."""
    count, mean, square = 0, torch.zeros(inputs.shape[1]).double(), torch.zeros(inputs.shape[1]).double()
    for block in blocks(inputs, rows):
        flat = block.transpose(0, 1).flatten(1)
        n = flat.shape[1]
        # Chan, Golub and LeVeque (1983), updating formulae: no difference of large squares
        delta = flat.mean(dim=1) - mean
        square += flat.var(dim=1, correction=0) * n + delta**2 * (count * n / (count + n))
        mean += delta * (n / (count + n))
        count += n
    return mean.tolist(), (square / max(1, count)).sqrt().tolist()
