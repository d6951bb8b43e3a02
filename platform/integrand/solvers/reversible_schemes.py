"""The steps of the reversible methods, forwards and undone."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .accounts import CountedField
from .runge_kutta.methods.rk4 import RK4
from .runge_kutta.step import step

State = tuple[Tensor, ...]
"""The state y first, then what the scheme carries beside it."""


class Scheme(ABC):
    """A reversible scheme on one field.

    Args:
        counted: The field.
        coupling: Coupling of two copies, where the scheme has one.
    """

    def __init__(self, counted: CountedField, coupling: float) -> None:
        self.counted, self.coupling = counted, coupling

    def first(self, t: Tensor, y: Tensor) -> Tensor:
        """The field at the initial state, for what it depends on; `start` gets the evaluation for nothing."""
        value = self.counted(t, y)
        self.counted.remember(value.detach())
        return value

    @abstractmethod
    def differentiated(self, steps: int) -> int:
        """Evaluations that backprop differentiates in `steps` steps."""

    @abstractmethod
    def start(self, t: Tensor, y: Tensor) -> State:
        """The state that the scheme starts from."""

    @abstractmethod
    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """One step from t0 to t1 = t0 + h."""

    @abstractmethod
    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """The state at t0 from the one at t1."""

    @abstractmethod
    def distance(self, state: State, h: float) -> float:
        """How far the two copies of the state are apart, relative to its norm."""


def _relative(difference: Tensor, y: Tensor) -> float:
    return float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(y).clamp_min(1e-30))


class McCallumFoster(Scheme):
    """McCallum and Foster (2024), eq. 4: y' = λy + (1-λ)z + Ψ_h(z), z' = z - Ψ_{-h}(y'), Ψ a step of RK4."""

    def differentiated(self, steps: int) -> int:
        """See `Scheme.differentiated`."""
        return 8 * steps

    def start(self, t: Tensor, y: Tensor) -> State:
        """Both copies are the initial state."""
        return y, y.clone()

    def _increment(self, t0: Tensor, t1: Tensor, h: float, y: Tensor) -> Tensor:
        middle = t0 + h / 2
        end, _, _ = step(RK4.tableau, self.counted, (t0, middle, middle, t1), h, y, None, all_stages=False)
        return end - y

    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """Eight evaluations."""
        y, z = state
        y = torch.lerp(z, y, self.coupling) + self._increment(t0, t1, h, z)
        return y, z - self._increment(t1, t0, -h, y)

    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """Eight evaluations."""
        y, z = state
        z = z + self._increment(t1, t0, -h, y)
        return z + (y - self._increment(t0, t1, h, z) - z) / self.coupling, z

    def distance(self, state: State, h: float) -> float:
        """Distance of y and z."""
        return _relative(state[0] - state[1], state[0])


class ReversibleHeun(Scheme):
    """Kidger et al. (2021), algorithm 1: z' = 2y - z + h f(z), y' = y + h (f(z) + f(z')) / 2."""

    def differentiated(self, steps: int) -> int:
        """See `Scheme.differentiated`."""
        return 1 + steps

    def start(self, t: Tensor, y: Tensor) -> State:
        """Both copies are the initial state; f(z) is carried along."""
        return y, y.clone(), self.counted(t, y)

    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """One evaluation."""
        y, z, f = state
        z = torch.add(2 * y - z, f, alpha=h)
        new = self.counted(t1, z)
        return torch.add(y, f + new, alpha=h / 2), z, new

    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """One evaluation."""
        y, z, f = state
        z = torch.add(2 * y - z, f, alpha=-h)
        old = self.counted(t0, z)
        return torch.add(y, f + old, alpha=-h / 2), z, old

    def distance(self, state: State, h: float) -> float:
        """Distance of y and z."""
        return _relative(state[0] - state[1], state[0])


class AsynchronousLeapfrog(Scheme):
    """Zhuang et al. (2021), MALI, eq. 3: a velocity v beside y, reflected in the middle of the step."""

    def differentiated(self, steps: int) -> int:
        """See `Scheme.differentiated`."""
        return 1 + steps

    def start(self, t: Tensor, y: Tensor) -> State:
        """The velocity starts as the field."""
        return y, self.counted(t, y)

    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """One evaluation."""
        y, v = state
        middle = torch.add(y, v, alpha=h / 2)
        v = 2 * self.counted(t0 + h / 2, middle) - v
        return torch.add(middle, v, alpha=h / 2), v

    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """One evaluation."""
        y, v = state
        middle = torch.add(y, v, alpha=-h / 2)
        v = 2 * self.counted(t0 + h / 2, middle) - v
        return torch.add(middle, v, alpha=-h / 2), v

    def distance(self, state: State, h: float) -> float:
        """How far one step moves the state: a velocity that runs away moves it far."""
        return _relative(h * state[1], state[0]) / 10


SCHEMES: dict[str, type[Scheme]] = {
    "mccallum-foster": McCallumFoster,
    "reversible-heun": ReversibleHeun,
    "alf": AsynchronousLeapfrog,
}
