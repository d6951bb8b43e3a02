"""Observed series as control paths are made from them: checked, with missing values filled in."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import SpecError


def check(x: Tensor, t: Tensor | None) -> tuple[Tensor, Tensor]:
    """Series and times, times in float64.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        t: Times, shape (n,) or (batch, n), never decreasing; 0, 1, … where None.

    Raises:
        SpecError: Wrong shape or dtype, fewer than two times, infinite values, or times that decrease.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim != 3:
        what = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise SpecError(f"a control is made from a floating-point tensor (batch, n, c), not {what}", "")
    n = x.shape[1]
    if n < 2:
        raise SpecError(f"a control needs two observation times, not {n}", "repeat the observation")
    if bool(torch.isinf(x).any()):
        raise SpecError("the series holds infinite values", "mark missing values with NaN")
    return x, _checked_times(x, t)


def _checked_times(x: Tensor, t: Tensor | None) -> Tensor:
    n = x.shape[1]
    if t is None:
        times = torch.arange(n, dtype=torch.float64, device=x.device)
    else:
        times = torch.as_tensor(t).to(dtype=torch.float64, device=x.device)
    if times.shape not in {(n,), (x.shape[0], n)}:
        raise SpecError(
            f"times of shape {tuple(times.shape)} for a series of shape {tuple(x.shape)}",
            f"pass ({n},) or ({x.shape[0]}, {n})",
        )
    if not bool(torch.isfinite(times).all()) or bool((times.diff(dim=-1) < 0).any()):
        raise SpecError("the times are not finite or decrease", "sort them; pad by repeating the last time")
    return times


def spread(times: Tensor) -> Tensor:
    """Times as (1 or batch, n, 1), to stand beside (batch, n, c)."""
    return (times if times.ndim == 2 else times.unsqueeze(0)).unsqueeze(-1)


def neighbours(seen: Tensor) -> tuple[Tensor, Tensor]:
    """For every place the last observed place at or before it, -1 for none, and the next one, n for none.

    Args:
        seen: Which values were observed, shape (batch, n, c).
    """
    n = seen.shape[1]
    places = torch.arange(n, device=seen.device).view(1, n, 1).expand_as(seen)
    before = torch.where(seen, places, -1).cummax(dim=1).values
    after = torch.where(seen, places, n).flip(1).cummin(dim=1).values.flip(1)
    return before, after


def fill_linear(x: Tensor, times: Tensor) -> Tensor:
    """Missing values by linear interpolation in time; constant before the first and after the last one seen.

    A channel without any observation becomes 0.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        times: Times, shape (n,) or (batch, n).
    """
    seen = ~torch.isnan(x)
    if bool(seen.all()):
        return x
    n = x.shape[1]
    values = torch.where(seen, x, 0.0)  # NaN must not meet a gradient
    before, after = neighbours(seen)
    first, last = before < 0, after >= n
    before = torch.where(first, after, before).clamp_max(n - 1)
    after = torch.where(last, before, after)
    at = spread(times).expand_as(x)
    left, right = at.gather(1, before), at.gather(1, after)
    span = right - left
    share = torch.where(span > 0, (at - left) / span.clamp_min(1e-300), 0.0).to(x.dtype)
    return torch.lerp(values.gather(1, before), values.gather(1, after), share)


def fill_forward(x: Tensor) -> Tensor:
    """Missing values by the last observation.

    Raises:
        SpecError: A channel begins with a missing value, which only a look ahead could fill.
    """
    seen = ~torch.isnan(x)
    if not bool(seen[:, 0].all()):
        raise SpecError(
            "a channel begins with a missing value, and filling it from later ones is not causal",
            "set it to a constant, such as the channel's mean in the training data",
        )
    before, _ = neighbours(seen)
    return torch.where(seen, x, 0.0).gather(1, before)
