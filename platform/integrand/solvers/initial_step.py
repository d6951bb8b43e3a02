"""The first step of an adaptive solve."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .clock import times_tensor


@torch.no_grad()
def initial_step(
    field: Callable[[Tensor, Tensor], Tensor],
    t0: float,
    t1: float,
    y0: Tensor,
    f0: Tensor,
    order: int,
    rtol: float | Tensor,
    atol: float | Tensor,
    clock: torch.dtype | None = None,
) -> float:
    """Size of the first step; one evaluation of the field, which carries no graph.

    Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I (1993), II.4, with the trial Euler step
    kept inside the interval, so that a field given by data is never asked beyond its end.

    Args:
        field: Called as `field(t, y)`.
        t0: Start.
        t1: End of the interval, on either side of t0.
        y0: State at t0.
        f0: Field at (t0, y0).
        order: Order of the error estimate plus one.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        clock: Dtype of the times that the field is called with, the state's where None.

    Returns:
        Positive step size, at most |t1 - t0|; not a number where the field is not finite.
    """
    span = abs(t1 - t0)
    if isinstance(rtol, Tensor) or rtol:
        scale = torch.add(y0.abs(), atol / rtol).mul_(rtol)
    else:
        scale = torch.zeros_like(y0).add_(atol)
    root = math.sqrt(y0.numel())
    norms = torch.stack((torch.linalg.vector_norm(y0 / scale), torch.linalg.vector_norm(f0 / scale)))
    d0, d1 = (v / root for v in norms.tolist())
    if not math.isfinite(d0 + d1):
        d0, d1 = _wide_rms(y0, scale), _wide_rms(f0, scale)
        if not math.isfinite(d0 + d1):
            return math.nan
    h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, span)
    sign = 1.0 if t1 > t0 else -1.0
    trial = torch.add(y0, f0, alpha=sign * h0)
    time = times_tensor([t0 + sign * h0], clock or y0.dtype, y0.device)[0]
    f1 = field(time, trial)
    d2 = float(torch.linalg.vector_norm((f1 - f0) / scale)) / root / h0
    if not math.isfinite(d2):
        d2 = _wide_rms(f1 - f0, scale) / h0
        if not math.isfinite(d2):
            return math.nan
    steepest = max(d1, d2)
    h1 = max(1e-6, 1e-3 * h0) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / order)
    return min(100 * h0, h1, span)


def _wide_rms(x: Tensor, scale: Tensor) -> float:
    """The root mean square of x / scale where its squares leave the range of float32."""
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    ratio = x.to(wide) / scale.to(wide)
    largest = ratio.abs().max()
    norm = torch.linalg.vector_norm(ratio / largest.clamp_min(torch.finfo(wide).tiny)) * largest
    return float(norm) / math.sqrt(x.numel())
