"""What a solve notes down so that its gradient can be had by recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
    interior: Sequence[tuple[int, float]] = ()
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

    def note(self, y: Tensor, record: StepRecord) -> None:
        """Add a step that starts at `y`."""
        self.states.append(y)
        self.steps.append(record)
        generators = self._generators
        if generators is None:
            self.random.append(None)
        else:
            # the first step may start with an evaluation that was made before
            self.random.append(generators.states() if self.random else generators.before)

    def settle(self) -> None:
        """At the end of the solve: forget the generators' states before steps that drew no numbers."""
        generators = self._generators
        if generators is None or not self.random:
            return
        after: States | None = generators.states()
        if not generators.moved():
            self.random = [None] * len(self.random)
            return
        for i in reversed(range(len(self.random))):
            before = self.random[i]
            assert before is not None
            assert after is not None
            if alike(before, after):
                self.random[i] = None
            after = before


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
