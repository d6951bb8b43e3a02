"""Known laws to start a hybrid model from, and examples of how one writes one's own.

A law is a function `f(t, y, parameters)`: t the time, y the states of shape (batch, channels), parameters the
numbers of the law by name, 0-d tensors; it returns dy/dt, shape (batch, channels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Law = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""dy/dt = f(t, y, parameters)."""


def nothing(t: Tensor, y: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """ẏ = 0: nothing is known."""
    return torch.zeros_like(y)


def pendulum(t: Tensor, y: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """θ̈ = −stiffness · sin θ − damping · θ̇, for y = [θ; θ̇]; without `damping` there is none."""
    angle, rate = y.chunk(2, dim=1)
    force = -parameters["stiffness"] * angle.sin()
    if "damping" in parameters:
        force = force - parameters["damping"] * rate
    return torch.cat([rate, force], dim=1)


def lotka_volterra(t: Tensor, y: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """ẋ = αx − βxy, ẏ = −γy + δxy; of `beta` and `delta` one may leave out what is not known."""
    prey, predators = y.chunk(2, dim=1)
    met = prey * predators
    grown = parameters["alpha"] * prey
    starved = -parameters["gamma"] * predators
    if "beta" in parameters:
        grown = grown - parameters["beta"] * met
    if "delta" in parameters:
        starved = starved + parameters["delta"] * met
    return torch.cat([grown, starved], dim=1)
