"""Neural ODE with regularised higher derivatives of its solution (Kelly et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers import ODESolver, SolveStats
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER
from .regularized import RegularizedDynamics, count_differentiation, take_terms

ORDERS = (2, 3, 4)
Field = Callable[[Tensor, Tensor], Tensor]


def total_derivative(g: Field, f: Field) -> Field:
    """dg/dt along solutions of ẏ = f(t, y): ∂g/∂t + (∂g/∂y) f, by one forward-mode product."""

    def derivative(t: Tensor, y: Tensor) -> Tensor:
        result: Tensor = torch.func.jvp(g, (t, y), (torch.ones_like(t), f(t, y)))[1]
        return result

    return derivative


def solution_derivative(f: Field, order: int) -> Field:
    """d^K y/dt^K of solutions of ẏ = f(t, y), as a function of (t, y), by nesting forward mode.

    It evaluates f K times: once for each tangent, and once under all of them.

    Args:
        f: The field.
        order: K, 1 or more; 1 is f itself.
    """
    g = f
    for _ in range(order - 1):
        g = total_derivative(g, f)
    return g


class TaylorDynamics(RegularizedDynamics):
    """Integrates λ‖d^K h/dt^K‖² along the trajectory.

    A node costs K evaluations, of which K − 1 carry tangents.

    Args:
        order: K, 2, 3 or 4.
        **kwargs: See `RegularizedDynamics`.

    Raises:
        UsageError: K is out of range.
    """

    def __init__(self, order: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if order not in ORDERS:
            raise UsageError(
                f"order must be 2, 3 or 4, got {order}",
                "set model.order; order 1 is the kinetic energy, which RNODE regularises",
            )
        self.order = order

    def integrand(self, nodes: list[tuple[Tensor, Tensor]], stats: SolveStats) -> dict[str, list[Tensor]]:
        """The one term at every node; see `RegularizedDynamics.integrand`."""
        derivative = solution_derivative(self.field, self.order)
        values = []
        for t, y in nodes:
            value = derivative(t, y).square().mean()
            stats.nfe_forward += self.order
            count_differentiation(value, stats, self.order)
            values.append(value)
        return {"taylor": values}


class TayNODE(BenchFamily):
    """Neural ODE whose solutions are pressed to be polynomials of degree below K, easy for a solver.

    Adds λ ∫‖d^K h/dt^K‖² dt to the training loss, divided by the dimension of the state. The derivatives come
    from nested forward mode (Taylor mode's result for small K). The shared field is piecewise linear between
    its norms, and the derivatives are those of the piece. Evaluation is the neural ODE. How the integral is
    computed: `RegularizedDynamics`.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        order: K, 2, 3 or 4; best the order of the solver.
        taylor: Weight λ, 0 or more.
        intervals: Even number of intervals of the quadrature.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "taynode"
    title = "Neural ODE with Taylor regularisation"
    group = "continuous"
    equation = "ḣ = f(h, t; θ); loss + λ ∫‖d^K h/dt^K‖² dt"
    reference = "Kelly et al. 2020, Learning Differential Equations that are Easy to Solve"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        order: int = 3,
        taylor: float = 0.01,
        intervals: int = 4,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> TaylorDynamics:
            return TaylorDynamics(
                order,
                field=stage.field(stage.channels, time_dependent=time_dependent),
                solver=solver,
                t1=t1,
                channels=stage.channels,
                weights={"taylor": taylor},
                intervals=intervals,
            )

        super().__init__(spec, make, channels=channels, **kwargs)

    def penalty(self) -> dict[str, Tensor]:
        """The term of the last training solve."""
        return take_terms(self.net.dynamics)
