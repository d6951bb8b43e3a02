"""The Euler–Maruyama method."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .counted import CountedSDE
from .solver import OneStepSDE


class EulerMaruyama(OneStepSDE):
    """Maruyama (1955): Itô, every noise type, strong order 1/2 (1 with additive noise), weak order 1."""

    strong_order: ClassVar[float | None] = 0.5
    noise_types: ClassVar[tuple[str, ...]] = ("diagonal", "scalar", "additive", "general")
    sde_types: ClassVar[tuple[str, ...]] = ("ito",)

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        drifted = torch.add(y, sde.f(t, y), alpha=h)
        return sde.add_noise(drifted, sde.g(t, y), dw)
