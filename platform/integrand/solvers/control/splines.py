"""Natural cubic splines through series with missing values, all series at once."""

from __future__ import annotations

import torch
from torch import Tensor

from .observations import neighbours


def natural_slopes(x: Tensor, times: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Values and coefficients of dX/ds on every interval of `times`.

    Every series has its own knots, those where it was observed; they are moved to the front, the tridiagonal
    systems of all series are solved side by side, and the pieces are shifted to the intervals of `times`.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing.
        times: Times, shape (1 or batch, n, 1), float64; equal times only behind the end of a series.

    Returns:
        X at the left ends and (b, 2c, 3d) of dX/ds = b + s (2c + 3d s), each (n - 1, batch, c), dtype of x.
    """
    at = times.expand_as(x).transpose(0, 1)
    values, seen = (y.transpose(0, 1) for y in _hold_ends(x))
    # of the equal times behind the end of a series the last one is its knot
    seen = seen & torch.cat((at.diff(dim=0) > 0, torch.ones_like(seen[:1])))
    order = torch.argsort((~seen).to(torch.int8), dim=0, stable=True)
    number = seen.sum(dim=0, keepdim=True)
    order = torch.where(_places(order) < number, order, order.gather(0, number - 1))
    tau, v = at.gather(0, order), values.to(torch.float64).gather(0, order)
    pieces = _pieces(tau, v, number)
    # the piece that holds each interval
    holds = torch.minimum(seen.cumsum(dim=0)[:-1], number - 1).clamp_min(1) - 1
    v0, b0, c0, d0, left = (y.gather(0, holds) for y in (v, *pieces, tau))
    o, h = at[:-1] - left, at.diff(dim=0)
    start = v0 + o * (b0 + o * (c0 + o * d0))
    b = (b0 + o * (2 * c0 + o * 3 * d0)) * h
    c = (c0 + 3 * d0 * o) * h**2
    d = d0 * h**3
    return start.to(x.dtype), (b.to(x.dtype), (2 * c).to(x.dtype), (3 * d).to(x.dtype))


def _hold_ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """The series held constant beyond its observations, and what counts as observed; 0 where nothing was."""
    seen = ~torch.isnan(x)
    n = x.shape[1]
    values = torch.where(seen, x, 0.0)
    before, after = neighbours(seen)
    outside = (before < 0) | (after >= n)
    source = torch.where(before < 0, after, before).clamp(0, n - 1)
    return torch.where(seen, values, values.gather(1, source)), seen | outside


def _pieces(tau: Tensor, v: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """b, c, d of v + b u + c u² + d u³ behind every knot, by the second derivatives M at the knots.

    de Boor, A Practical Guide to Splines (1978), chapter IV; M is 0 at the ends and behind them.
    """
    h = tau.diff(dim=0)
    inverse = torch.where(h > 0, 1 / h.clamp_min(1e-300), 0.0)
    steep = v.diff(dim=0) * inverse
    inner = (_places(v) > 0) & (_places(v) < number - 1)
    pad = torch.zeros_like(v[:1])
    below, above = torch.cat((pad, h)), torch.cat((h, pad))
    diagonal = torch.where(inner, 2 * (below + above), 1.0)
    right = torch.where(inner, 6 * (torch.cat((steep, pad)) - torch.cat((pad, steep))), 0.0)
    m = _tridiagonal(torch.where(inner, below, 0.0), diagonal, torch.where(inner, above, 0.0), right)
    b = steep - h * (2 * m[:-1] + m[1:]) / 6
    return b, m[:-1] / 2, m.diff(dim=0) * inverse / 6


def _tridiagonal(below: Tensor, diagonal: Tensor, above: Tensor, right: Tensor) -> Tensor:
    """Thomas's elimination along the first dimension; stable, since the diagonal dominates."""
    ratios, sums = [above[0] / diagonal[0]], [right[0] / diagonal[0]]
    for i in range(1, len(right)):
        pivot = diagonal[i] - below[i] * ratios[-1]
        ratios.append(above[i] / pivot)
        sums.append((right[i] - below[i] * sums[-1]) / pivot)
    solution = [sums[-1]]
    for i in range(len(right) - 2, -1, -1):
        solution.append(sums[i] - ratios[i] * solution[-1])
    return torch.stack(solution[::-1])


def _places(x: Tensor) -> Tensor:
    return torch.arange(len(x), device=x.device).view(-1, 1, 1)
