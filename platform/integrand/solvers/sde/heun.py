"""Heun's method for Stratonovich equations."""

from __future__ import annotations

import torch
from torch import Tensor

from .counted import CountedSDE
from .stratonovich import StratonovichStep


class StratonovichHeun(StratonovichStep):
    """Rümelin (1982): Stratonovich; strong order 1 with diagonal or commutative noise, else 1/2.

    Two drift and two diffusion evaluations per step; order 2 where the noise vanishes.
    """

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        f, g = sde.f(t, y), sde.g(t, y)
        guess = sde.add_noise(torch.add(y, f, alpha=h), g, dw)
        end = t + h
        drifted = torch.add(y, f + sde.f(end, guess), alpha=h / 2)
        return sde.add_noise(drifted, g + sde.g(end, guess), dw, 0.5)
