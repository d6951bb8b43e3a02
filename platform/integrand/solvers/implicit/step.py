"""What a one-step implicit method is to the loop that drives it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..dense import Piece
from ..step_size import INTEGRAL, Gains

Clock = Callable[[float], Tensor]


@dataclass
class Step:
    """A step that was made.

    Args:
        end: State at its end, with its graph where one is kept.
        error: Error estimate, shape of end, without a graph.
        data: What repeating it needs besides t, h and the state.
        dense: The state at t + θh for 0 < θ < 1; None where outputs are stepped on.
        polynomial: What lies between its ends, accurate enough to look for events.
    """

    end: Tensor
    error: Tensor
    data: object = None
    dense: Callable[[float], Tensor] | None = None
    polynomial: Callable[[], Piece] | None = None


class Stepper(ABC):
    """Makes the steps of one solve."""

    time: Clock
    """Makes times."""
    error_order: int
    """Order of the less accurate of the two embedded steps."""
    pid: Gains = INTEGRAL
    """Gains of the step control."""
    dense = False
    """Whether steps come with their dense output."""
    slack = 0.0
    """How far from its first end a repeated step may end, relative to the state, beyond rounding."""
    graph = False
    """Whether steps carry gradients; set by whoever runs them."""

    @abstractmethod
    def start(self, t: float, y: Tensor) -> Tensor:
        """The field at the start of a step at t; kept for the attempts made there."""

    @property
    @abstractmethod
    def differentiated(self) -> int:
        """Products with the field's derivatives that backprop makes for one step and nothing else counts."""

    @abstractmethod
    def attempt(self, t: float, h: float, y: Tensor) -> Step | None:
        """One step, None where its equations could not be solved."""

    def settle(self, h: float, grown: float) -> float:
        """The step after the last one, of length h, was accepted, where the error allows `grown`."""
        return grown

    @abstractmethod
    def replay(self, t: float, h: float, y: Tensor, data: object) -> Step | None:
        """The step whose `data` is given, again."""

    @abstractmethod
    def forget(self) -> None:
        """Let go of what is kept for the next attempt, and of its graph."""
