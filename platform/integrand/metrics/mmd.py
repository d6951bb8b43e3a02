"""Maximum mean discrepancy with Gaussian kernels of several widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from integrand.errors import SpecError

WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.0)


def mmd2(a: Tensor, b: Tensor, widths: Sequence[float] = WIDTHS) -> float:
    """Unbiased estimate of MMD² (Gretton et al. 2012, eq. 3): about 0, of either sign, for equal laws.

    The kernel is the mean over the widths w of exp(−|x − y|²/2(ws)²), with s the root mean square distance of
    the points of `b` from their mean, so that widths mean the same on every data set. Where all of `b` are
    one point, s is that of the points of `a` from it; where all points are the same, the result is 0.

    Args:
        a: Samples, shape (n, …).
        b: Data, shape (m, …); its spread is the unit of the widths.
        widths: Widths w, positive.

    Raises:
        SpecError: Fewer than two points, different dimensions, or a value is not finite.
    """
    if a.shape[1:] != b.shape[1:] or min(len(a), len(b)) < 2:
        raise SpecError(
            f"cannot compare points of shapes {tuple(a.shape)} and {tuple(b.shape)}",
            "take two or more of both",
        )
    a, b = a.detach().double().flatten(1), b.detach().double().flatten(1)
    if not (bool(torch.isfinite(a).all()) and bool(torch.isfinite(b).all())):
        raise SpecError("a point to compare is not finite", "look at the sampler's solve")
    mean = b.mean(dim=0)
    # rounding of the mean is no spread
    rounding = b.shape[1] * (1e-14 * float(b.abs().max())) ** 2
    spreads = (float((x - mean).square().sum(dim=1).mean()) for x in (b, a))
    scale = next((s for s in spreads if s > rounding), 0.0)
    if not scale:
        return 0.0

    def mean_kernel(x: Tensor, y: Tensor, same: bool) -> float:
        squares = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        total = sum(float(torch.exp(-squares / (2 * scale * w * w)).sum()) for w in widths) / len(widths)
        # without the diagonal, whose kernel is 1
        return (total - len(x)) / (len(x) * (len(x) - 1)) if same else total / squares.numel()

    return mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
