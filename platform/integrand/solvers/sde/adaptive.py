"""Steps that follow an error estimate, on halves of one Brownian path."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ..errors import StepUnderflowError
from ..problem import Problem, not_finite
from ..tape import StepRecord, Tape
from .brownian import Brownian, join, seeded_path
from .counted import CountedSDE
from .steps import PathSteps, Step

FIRST_LEVEL = 3
"""Halvings of an output interval that its first step is made by."""
LAST_LEVEL = 24
SAFETY = 0.7


class AdaptiveSteps(PathSteps):
    """Steps of an output interval halved as often as the error asks for; an `Integrator`.

    One step is compared with two half as long on the same path, and the two are kept if they differ by less
    than the tolerance in root mean square over the batch; otherwise the first of them is tried as a whole
    step. The path is never drawn anew, and what a rejected step has seen of it is never skipped, so that
    rejection leaves no bias (Gaines, Lyons 1997, Variable step size control in the numerical solution of
    stochastic differential equations).

    Args:
        step: The method.
        area: Whether it needs the space–time Lévy areas.
        order: Its strong order.
        counted: The equation.
        problem: State and times.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
    """

    notes_first = False
    slack = 0.0

    def __init__(
        self,
        step: Step,
        area: bool,
        order: float,
        counted: CountedSDE,
        problem: Problem,
        rtol: float,
        atol: float,
    ) -> None:
        super().__init__(step, area, counted, problem.y0)
        self._outputs, self._clock = problem.times, problem.clock
        self._rtol, self._atol = rtol, atol
        # a step twice as long has an error of 2^{order + 1/2} times as much
        self._easy = SAFETY / 2 ** (order + 0.5)
        self._kept = 0
        self.t0 = self.time(problem.times[0])

    @property
    def differentiated(self) -> int:
        """Evaluations of the steps that were kept."""
        return self._kept

    def _path(self, seed: int | None, first_sample: int, shape: tuple[int, ...]) -> Brownian:
        return seeded_path(seed, self._outputs, shape, self.y0, first_sample, shared=True)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs = y0, [y0]
        for output, (a, b) in enumerate(pairwise(self._outputs), start=1):
            y = self._interval(a, b, y, tape, output)
            outputs.append(y)
        self.last = (y,)
        return outputs

    def _interval(self, start: float, stop: float, y: Tensor, tape: Tape | None, output: int) -> Tensor:
        level, n = FIRST_LEVEL, 0
        whole: Tensor | None = None
        while n < 1 << level:
            h = (stop - start) / (1 << level)
            a = start + n * h
            b = stop if n + 1 == 1 << level else start + (n + 1) * h
            nodes = (a, a + h / 2, b)
            if whole is None:
                whole = self._whole(nodes, y)
            before = super().differentiated
            half = self.advance(*nodes[:2], y)
            end = self.advance(*nodes[1:], half)
            error = self._error(y, end, whole)
            if not error <= 1:
                self.rejected += 1
                if level == LAST_LEVEL:
                    raise self._failure(a, h, error)
                level, n, whole = level + 1, 2 * n, half
                continue
            last = n + 1 == 1 << level
            self._kept += super().differentiated - before
            for (c, d), state in zip(pairwise(nodes), (y, half), strict=True):
                lands = output if last and d == b else None
                self.plan.append((c, d, lands))
                if tape is not None:
                    tape.note(state, StepRecord((self.time(c),), 0.0, lands=lands, data=(c, d)))
            y, n, whole = end, n + 1, None
            if error <= self._easy and n % 2 == 0 and level:
                level, n = level - 1, n // 2
        return y

    def _whole(self, nodes: tuple[float, float, float], y: Tensor) -> Tensor:
        a, middle, b = nodes
        w1, h1 = self.brownian.increment(a, middle, True)
        w2, h2 = self.brownian.increment(middle, b, True)
        assert h1 is not None
        assert h2 is not None
        _, w, area = join((middle - a, w1, h1), (b - middle, w2, h2))
        with torch.no_grad():
            return self._step(self.counted, self.time(a), b - a, y.detach(), w, area)

    def _error(self, y: Tensor, end: Tensor, whole: Tensor) -> float:
        with torch.no_grad():
            scale = self._atol + self._rtol * torch.maximum(y.abs(), end.abs())
            return float(((end - whole) / scale).square().mean().sqrt())

    def _failure(self, t: float, h: float, error: float) -> Exception:
        stats = self.counted.stats
        if error != error or error == float("inf"):
            return not_finite(stats.solver, f"at t={t:.6g} (NFE {stats.nfe_forward})")
        return StepUnderflowError(
            f"{stats.solver}: the step became {h:.3g} at t={t:.6g}, its error still {error:.3g} of the"
            f" tolerance (NFE {stats.nfe_forward})",
            "loosen rtol and atol, or take fixed steps",
        )
