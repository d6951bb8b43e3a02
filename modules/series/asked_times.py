"""Times that are asked for, as observations of nothing among those of a series."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.series import Series


def with_times(x: Series, times: Tensor) -> tuple[Series, Tensor]:
    """The series with further times at which nothing was observed, and where they are found in it.

    A reader that steps from observation to observation then has a state at every time asked for. Equal times
    become one observation; values of one channel at one time their mean.

    Args:
        x: The series.
        times: Times asked for, shape (batch, q).

    Returns:
        The series, and the number of the observation of each time, shape (batch, q), int64.
    """
    everything = torch.cat((x.times, times), dim=1)
    ordered, order = everything.sort(dim=1, stable=True)
    fresh = torch.cat((torch.ones_like(ordered[:, :1]), ordered.diff(dim=1)), dim=1) > 0
    number = fresh.cumsum(dim=1) - 1
    places = torch.empty_like(order).scatter_(1, order, number)
    lengths = number[:, -1] + 1
    # behind the last one the last time is repeated
    merged = ordered[:, -1:].expand_as(ordered).scatter(1, places, everything)
    at = places[:, : x.times.shape[1], None].expand_as(x.values)
    shape = (*ordered.shape, x.values.shape[-1])
    seen = torch.zeros(shape, dtype=torch.int64, device=at.device).scatter_add(1, at, x.mask.long())
    total = x.values.new_zeros(shape).scatter_add(1, at, x.values * x.mask)
    n = int(lengths.max())
    merged_series = Series(
        merged[:, :n], (total / seen.clamp_min(1))[:, :n], (seen > 0)[:, :n], lengths, x.static
    )
    return merged_series, places[:, x.times.shape[1] :]
