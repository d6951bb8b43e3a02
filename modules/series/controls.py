"""Series as control paths: the time, the values, and where values are missing how many were seen."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.series import Series
from integrand.solvers import (
    ControlPath,
    hermite_control,
    linear_control,
    natural_cubic_control,
    rectilinear_control,
)
from integrand.spec import SeriesSpec

Interpolation = Literal["hermite", "linear", "natural_cubic", "rectilinear"]
_PATHS = {
    "hermite": hermite_control,
    "linear": linear_control,
    "natural_cubic": natural_cubic_control,
}


class Observed:
    """The rows that a path is drawn through: (time, values, counts), NaN where a value is missing.

    Time counts from the first observation, in units of what the longest series lasts at the median gap.
    Counts say how many values of a channel were seen so far, over the longest length: Kidger et al. 2020's
    observational intensity, which tells the path of what is missing.

    Args:
        spec: What the data set publishes.
        counts: Whether the counts are there; where None, if values may be missing.
    """

    def __init__(self, spec: SeriesSpec, counts: bool | None = None) -> None:
        self.counts = spec.missing if counts is None else counts
        self.unit = spec.step * max(spec.length - 1, 1)
        self.length = spec.length
        self.channels = 1 + spec.channels * (1 + int(self.counts))

    def rows(self, x: Series) -> Tensor:
        """Shape (batch, n, channels), n 2 or more, in the dtype of the values."""
        values = x.values.masked_fill(~x.mask, torch.nan)
        passed = ((x.times - x.times[:, :1]) / self.unit).to(values.dtype)
        parts = [passed.unsqueeze(-1), values]
        if self.counts:
            parts.append(x.mask.cumsum(dim=1).to(values.dtype) / self.length)
        rows = torch.cat(parts, dim=-1)
        return torch.cat((rows, rows), dim=1) if rows.shape[1] == 1 else rows

    def filled(self, x: Series) -> Tensor:
        """The rows with missing values on the straight lines between their neighbours."""
        path = linear_control(self.rows(x), self.knots(x))
        return torch.cat((path.starts, path.starts[-1:] + path.slopes[0][-1:])).transpose(0, 1)

    def knots(self, x: Series) -> Tensor:
        """Times of the rows, shape (batch, n), float64.

        A path has to last; that of a single observation stands still over knots that do.
        """
        times = x.times.expand(-1, max(x.times.shape[1], 2))
        alone = (x.lengths == 1)[:, None]
        return torch.where(alone, times[:, :1] + torch.arange(times.shape[1], device=times.device), times)


class SeriesControl:
    """Makes the control path of a batch of series; see `Observed` for its channels.

    Padding adds intervals on which the path stands still.

    Args:
        spec: What the data set publishes.
        interpolation: Which path; `rectilinear` is the only one that knows nothing of later observations.
        counts: See `Observed`.

    Raises:
        UsageError: There is no such path.
    """

    def __init__(self, spec: SeriesSpec, interpolation: Interpolation, counts: bool | None = None) -> None:
        if interpolation not in (*_PATHS, "rectilinear"):
            raise UsageError(
                f"unknown interpolation {interpolation!r}",
                f"set model.interpolation to {', '.join(_PATHS)} or rectilinear",
            )
        self.interpolation = interpolation
        self.observed = Observed(spec, counts)

    @property
    def channels(self) -> int:
        """Channels of the path."""
        return self.observed.channels

    @property
    def knots_per_gap(self) -> int:
        """Knot number `i · knots_per_gap` is that of observation i."""
        return 2 if self.interpolation == "rectilinear" else 1

    def __call__(self, x: Series) -> ControlPath:
        """The path of each series, in the dtype of the values."""
        rows = self.observed.rows(x)
        if self.interpolation == "rectilinear":
            # a channel that begins with a missing value begins at 0, which knows nothing of later ones
            first = rows[:, :1].nan_to_num(nan=0.0)
            return rectilinear_control(torch.cat((first, rows[:, 1:]), dim=1), time_channel=0)
        return _PATHS[self.interpolation](rows, self.observed.knots(x))
