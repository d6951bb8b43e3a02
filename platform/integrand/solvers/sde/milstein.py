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

    One drift and two diffusion evaluations per step in Itô's sense, three in Stratonovich's. Follows the
    equation's own sde_type.
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
        # √h g g′, without the drift
        ahead = sde.g(t, torch.add(y, g, alpha=root))
        if sde.sde.sde_type == "ito":
            # the error of a one-sided difference, h g² g″ / 2, meets a factor of mean zero
            slope, double = ahead - g, z * z - 1
        else:
            # here the factor has mean one: the same error would leave a bias of order h^{3/2} per step
            slope, double = (ahead - sde.g(t, torch.add(y, g, alpha=-root))) / 2, z * z
        return drifted.addcmul(g, z, value=root).addcmul(slope, double, value=root / 2)
