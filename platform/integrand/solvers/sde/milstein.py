"""Milstein's method without derivatives."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .counted import CountedSDE
from .solver import FixedStepSDE


class Milstein(FixedStepSDE):
    """Milstein (1975) without derivatives, Kloeden, Platen (1992), 11.1: diagonal noise, strong order 1.

    One drift and two diffusion evaluations per step. Follows the equation's own sde_type.
    """

    strong_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ("diagonal",)
    sde_types: ClassVar[tuple[str, ...]] = ("ito", "stratonovich")

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, z: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `FixedStepSDE.step`."""
        root = math.sqrt(h)
        g = sde.g(t, y)
        drifted = torch.add(y, sde.f(t, y), alpha=h)
        # without the drift, which Stratonovich's z² would turn into a bias of order h^{3/2}
        slope = sde.g(t, torch.add(y, g, alpha=root)) - g
        # (ΔW² - h) / 2√h for Itô; Stratonovich's double integral has no -h
        double = z * z - 1 if sde.sde.sde_type == "ito" else z * z
        return drifted.addcmul(g, z, value=root).addcmul(slope, double, value=root / 2)
