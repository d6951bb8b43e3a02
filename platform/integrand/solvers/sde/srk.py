"""Rößler's stochastic Runge–Kutta methods of strong order 1.5."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .counted import CountedSDE
from .solver import OneStepSDE


class SRK(OneStepSDE):
    """Rößler (2010): Itô, strong order 1.5; SRI with diagonal or scalar, SRA1 with additive noise.

    Three drift and four diffusion evaluations per step with diagonal or scalar noise, two and two with
    additive noise.
    """

    strong_order: ClassVar[float | None] = 1.5
    weak_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ("diagonal", "scalar", "additive")
    sde_types: ClassVar[tuple[str, ...]] = ("ito",)
    area: ClassVar[bool] = True

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        assert area is not None
        # ΔW = √h z, ∫∫dW ds / h = √h mean
        z = dw / math.sqrt(h)
        mean = z / 2 + area / math.sqrt(h)
        return (_sri if sde.elementwise else _sra)(sde, t, h, y, z, mean)


def _sri(sde: CountedSDE, t: Tensor, h: float, y: Tensor, z: Tensor, mean: Tensor) -> Tensor:
    """SRID2 of Rößler (2010), table 5.2; with √h taken out of all integrals."""
    root = math.sqrt(h)
    f1, g1 = sde.f(t, y), sde.g(t, y)
    drifted = torch.add(y, f1, alpha=h / 4)
    g2 = sde.g(t + h / 4, torch.add(drifted, g1, alpha=-root / 2))
    f2 = sde.f(t + h, torch.add(y, f1, alpha=h))
    g3 = sde.g(t + h, torch.add(torch.add(y, f1, alpha=h), g1, alpha=root))
    middle = torch.add(drifted, f2, alpha=h / 4).addcmul(g1 + g2 / 2, mean, value=root)
    f3 = sde.f(t + h / 2, middle)
    g4 = sde.g(t + h / 4, torch.add(torch.add(y, f3, alpha=h / 4), 2 * g1 - g2 + g3 / 2, alpha=root))
    double = (z * z - 1) / 2
    triple = (z * z - 3) * z / 6
    weights = (
        -z + double + 2 * mean - 2 * triple,
        4 / 3 * (z - double - mean) + 5 / 3 * triple,
        2 / 3 * (z - mean - triple) + double / 3,
        triple,
    )
    end = torch.add(y, f1 / 6 + f2 / 6 + f3 * (2 / 3), alpha=h)
    for weight, g in zip(weights, (g1, g2, g3, g4), strict=True):
        end = end.addcmul(g, weight, value=root)
    return end


def _sra(sde: CountedSDE, t: Tensor, h: float, y: Tensor, z: Tensor, mean: Tensor) -> Tensor:
    """SRA1 of Rößler (2010), section 6.3."""
    root = math.sqrt(h)
    f1, g_start = sde.f(t, y), sde.g(t, y)
    g_end = sde.g(t + h, y)
    inner = sde.add_noise(torch.add(y, f1, alpha=0.75 * h), g_end, mean, 1.5 * root)
    f2 = sde.f(t + 0.75 * h, inner)
    end = torch.add(torch.add(y, f1, alpha=h / 3), f2, alpha=2 * h / 3)
    end = sde.add_noise(end, g_end, z - mean, root)
    return sde.add_noise(end, g_start, mean, root)
