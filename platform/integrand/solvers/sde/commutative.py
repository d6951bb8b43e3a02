"""Whether the columns of a diffusion commute."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SolverOptionError
from .counted import CountedSDE

TOLERANCE = 1e-2
"""Relative mismatch from which columns are said not to commute; differences leave 1e-4 in float32."""


@torch.no_grad()
def require_commutative(sde: CountedSDE, t: Tensor, y: Tensor) -> None:
    """Refuse noise whose columns do not commute at y, by central differences along each.

    Without the condition (∂gᵢ/∂y) gⱼ = (∂gⱼ/∂y) gᵢ (Kloeden, Platen 1992, 10.3.13) the double integrals of a
    step do not follow from its increments.

    Raises:
        SolverOptionError: The declared noise_type is commutative and the noise is not.
    """
    g = sde.g(t, y)
    small = torch.finfo(y.dtype).eps ** (1 / 3) * max(1.0, float(y.abs().max()))
    derivatives = []
    for column in g.unbind(-1):
        size = small / max(float(column.abs().max()), 1e-30)
        ahead, behind = sde.g(t, y + size * column), sde.g(t, y - size * column)
        derivatives.append((ahead - behind) / (2 * size))
    table = torch.stack(derivatives, -1)
    mismatch = float((table - table.transpose(-1, -2)).abs().max())
    largest = float(table.abs().max())
    if mismatch > TOLERANCE * largest:
        raise SolverOptionError(
            f"noise declared commutative is not: (∂gᵢ/∂y) gⱼ and (∂gⱼ/∂y) gᵢ differ by {mismatch:.3g} of"
            f" {largest:.3g} at the initial state",
            "declare noise_type general and use EulerMaruyama or a Stratonovich method",
        )
