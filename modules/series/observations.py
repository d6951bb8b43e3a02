"""What recurrent networks are told of each observation, and series put together, turned round and asked."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.series import Series
from integrand.spec import SeriesSpec


def told_size(spec: SeriesSpec, gaps: bool = True) -> int:
    """Numbers that `told` gives for each observation."""
    return 2 * spec.channels + spec.static + gaps


def told(x: Series, unit: float | None = None) -> Tensor:
    """Values, mask, static numbers and, where a unit is given, the gap: shape (batch, n, `told_size`).

    Args:
        x: The series; what is not observed is 0.
        unit: Unit of time in which the gap before each observation is told.
    """
    parts = [x.values, x.mask.to(x.values)]
    if x.static.shape[1]:
        parts.append(x.static[:, None].expand(-1, x.times.shape[1], -1))
    if unit is not None:
        parts.append((x.gaps / unit)[..., None])
    return torch.cat(parts, dim=-1)


def seen(x: Series) -> Tensor:
    """Whether anything was observed at each time, shape (batch, n), bool; nothing was where it is padded."""
    return x.mask.any(-1)


def truth(x: Series) -> Tensor:
    """The values, NaN where nothing was observed, shape (batch, n, channels)."""
    return x.values.masked_fill(~x.mask, torch.nan)


def unread(x: Series) -> Tensor:
    """`truth` of what can be forecast from what came before: all but the first observation."""
    values = truth(x)
    first = torch.arange(x.times.shape[1], device=values.device)[:, None] == 0
    return values.masked_fill(first, torch.nan)


def reverse(x: Series) -> Series:
    """The series from its last observation to its first; times decrease, padding stays behind."""
    n = x.times.shape[1]
    place = (x.lengths[:, None] - 1 - torch.arange(n, device=x.lengths.device)).clamp(min=0)
    wide = place[..., None].expand_as(x.values)
    mask = x.mask.gather(1, wide) & x.present[..., None]
    values = torch.where(mask, x.values.gather(1, wide), 0.0)
    return Series(x.times.gather(1, place), values, mask, x.lengths, x.static)


def rows(states: Tensor, place: Tensor) -> Tensor:
    """States at chosen observations of each series, shape (batch, q, …).

    Args:
        states: Shape (batch, n, width).
        place: Numbers of observations, shape (batch, q), int64.
    """
    return states.gather(1, place[..., None].expand(-1, -1, states.shape[-1]))
