"""Controlled differential equations by explicit Runge–Kutta methods whose steps end at the knots."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import CountedField
from ..errors import SolverOptionError
from ..options import Shown, require_not_set
from ..problem import Problem, prepare, require_finite
from ..runge_kutta import RK4, RungeKutta
from ..solution import Solution, SolveStats
from ..tape import StepRecord, Tape
from .field import DrivenField
from .path import ControlPath

TABULATED = 2
"""Steps in an interval up to which the slopes at all stages of all intervals are worked out beforehand: each
place costs as much memory as the path."""


class CDESolver(Shown):
    """dz = f(t, z) dX along a control path X, from knot to knot.

    Each interval between knots is integrated over s ∈ [0, 1] with its own polynomial, so that no step meets a
    kink of the path, and samples with knots at their own times go in lockstep.

    Args:
        solver: The Runge–Kutta method. Its num_steps counts the steps of each interval, its step_size,
            first_step and max_step are in units of t; one step of RK4 for each interval where None.

    Raises:
        SolverOptionError: Another kind of solver, or compile, autocast or or per_sample.
    """

    def __init__(self, solver: RungeKutta | None = None) -> None:
        self.solver = RK4(num_steps=1) if solver is None else solver
        if not isinstance(self.solver, RungeKutta):
            raise SolverOptionError(
                f"{type(solver).__name__} cannot be run from knot to knot",
                "use an explicit Runge–Kutta method, such as RK4(num_steps=1) or Dopri5()",
            )
        require_not_set(
            "a controlled equation",
            "its steps end at knots and are not kept",
            "remove it",
            jump_t=self.solver.jump_t or None,
            save=None if self.solver.save == "outputs" else self.solver.save,
            dense=self.solver.dense,
        )
        require_not_set(
            "a controlled equation",
            "samples go in lockstep from knot to knot",
            "remove it",
            compile=self.solver.compile,
            per_sample=self.solver.per_sample,
        )

    def describe(self) -> str:
        """The method and its steps for each interval, such as `cde rk4 num_steps=1`."""
        return f"cde {self.solver.describe()}"

    def solve(
        self,
        field: nn.Module,
        control: ControlPath,
        z0: Tensor,
        t: Tensor | Sequence[float] | None = None,
    ) -> Solution:
        """Integrate along the control.

        Args:
            field: Module called as `field(t, z)` that returns f(t, z), shape (batch, h, c); or a
                `ControlledField`. t is 0-d, or (batch, 1) where every sample has its own knots.
            control: The path, of as many samples as z0.
            z0: State at the first time, shape (batch, h).
            t: Output times, increasing, within the knots; where None the first and the last knot. Where every
                sample has its own knots `control.knots` itself is the only other choice: all knots.

        Returns:
            Solution with ys of shape (n_t, batch, h). Where every sample has its own knots `ts` counts knots,
            and steps are measured in intervals.

        Raises:
            SpecError: Shapes of field, control and state, or times that are not those of the control.
            SolverError: The solve failed.
        """
        _check(control, z0)
        times, pieces = _pieces(control, t)
        problem = prepare(field, z0, times, self.solver.autocast)
        stats = SolveStats(solver=self.describe(), gradient=self.solver.gradient, accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        driven = DrivenField(field, control, problem.y0.dtype)
        counted = CountedField(
            driven,
            stats,
            max_nfe=self.solver.max_nfe,
            autocast=self.solver.autocast,
            device_type=problem.y0.device.type,
            uneven=self.solver.is_adaptive,
        )
        steps = _KnotSteps(self.solver, counted, driven, problem, pieces, _lengths(control))
        driven.enter(pieces[0].interval)
        with problem.context():
            # solver and field know the place s only
            local = replace(problem, times=(pieces[0].start, pieces[0].end), index=None)
            ys = self.solver.integrate(steps, counted, local)
        require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        steps.account(stats, in_time=not control.own_times)
        return problem.finish(ys, stats)


@dataclass(frozen=True)
class Piece:
    """The part [start, end] ⊂ [0, 1] of an interval of the control; its end may be output number `output`."""

    interval: int
    start: float
    end: float
    output: int | None


class _KnotSteps:
    """One solve; an `Integrator` that runs the engine's on every piece."""

    def __init__(
        self,
        solver: RungeKutta,
        counted: CountedField,
        driven: DrivenField,
        problem: Problem,
        pieces: Sequence[Piece],
        lengths: Sequence[float],
    ) -> None:
        self.solver, self.counted, self.driven = solver, counted, driven
        self.problem, self.pieces, self.lengths = problem, pieces, lengths
        self.notes_first, self.slack = not solver.is_adaptive, 0.0
        self.parts: list[Any] = []
        self._fixed: dict[tuple[float, float, int], Any] = {}

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs = y0, [y0]
        self.parts = []
        for piece in self.pieces:
            part = self._part(piece)
            self.parts.append(part)
            self.driven.enter(piece.interval)
            noted = 0 if tape is None else len(tape.steps)
            y = part.run(y, tape)[-1]
            if tape is not None:
                for record in tape.steps[noted:]:
                    record.data, record.lands = (piece, part, record.data), None
                tape.steps[-1].lands = piece.output
            if piece.output is not None:
                outputs.append(y)
        return outputs

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        piece, part, data = record.data
        self.driven.enter(piece.interval)
        ends: list[Tensor] = part.replay(replace(record, data=data), y)
        return ends

    def join(self, found: Sequence[Tensor]) -> Tensor:
        """All outputs as one tensor."""
        return torch.stack(list(found))

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs."""
        return sum(part.differentiated for part in self.parts)

    def _part(self, piece: Piece) -> Any:
        """The engine's integrator of one piece; fixed steps over equal places are one object."""
        length, span = self.lengths[piece.interval], piece.end - piece.start
        if self.solver.is_adaptive:
            return self._build(piece, first_step=self._place(self.solver.first_step, length, span))
        n = self.solver.num_steps
        if n is None:
            n = max(1, -int(-length * span / (self.solver.step_size or 1) * (1 - 1e-12) // 1))
        key = (piece.start, piece.end, n)
        if key not in self._fixed:
            part = self._fixed[key] = self._build(piece, num_steps=n, step_size=None)
            if n <= TABULATED:
                self.driven.tabulate(s for nodes in part.nodes for s in nodes)
        return self._fixed[key]

    def _build(self, piece: Piece, **settings: Any) -> Any:
        solver = copy.copy(self.solver)
        vars(solver).update(settings)
        if solver.max_step is not None:
            solver.max_step = self._place(solver.max_step, self.lengths[piece.interval], 1.0)
        return solver.integrator(
            self.counted, replace(self.problem, times=(piece.start, piece.end), index=None)
        )

    @staticmethod
    def _place(step: float | None, length: float, most: float) -> float:
        """A step in units of t as one of s."""
        return most if step is None or length <= 0 else min(step / length, most)

    def account(self, stats: SolveStats, in_time: bool) -> None:
        """Write the steps into `stats`."""
        scales = self.lengths if in_time else [1.0] * len(self.lengths)
        sizes = [
            abs(h) * scales[piece.interval]
            for piece, part in zip(self.pieces, self.parts, strict=True)
            for h in part.sizes
        ]
        stats.accepted, stats.step_sizes = len(sizes), sizes
        stats.min_step, stats.max_step = min(sizes), max(sizes)
        stats.rejected = sum(getattr(part, "rejected", 0) for part in self.parts)


def _check(control: ControlPath, z0: Tensor) -> None:
    if not isinstance(control, ControlPath):
        raise SpecError(
            f"the control is {type(control).__name__}", "make one with linear_control, hermite_control, …"
        )
    if not isinstance(z0, Tensor) or z0.ndim != 2 or len(z0) != control.batch:
        shape = tuple(z0.shape) if isinstance(z0, Tensor) else type(z0).__name__
        raise SpecError(
            f"a state {shape} for a control of {control.batch} samples",
            f"pass z0 of shape ({control.batch}, h)",
        )
    if z0.device != control.starts.device:
        raise SpecError(
            f"the state lies on {z0.device}, the control on {control.starts.device}",
            "move the control: control.map(lambda x: x.to(z0.device))",
        )


def _lengths(control: ControlPath) -> list[float]:
    """Length of each interval, the longest of all samples."""
    h = control.knots.diff(dim=-1)
    values: list[float] = (h.amax(dim=0) if control.own_times else h).tolist()
    return values


def _knots_and_times(
    control: ControlPath, t: Tensor | Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Knots, and the output times as asked for: the first and the last knot where t is None."""
    if not control.own_times:
        knots: list[float] = control.knots.tolist()
        return knots, [knots[0], knots[-1]] if t is None else [float(v) for v in t]
    knots = [float(i) for i in range(control.intervals + 1)]
    if t is not None and t is not control.knots:
        raise SpecError(
            "output times for a control with knots of its own for every sample",
            "pass t=control.knots for all knots, or leave t out for the last one",
        )
    return knots, knots if t is not None else [knots[0], knots[-1]]


def _pieces(control: ControlPath, t: Tensor | Sequence[float] | None) -> tuple[list[float], list[Piece]]:
    """Output times, and the pieces between them; with knots of their own both count knots."""
    knots, times = _knots_and_times(control, t)
    slack = 1e-9 * (knots[-1] - knots[0])
    if not times or any(b < a for a, b in pairwise(times)):
        raise SpecError(f"the times {times[:4]}… do not increase", "a controlled equation is solved forwards")
    if times[0] < knots[0] - slack or times[-1] > knots[-1] + slack:
        raise SpecError(
            f"times from {times[0]:g} to {times[-1]:g} for a control from {knots[0]:g} to {knots[-1]:g}",
            "keep the times within the knots",
        )
    return times, _cut(knots, times, slack)


def _cut(knots: list[float], times: list[float], slack: float) -> list[Piece]:
    """The pieces between the output times; a jump (an interval of no length) at an output comes before it."""
    distinct = sorted(set(times))
    if any(b - a <= slack for a, b in pairwise(distinct)):
        raise SpecError("two output times are closer than rounding", "drop one of them")
    first = distinct[0]
    i = 0 if first <= knots[0] + slack else bisect_right(knots, first + slack) - 1
    start = (first - knots[i]) / (knots[i + 1] - knots[i]) if first > knots[i] + slack else 0.0
    pieces: list[Piece] = []
    for output, time in enumerate(distinct[1:], start=1):
        while i < len(knots) - 1 and knots[i + 1] <= time + slack:
            pieces.append(Piece(i, start, 1.0, None))
            i, start = i + 1, 0.0
        if i < len(knots) - 1 and time > knots[i] + slack:
            end = (time - knots[i]) / (knots[i + 1] - knots[i])
            pieces.append(Piece(i, start, end, None))
            start = end
        pieces[-1] = replace(pieces[-1], output=output)
    return pieces
