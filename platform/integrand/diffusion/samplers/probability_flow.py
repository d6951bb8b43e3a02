"""The probability-flow ODE by any solver of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from integrand.solvers import Dopri5, ODESolver, RungeKutta
from integrand.solvers.options import require_choice

from ..divergence import linearise
from ..evaluation import Evaluator
from ..processes import Node, Process
from .base import Run, Sampler
from .transfer import combine


class FlowField(nn.Module):
    """dx/dt = f x − ½ g² ∇log p (Song et al. 2021, Eq. 13), or dx/dλ = (f/λ̇) x − σ ε.

    Rows that are not finite are replaced by zero and remembered, so that one sample does not end the solve of
    all.

    Args:
        evaluate: The model.
        process: Its process.
        variable: Whether the field's time is t or λ.
    """

    def __init__(self, evaluate: Evaluator, process: Process, variable: str) -> None:
        super().__init__()
        self.evaluate, self.process, self.variable = evaluate, process, variable
        self.failed: Tensor | None = None
        last = process.last_time
        self._lowest = process.node(last).log_snr if math.isfinite(last) else -math.inf

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The field at time t (0-d) and state y, shape (batch, ...)."""
        return self._marked(self._slope(t)(y))[0]

    def linearise(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The field and its products with the Jacobian; see `Linearised`."""
        slope, products = linearise(self._slope(t), x, v)
        slope, finite = self._marked(slope)
        return slope, torch.where(finite, products, 0.0)

    def _slope(self, t: Tensor) -> Callable[[Tensor], Tensor]:
        """The field at one time as it is."""
        value = float(t)
        # times in float32 may miss the last by a rounding
        if self.variable == "log_snr":
            node = self.process.node_at(max(value, self._lowest))
        else:
            node = self.process.node(min(value, self.process.last_time))
        rates = self.process.path_rates(node.t) if self.variable == "t" else None
        if rates is not None:
            return partial(self._along, node, rates)
        time = torch.tensor(node.t, dtype=torch.float64)
        f, g2 = float(self.process.drift(time)), float(self.process.diffusion2(time))
        # λ̇ = −g²/(2σ²) for every linear process
        rate = -0.5 * g2 / node.sigma**2 if self.variable == "log_snr" else 1.0

        def slope(y: Tensor) -> Tensor:
            noise = self.evaluate(y, node).noise()
            return torch.add(y * (f / rate), noise, alpha=0.5 * g2 / node.sigma / rate)

        return slope

    def _along(self, node: Node, rates: tuple[float, float], y: Tensor) -> Tensor:
        """The field by the rates of the path, which stay finite where nothing of the data is left."""
        alpha, sigma = rates
        data = self.evaluate(y, node).data()  # ε = (y − α x_0)/σ
        return combine(sigma / node.sigma, y, (alpha - sigma * node.alpha / node.sigma, data))

    def _marked(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The slope with zeros in rows that are not finite, and which are, shape (batch, 1, ...)."""
        finite = torch.isfinite(slope).flatten(1).all(1)
        self.failed = ~finite if self.failed is None else self.failed | ~finite
        shaped = finite.view(-1, *[1] * (slope.ndim - 1))
        return torch.where(shaped, slope, 0.0), shaped


class ProbabilityFlow(Sampler):
    """Integrates the probability-flow ODE with an ODE solver.

    A solver of fixed steps with `num_steps=1` takes one step for each step of the grid; more subdivide the
    grid. A solver that chooses its steps uses the grid's ends only, and its NFE cannot be chosen.

    Args:
        solver: Any solver of the engine; Dopri5 at 1e-5 where not given.
        variable: Integrate over t, or over λ = log(α/σ), in which smooth models vary evenly.
    """

    stochastic = False

    def __init__(self, solver: ODESolver | None = None, variable: Literal["t", "log_snr"] = "t") -> None:
        require_choice("variable", variable, ("t", "log_snr"))
        self.solver: ODESolver = solver or Dopri5()
        self.variable = variable
        self.adaptive = bool(getattr(self.solver, "is_adaptive", self.solver.adaptive))
        self.order = None if self.adaptive else self.solver.order
        self.off_grid = True
        self.evaluations_per_step = None
        if isinstance(self.solver, RungeKutta) and self.solver.num_steps == 1:
            tableau = self.solver.tableau
            self.evaluations_per_step = tableau.needed
            self.off_grid = any(c not in (0, 1) for c in tableau.c[: tableau.needed])

    @classmethod
    def examples(cls) -> tuple[ProbabilityFlow, ...]:
        """Fixed steps of orders 1, 2 and 4 in both variables, and an adaptive method."""
        from integrand.solvers import RK4, Euler, Midpoint

        return (
            cls(Euler(num_steps=1)),
            cls(Midpoint(num_steps=1)),
            cls(RK4(num_steps=1)),
            cls(Midpoint(num_steps=1), "log_snr"),
            cls(Dopri5(rtol=1e-8, atol=1e-8)),
        )

    def prepare(self, run: Run) -> None:
        """Keep the ends only where the solver chooses its steps."""
        if self.adaptive:
            run.nodes = [run.nodes[0], run.nodes[run.last], *run.nodes[run.last + 1 :]]

    def run(self, run: Run, x: Tensor, states: list[Tensor] | None) -> Tensor:
        """One solve over all nodes, then the step to the data."""
        if run.last:
            field = FlowField(run.evaluate, run.process, self.variable)
            nodes = run.nodes[: run.last + 1]
            times = [node.log_snr if self.variable == "log_snr" else node.t for node in nodes]
            solution = self.solver.solve(field, x, times)
            x = solution.ys[-1]
            run.failed = field.failed
            if solution.failed is not None:
                run.failed = solution.failed if run.failed is None else run.failed | solution.failed
            if states is not None:
                states.extend(solution.ys[1:].unbind())
        if run.last < len(run.nodes) - 1:
            x = self.finish(run, x)
            if states is not None:
                states.append(x)
        return x

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """One solve from node i to the next."""
        field = FlowField(run.evaluate, run.process, self.variable)
        ends = run.nodes[i], run.nodes[i + 1]
        times = [node.log_snr if self.variable == "log_snr" else node.t for node in ends]
        return self.solver.solve(field, x, times).ys[-1]

    def describe(self) -> str:
        """Such as `flow dopri5 rtol=1e-5 atol=1e-5`."""
        return f"flow {self.solver.describe()}" + (" in λ" if self.variable == "log_snr" else "")
