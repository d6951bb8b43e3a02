"""What a solve notes down so that its gradient can be had by recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from .randomness import Generators, States, alike
from .solution import SolveStats


@dataclass(slots=True)
class StepRecord:
    """One accepted step, without its states.

    Args:
        times: Stage times as tensors.
        h: Step: a number, or a tensor with one step for each sample.
        interior: (output index, θ) of the outputs strictly inside the step.
        lands: Index of the output that the step ends on, None where it ends on none.
        data: What else the method needs to repeat the step.
    """

    times: Sequence[Tensor]
    h: float | Tensor
    interior: list[tuple[int, float]] = field(default_factory=list)
    lands: int | None = None
    data: Any = None


class Tape:
    """The accepted steps of a solve and the state at the start of each.

    Args:
        generators: Where steps are noted before they are taken: the generators that a step may draw from.
            A step that moved them keeps their states from before it.
    """

    def __init__(self, generators: Generators | None = None) -> None:
        self.states: list[Tensor] = []
        self.steps: list[StepRecord] = []
        self.random: list[States | None] = []
        self._generators = generators
        self._before = None if generators is None else generators.before

    def note(self, y: Tensor, record: StepRecord) -> None:
        """Add a step that starts at `y`."""
        if self.steps:
            self.keep_random()
        self.states.append(y)
        self.steps.append(record)
        self.random.append(None)

    def keep_random(self) -> None:
        """Keep the generators' states from before the last step if it drew numbers."""
        if self._generators is None or self._before is None:
            return
        now = self._generators.states()
        if not alike(now, self._before):
            self.random[-1], self._before = self._before, now


class Recomputable(Protocol):
    """A counted field or SDE."""

    @property
    def stats(self) -> SolveStats:
        """The account of the solve."""

    def recomputing(self) -> AbstractContextManager[None]:
        """The surroundings of a recomputation."""


class Integrator(Protocol):
    """A solve that can be run, and repeated step by step."""

    @property
    def notes_first(self) -> bool:
        """Whether steps are noted before they are taken and make the same evaluations when repeated.

        Numbers that they draw at random can then be drawn again.
        """

    @property
    def slack(self) -> float:
        """How far from its first end a repeated step may end, relative to the state, beyond rounding."""

    @property
    def counted(self) -> Recomputable:
        """What evaluations are made through."""

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve from `y0`; returns the outputs, the first of which is y0, and fills `tape`."""

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step from `y`; returns its end and the outputs inside it, in the order of `record`."""
