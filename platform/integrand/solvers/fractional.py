"""Fractional equations: Caputo derivatives of order up to 1, by predictor and corrector with full memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .errors import SolverOptionError
from .options import require_positive, require_steps, spell, spell_steps
from .problem import grid, prepare, require_finite
from .solution import Solution, SolveStats


class CaputoPECE:
    """D^α y = f(t, y), y(t₀) = y0, by the Adams–Bashforth–Moulton method of Diethelm, Ford and Freed (2002).

    Solves the Volterra equation y(t) = y0 + 1/Γ(α) ∫ (t − s)^{α−1} f(s, y(s)) ds with f replaced by a step
    function in the predictor and by a polygon in the corrector, and the kernel integrated exactly; their
    weights, written for steps of any length. With α = 1 the kernel is 1 and this is a second-order method for
    ẏ = f. N steps cost 2N evaluations: one at the start, two a step, and none after the last. Every step sums
    over all values of f before it, the memory of the equation: N² additions in all.

    Gradients are those of the steps (backprop).

    Args:
        alpha: Order α of the derivative, 0 < α ≤ 1.
        step_size: Longest step.
        num_steps: Number of steps over the whole time span, instead of step_size.
        autocast: Evaluate the field under the caller's autocast instead of full precision.

    Raises:
        SolverOptionError: α is outside (0, 1], or not exactly one of step_size and num_steps is given.
    """

    def __init__(
        self,
        alpha: float,
        step_size: float | None = None,
        num_steps: int | None = None,
        autocast: bool = False,
    ) -> None:
        if not 0 < alpha <= 1:
            raise SolverOptionError(
                f"alpha must lie in (0, 1], got {alpha}",
                "set alpha, the order of the derivative; 1 is the ODE",
            )
        require_positive(step_size=step_size, num_steps=num_steps)
        require_steps("the Caputo solver", step_size, num_steps)
        self.alpha = alpha
        self.step_size = step_size
        self.num_steps = num_steps
        self.autocast = autocast

    @property
    def order(self) -> float:
        """Order of convergence 1 + α, for D^α y twice continuously differentiable (same authors, 2004)."""
        return 1 + self.alpha

    def describe(self) -> str:
        """Such as `caputo-pece alpha=0.8 num_steps=8`."""
        return f"caputo-pece alpha={spell(self.alpha)} {spell_steps(self.step_size, self.num_steps)}"

    def weights(self, nodes: Sequence[float], time: float) -> tuple[list[float], list[float]]:
        """Weights of the kernel (time − s)^{α−1}/Γ(α) on the nodes up to `time`.

        Args:
            nodes: t₀ < t₁ < … < t_n = time.
            time: The time to integrate to.

        Returns:
            Weights of f₀ … f_{n−1} for the step function, and of f₀ … f_n for the polygon.
        """
        a = self.alpha
        rectangles, trapezia = list[float](), [0.0] * len(nodes)
        for j, (left, right) in enumerate(pairwise(nodes)):
            u, v, h = time - left, time - right, right - left
            whole = (u**a - v**a) / math.gamma(a + 1)
            # the part of f's right end: the kernel times (s − left)/h
            right_end = (u * whole - a * (u ** (a + 1) - v ** (a + 1)) / math.gamma(a + 2)) / h
            rectangles.append(whole)
            trapezia[j] += whole - right_end
            trapezia[j + 1] += right_end
        return rectangles, trapezia

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate from t[0], where the memory begins, through every time of t.

        Args:
            field: Module called as `field(t, y)` with t a 0-d tensor and y of y0's shape; returns D^α y of
                the same shape.
            y0: State at t[0], shape (batch, ...).
            t: Output times, shape (n_t,), strictly increasing.

        Returns:
            Solution with ys of shape (n_t, *y0.shape) and ys[0] equal to y0.

        Raises:
            SolverOptionError: The times decrease.
            SolverError: The state is not finite.
        """
        problem = prepare(field, y0, t, self.autocast)
        stats = SolveStats(solver=self.describe(), accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        times = problem.times
        if times[-1] < times[0]:
            raise SolverOptionError("the Caputo derivative looks back only", "pass increasing times")
        step = self.step_size or (times[-1] - times[0]) / (self.num_steps or 1)
        nodes = [times[0], *(b for interval in grid(times, step, None) for b in interval[1:])]
        steps = [b - a for a, b in pairwise(nodes)]
        stats.accepted, stats.min_step, stats.max_step = len(steps), min(steps), max(steps)
        counted = CountedField(field, stats, autocast=self.autocast, device_type=y0.device.type, watch=True)
        with problem.context():
            states = self._integrate(counted, problem.y0, nodes, problem.clock_of(min(steps)))
        counted.last = None
        require_finite(stats.solver, states[-1], nodes[-1], stats.nfe_forward)
        return problem.finish(torch.stack([states[nodes.index(time)] for time in times]), stats)

    def _integrate(
        self, field: CountedField, y0: Tensor, nodes: list[float], dtype: torch.dtype
    ) -> list[Tensor]:
        clock = torch.tensor(nodes, dtype=dtype).to(y0.device, non_blocking=True).unbind()
        states, values = [y0], [field(clock[0], y0)]
        for n in range(1, len(nodes)):
            rectangles, trapezia = self.weights(nodes[: n + 1], nodes[n])
            predicted = field(clock[n], _weighted(y0, rectangles, values))
            corrected = _weighted(y0, trapezia, [*values, predicted])
            states.append(corrected)
            if n < len(nodes) - 1:
                values.append(field(clock[n], corrected))
        return states


def _weighted(y: Tensor, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    for weight, value in zip(weights, values, strict=True):
        y = torch.add(y, value, alpha=weight)
    return y
