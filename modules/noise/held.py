"""Noise in a vector field: one draw for each solve, so that the solver meets an ordinary field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from integrand.solvers import ODESolver, Solution

from ..bench import Dynamics, Noise
from ..bench.noise_contract import Part

Factor = Callable[[Tensor], Tensor | float]
"""g(t), which broadcasts against the state."""


class HeldNoise(Noise):
    """ẏ = g(t) ⊙ f(t, y) with g drawn once for each solve.

    Noise drawn anew at every evaluation would be no field: the stages of a step, the attempts of an adaptive
    solver and the backward pass of the adjoint would each see another one, the error estimate would not fall
    with the step, and the step would go to zero. Held for the solve, it leaves an ordinary equation with a
    random coefficient, which every method integrates and differentiates in every gradient mode.
    """

    @abstractmethod
    def draw(self, y0: Tensor, start: float, end: float) -> Factor | None:
        """Draw g for one solve; None where the field stays as it is.

        Args:
            y0: Initial state, shape (batch, ...).
            start: Initial time.
            end: Final time.
        """

    def enter(self, dynamics: Dynamics, parts: Sequence[Part]) -> None:
        """Put the noise between dynamics and solver of every stage; see `Noise.enter`."""
        for part in parts:
            if isinstance(part, Dynamics):
                assert part.solver is not None
                part.solver = HeldNoiseSolver(part.solver, self)


class HeldNoiseSolver(ODESolver):
    """A solver that draws the noise of the field before each solve.

    Args:
        solver: What integrates.
        noise: What the field is multiplied with.
    """

    def __init__(self, solver: ODESolver, noise: HeldNoise) -> None:
        self.solver = solver
        self.noise = noise

    @property
    def gradient(self) -> str:
        """The gradient mode of the solver."""
        return str(getattr(self.solver, "gradient", "backprop"))

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate one draw; see `ODESolver.solve`."""
        factor = self.noise.draw(y0, float(t[0]), float(t[-1]))
        return self.solver.solve(field if factor is None else GatedField(field, factor), y0, t)

    def describe(self) -> str:
        """The solver in a few words."""
        return self.solver.describe()


class GatedField(nn.Module):
    """g(t) ⊙ f(t, y), with one draw of g for as long as it lives.

    Args:
        field: f.
        factor: g.
    """

    def __init__(self, field: nn.Module, factor: Factor) -> None:
        super().__init__()
        self.field = field
        self.factor = factor

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the time t and the state y of shape (batch, ...)."""
        value: Tensor = self.factor(t) * self.field(t, y)
        return value
