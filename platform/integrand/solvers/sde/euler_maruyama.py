"""The Euler–Maruyama method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .counted import CountedSDE
from .solver import ALL_NOISE, OneStepSDE


class EulerMaruyama(OneStepSDE):
    """Maruyama (1955): Itô, every noise type, strong order 1/2 (1 with additive noise), weak order 1."""

    strong_order: ClassVar[float | None] = 0.5
    strong_orders: ClassVar[Mapping[str, float]] = {"additive": 1.0}
    weak_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ALL_NOISE
    # its error does not vanish on steps that depend on the path, unless the noise is additive
    adaptive_noise: ClassVar[tuple[str, ...]] = ("additive",)
    sde_types: ClassVar[tuple[str, ...]] = ("ito",)

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        drifted = torch.add(y, sde.f(t, y), alpha=h)
        return sde.add_noise(drifted, sde.g(t, y), dw)
