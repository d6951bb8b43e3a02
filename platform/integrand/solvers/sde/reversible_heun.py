"""The reversible Heun method for Stratonovich equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ..problem import Problem
from ..reversible_schemes import State
from ..tape import Tape
from .counted import CountedSDE
from .solver import ALL_NOISE, OneStepSDE
from .steps import FixedSteps


class ReversibleHeunSDE(OneStepSDE):
    """Kidger et al. (2021), Efficient and accurate gradients for neural SDEs, algorithms 1 and 2.

    Stratonovich; strong order 1 with additive noise and 1/2 in general; with other commuting noise the tests
    measure 1, which is not proven. One drift and one diffusion evaluation per step. Carries a second copy of
    the state, from which each step can be undone exactly: the gradient is backprop's to rounding at a memory
    that does not grow with the steps.
    """

    gradients: ClassVar[tuple[str, ...]] = ("reversible", "backprop")
    strong_order: ClassVar[float | None] = 1.0
    strong_orders: ClassVar[Mapping[str, float]] = {"general": 0.5}
    weak_order: ClassVar[float | None] = 1.0
    noise_types: ClassVar[tuple[str, ...]] = ALL_NOISE
    sde_types: ClassVar[tuple[str, ...]] = ("stratonovich",)
    adaptive_noise: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step from a state whose two copies agree."""
        start = (y, y.clone(), sde.f(t, y), sde.g(t, y))
        return _onward(sde, t + h, h, start, dw)[0]

    def _fixed(self, counted: CountedSDE, problem: Problem) -> FixedSteps:
        return ReversibleSteps(self.step, False, counted, problem, self.step_size, self.num_steps)


class ReversibleSteps(FixedSteps):
    """Steps that carry (y, z, f(z), g(z))."""

    def start(self, y: Tensor) -> State:
        """Both copies are the initial state."""
        return y, y.clone(), self.counted.f(self.t0, y), self.counted.g(self.t0, y)

    def onward(self, a: float, b: float, state: State) -> State:
        """One step from a to b."""
        dw, _ = self.brownian.increment(a, b, False)
        return _onward(self.counted, self.time(b), b - a, state, dw)

    def back(self, a: float, b: float, state: State) -> State:
        """The state at a, exactly."""
        dw, _ = self.brownian.increment(a, b, False)
        return _onward(self.counted, self.time(a), a - b, state, -dw)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        state, outputs = self.start(y0), [y0]
        for a, b, lands in self.plan:
            state = self.onward(a, b, state)
            if lands is not None:
                outputs.append(state[0])
        self.last = state
        return outputs


def _onward(sde: CountedSDE, t: Tensor, h: float, state: State, dw: Tensor) -> State:
    """A step that ends at t; with −h and −ΔW it undoes the one that started there."""
    y, z, f, g = state
    z = sde.add_noise(torch.add(2 * y - z, f, alpha=h), g, dw)
    new_f, new_g = sde.f(t, z), sde.g(t, z)
    y = sde.add_noise(torch.add(y, f + new_f, alpha=h / 2), g + new_g, dw, 0.5)
    return y, z, new_f, new_g
