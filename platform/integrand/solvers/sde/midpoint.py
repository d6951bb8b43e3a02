"""The midpoint method for Stratonovich equations."""

from __future__ import annotations

import torch
from torch import Tensor

from .counted import CountedSDE
from .stratonovich import StratonovichStep


class StratonovichMidpoint(StratonovichStep):
    """Explicit midpoint: Stratonovich; strong order 1 with commuting noise, else 1/2.

    Two drift and two diffusion evaluations per step; order 2 where the noise vanishes (Kloeden, Platen 1992,
    11.1; Burrage, Burrage 1996).
    """

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        f, g = sde.f(t, y), sde.g(t, y)
        middle = sde.add_noise(torch.add(y, f, alpha=h / 2), g, dw, 0.5)
        half = t + h / 2
        drifted = torch.add(y, sde.f(half, middle), alpha=h)
        return sde.add_noise(drifted, sde.g(half, middle), dw)
