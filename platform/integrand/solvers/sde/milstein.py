"""Milstein's method without derivatives."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .commutative import require_commutative
from .counted import CountedSDE
from .solver import OneStepSDE


class Milstein(OneStepSDE):
    """Milstein (1975) without derivatives, Kloeden, Platen (1992), 11.1: strong order 1.

    One drift and two diffusion evaluations per step in Itô's sense, three in Stratonovich's; 1 + m and 1 + 2m
    with commutative noise of m columns (10.3.16). Noise that is declared commutative and is not is refused at
    the initial state. Follows the equation's own sde_type.
    """

    strong_order: ClassVar[float | None] = 1.0
    weak_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ("diagonal", "scalar", "additive", "commutative")
    sde_types: ClassVar[tuple[str, ...]] = ("ito", "stratonovich")

    @staticmethod
    def begin(sde: CountedSDE, t: Tensor, y: Tensor) -> None:
        """Check that commutative noise is."""
        if sde.noise_type == "commutative":
            require_commutative(sde, t, y)

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step; see `OneStepSDE.step`."""
        f, g = sde.f(t, y), sde.g(t, y)
        end = sde.add_noise(torch.add(y, f, alpha=h), g, dw)
        if sde.noise_type == "additive":
            return end
        root = math.sqrt(h)
        ito = h if sde.sde_type == "ito" else 0.0
        if sde.elementwise:
            return end.addcmul(_slope(sde, t, y, g, g, root), dw * dw - ito, value=0.5 / root)
        for j, direction in enumerate(g.unbind(-1)):
            double = dw * dw[:, j : j + 1]
            double[:, j] -= ito
            end = sde.add_noise(end, _slope(sde, t, y, g, direction, root), double, 0.5 / root)
        return end


def _slope(sde: CountedSDE, t: Tensor, y: Tensor, g: Tensor, direction: Tensor, root: float) -> Tensor:
    """√h times the derivative of g along a column of it, without the drift."""
    ahead = sde.g(t, torch.add(y, direction, alpha=root))
    if sde.sde_type == "ito":
        # the error of a one-sided difference, h g² g″ / 2, meets a factor of mean zero
        return ahead - g
    # here the factor has mean h: the same error would leave a bias of order h^{3/2} per step
    return (ahead - sde.g(t, torch.add(y, direction, alpha=-root))) / 2
