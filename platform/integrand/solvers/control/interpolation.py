"""Control paths through observed series, as in torchcde, whole batches at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import SpecError

from .observations import check, fill_forward, fill_linear, spread
from .path import ControlPath
from .splines import natural_slopes


def linear_control(x: Tensor, t: Tensor | None = None) -> ControlPath:
    """Straight lines between observations; missing values lie on the line between their neighbours.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing; the time is one of the channels where the
            equation is to know it.
        t: Times, shape (n,) or (batch, n); 0, 1, … where None. A shorter series repeats its last row.

    Raises:
        SpecError: Wrong shapes or times.
    """
    x, times = check(x, t)
    values = fill_linear(x, times).transpose(0, 1)
    return ControlPath(times, values[:-1], (values.diff(dim=0),))


def rectilinear_control(x: Tensor, time_channel: int) -> ControlPath:
    """First the time goes on, then the values jump: causal, nothing before an observation depends on it.

    Missing values take the last observation. The path has 2n - 1 knots at 0, 1, …, 2n - 2; its n-th
    observation arrives at knot 2n - 2.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        time_channel: The channel that holds the time.

    Raises:
        SpecError: No such channel, missing times, or a channel that begins with a missing value.
    """
    x, _ = check(x, None)
    if not -x.shape[2] <= time_channel < x.shape[2]:
        raise SpecError(
            f"time_channel={time_channel} of {x.shape[2]} channels", "name the channel of the time"
        )
    if bool(torch.isnan(x[..., time_channel]).any()):
        raise SpecError("the time channel has missing values", "pad by repeating the last row")
    filled = fill_forward(x)
    ahead = filled[:, :-1].clone()
    ahead[..., time_channel] = filled[:, 1:, time_channel]
    knots = torch.stack((filled[:, :-1], ahead), dim=2).flatten(1, 2)
    return linear_control(torch.cat((knots, filled[:, -1:]), dim=1))


def hermite_control(x: Tensor, t: Tensor | None = None) -> ControlPath:
    """Cubic Hermite with backward differences: once differentiable, and ahead by one observation only.

    Morrill, Kidger, Yang, Lyons (2021), Neural controlled differential equations for online prediction
    tasks; slopes at a knot are those of the straight line that ends there. Missing values are filled as in
    `linear_control` first.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        t: Times, shape (n,) or (batch, n); 0, 1, … where None. A shorter series repeats its last row.

    Raises:
        SpecError: Wrong shapes or times, or equal times before the end of a series.
    """
    x, times = check(x, t)
    h = _lengths(times)
    values = fill_linear(x, times).transpose(0, 1)
    rise = values.diff(dim=0)
    # the slope before, per unit of s of this interval; the padding behind a series stands still
    ratio = torch.where(h[:-1] > 0, h[1:] / h[:-1].clamp_min(1e-300), 0.0).to(x.dtype)
    before = torch.cat((rise[:1], rise[:-1] * ratio))
    bend = rise - before
    return ControlPath(times, values[:-1], (before, 4 * bend, -3 * bend))


def natural_cubic_control(x: Tensor, t: Tensor | None = None) -> ControlPath:
    """Natural cubic spline: twice differentiable, X'' = 0 at both ends; every value depends on all others.

    A channel is a spline through its own observations; before the first and after the last it is constant,
    with a knot at every time there.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        t: Times, shape (n,) or (batch, n); 0, 1, … where None. A shorter series repeats its last row.

    Raises:
        SpecError: Wrong shapes or times, or equal times before the end of a series.
    """
    x, times = check(x, t)
    _lengths(times)
    starts, slopes = natural_slopes(x, spread(times))
    return ControlPath(times, starts, slopes)


def _lengths(times: Tensor) -> Tensor:
    """Lengths of the intervals, shape (n - 1, 1 or batch, 1); zeros only behind the end of a series."""
    h = times.diff(dim=-1)
    if bool(((h[..., :-1] == 0) & (h[..., 1:] > 0)).any()) or bool((h[..., 0] == 0).any()):
        raise SpecError(
            "two observations of a cubic path have the same time", "merge them, or use linear_control"
        )
    return spread(h).transpose(0, 1)
