"""Inpainting and super-resolution without training: what is known replaces what is predicted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from integrand.errors import UsageError

from .constraints import DataConstraint


class KnownPixels(DataConstraint):
    """Inpainting: x̂_0 ← m y + (1 − m) x̂_0 (Wang et al. 2023, DDNM, Eq. 13, with A a mask).

    With a grid that ends at the data the known values come out exactly.

    Args:
        values: y, shape of a sample or of the batch.
        mask: m, 1 where y is known; broadcast against it.
    """

    def __init__(self, values: Tensor, mask: Tensor) -> None:
        self.values, self.mask = values, mask

    def __call__(self, x0: Tensor) -> Tensor:
        """See `DataConstraint`."""
        return torch.lerp(x0, self.values.to(x0).expand_as(x0), self.mask.to(x0).expand_as(x0))


class KnownAverage(DataConstraint):
    """Super-resolution: x̂_0 ← x̂_0 + up(y − mean(x̂_0)) over squares (Wang et al. 2023, DDNM, Eq. 13).

    Args:
        values: y, the small images, shape (channels, h, w) or (batch, channels, h, w).
        factor: Side of a square.

    Raises:
        UsageError: The factor is below 2.
    """

    def __init__(self, values: Tensor, factor: int) -> None:
        if factor < 2:
            raise UsageError(f"factor={factor} enlarges nothing", "take 2 or more")
        self.values, self.factor = values, factor

    def __call__(self, x0: Tensor) -> Tensor:
        """See `DataConstraint`.

        Raises:
            UsageError: The small images do not belong to images of this size.
        """
        small = F.avg_pool2d(x0, self.factor)
        values = self.values.to(x0)
        if values.shape[-3:] != small.shape[-3:] or x0.shape[-1] % self.factor or x0.shape[-2] % self.factor:
            raise UsageError(
                f"images {tuple(x0.shape[1:])} have no averages {tuple(values.shape[-3:])} by {self.factor}",
                "the factor times the small side is the large one",
            )
        gap = values - small
        return x0 + gap.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
