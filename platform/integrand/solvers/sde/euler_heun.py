"""The Euler–Heun method for Stratonovich equations."""

from __future__ import annotations

import torch
from torch import Tensor

from .counted import CountedSDE
from .stratonovich import StratonovichStep


class EulerHeun(StratonovichStep):
    """Euler in the drift, Heun in the noise: Stratonovich; strong order 1 with commuting noise, else 1/2.

    One drift and two diffusion evaluations per step (Kloeden, Platen 1992, 4.9; Gardiner 1985).
    """

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        f, g = sde.f(t, y), sde.g(t, y)
        ahead = sde.g(t + h, sde.add_noise(y, g, dw))
        return sde.add_noise(torch.add(y, f, alpha=h), g + ahead, dw, 0.5)
