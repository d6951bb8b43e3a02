"""Regularisers that integrate a property of the field along the trajectory, in training only."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver, Solution, SolveStats

from ..bench import Dynamics
from ..bench.stages import stages_of
from .ode import ODEDynamics


def simpson(intervals: int, length: float) -> list[float]:
    """Weights of the composite Simpson rule on equal intervals: exact for cubics, error O(intervals⁻⁴).

    Args:
        intervals: Number of intervals, even.
        length: Length of the whole.
    """
    inner = [4.0 if i % 2 else 2.0 for i in range(1, intervals)]
    return [w * length / (3 * intervals) for w in (1.0, *inner, 1.0)]


class RegularizedDynamics(ODEDynamics):
    """Neural ODE dynamics that also integrate `integrand` along the trajectory while training.

    The trajectory comes from the same solve as the output, at `intervals` + 1 equally spaced times; the
    integral is Simpson's rule on them. The papers append the integral to the state instead: the solver then
    also controls its error, takes other steps in training than in evaluation, and differentiates at every
    stage. Here the output of training and evaluation is the same wherever asking for output times does not
    change the steps: with dopri5, and with fixed steps whose number is a multiple of `intervals`.

    The account stays exact: every evaluation that the integrand makes is in `nfe_forward`, every product with
    the Jacobian that it takes, and every evaluation that the backward pass differentiates for it, in `vjps`.

    Args:
        field: Module called as `field(t, y)`.
        solver: What integrates it.
        t1: End of the interval [0, t1].
        channels: Channels of the state.
        weights: Weight λ of each term of the integrand, by the name under which it is logged, 0 or more.
        intervals: Even number of intervals between the nodes of the quadrature.

    Raises:
        UsageError: A weight is negative or `intervals` is not a positive even number.
    """

    def __init__(
        self,
        field: nn.Module,
        solver: ODESolver,
        t1: float,
        channels: int,
        weights: dict[str, float],
        intervals: int,
    ) -> None:
        super().__init__(field, solver, t1, channels)
        for name, weight in weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise UsageError(f"{name} must be 0 or more, got {weight}", f"set model.{name}, a weight")
        if intervals < 2 or intervals % 2:
            raise UsageError(
                f"intervals must be a positive even number, got {intervals}",
                "set model.intervals to 4 or 8: Simpson's rule takes them in pairs",
            )
        self.weights = weights
        self.intervals = intervals
        self._terms: dict[str, Tensor] = {}

    @abstractmethod
    def integrand(self, nodes: list[tuple[Tensor, Tensor]], stats: SolveStats) -> dict[str, list[Tensor]]:
        """The integrand of every term with a positive weight at every node.

        Args:
            nodes: Times (0-d) and states (batch, channels, height, width) of the quadrature.
            stats: The account to which its evaluations and products are added.

        Returns:
            For each term one 0-d tensor per node: means over the batch and the dimensions of the state.
        """

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output; see `Dynamics.forward`."""
        self._terms = {}
        wanted = self.training and torch.is_grad_enabled() and any(self.weights.values())
        if not wanted or num_times != 2:
            return super().forward(h, num_times)
        solution = super().forward(h, self.intervals + 1)
        self._integrate(solution, simpson(self.intervals, self.t1), h.device.type)
        solution.ts, solution.ys = solution.ts[:: self.intervals], solution.ys[:: self.intervals]
        return solution

    def _integrate(self, solution: Solution, quadrature: list[float], device: str) -> None:
        """Set the terms to the weighted sums over the nodes of a solve."""
        with self._precision(device):
            # as in the solve, the wider dtype of state and parameters
            parameter = next(self.field.parameters(), solution.ys)
            dtype = torch.promote_types(solution.ys.dtype, parameter.dtype)
            ts = solution.ts.to(dtype)
            ts = ts.t().unsqueeze(-1) if ts.ndim == 2 else ts
            nodes = list(zip(ts.unbind(), solution.ys.to(dtype).unbind(), strict=True))
            for name, values in self.integrand(nodes, solution.stats).items():
                scaled = [self.weights[name] * w * v for w, v in zip(quadrature, values, strict=True)]
                self._terms[name] = torch.stack(scaled).sum()

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Solve through all times; the integral is the trapezoidal rule on them. See `Dynamics.along`."""
        self._terms = {}
        solution = super().along(h, times)
        if self.training and torch.is_grad_enabled() and any(self.weights.values()):
            gaps = times.diff(dim=-1).reshape(-1, times.shape[-1] - 1).mean(0).tolist()
            ends = [0.0, *gaps, 0.0]
            self._integrate(solution, [(a + b) / 2 for a, b in pairwise(ends)], h.device.type)
        return solution

    def take_terms(self) -> dict[str, Tensor]:
        """The weighted terms of the last training solve, each a 0-d tensor; hands them out once."""
        terms, self._terms = self._terms, {}
        return terms

    def __getstate__(self) -> dict[str, Any]:
        # a copy or a pickle has no use for terms that belong to this object's graph, and cannot hold them
        return self.__dict__ | {"_terms": {}}

    def _precision(self, device: str) -> AbstractContextManager[object]:
        """Full precision unless the solver, too, stays under autocast."""
        return (
            nullcontext()
            if getattr(self.solver, "autocast", False)
            else torch.autocast(device, enabled=False)
        )


def take_terms(dynamics: Dynamics) -> dict[str, Tensor]:
    """The weighted terms of the last training solve, summed over all stages; hands them out once."""
    terms: dict[str, Tensor] = {}
    for stage in stages_of(dynamics):
        assert isinstance(stage, RegularizedDynamics)
        for name, value in stage.take_terms().items():
            terms[name] = terms[name] + value if name in terms else value
    return terms


def count_differentiation(value: Tensor, stats: SolveStats, evaluations: int) -> None:
    """Let the backward pass through `value` add its evaluations to the account's `vjps`."""

    def differentiated(_: Tensor) -> None:
        stats.vjps += evaluations

    if value.requires_grad:
        value.register_hook(differentiated)  # type: ignore[no-untyped-call]  # torch
