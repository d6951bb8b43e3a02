"""Milstein's method without derivatives."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .counted import CountedSDE
from .solver import OneStepSDE


class Milstein(OneStepSDE):
    """Milstein (1975) without derivatives, Kloeden, Platen (1992), 11.1: diagonal noise, strong order 1.

    One drift and two diffusion evaluations per step in Itô's sense, three in Stratonovich's. Follows the
    equation's own sde_type.
    """

    strong_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ("diagonal",)
    sde_types: ClassVar[tuple[str, ...]] = ("ito", "stratonovich")

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        root = math.sqrt(h)
        f, g = sde.f(t, y), sde.g(t, y)
        drifted = torch.add(y, f, alpha=h)
        # √h g g′, without the drift
        ahead = sde.g(t, torch.add(y, g, alpha=root))
        if sde.sde_type == "ito":
            # the error of a one-sided difference, h g² g″ / 2, meets a factor of mean zero
            slope, double = ahead - g, dw * dw - h
        else:
            # here the factor has mean h: the same error would leave a bias of order h^{3/2} per step
            slope, double = (ahead - sde.g(t, torch.add(y, g, alpha=-root))) / 2, dw * dw
        return drifted.addcmul(g, dw).addcmul(slope, double, value=0.5 / root)
