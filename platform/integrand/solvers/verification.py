"""Was the tolerance enough? A solve and its gradient against a float64 reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .base import ODESolver
from .runge_kutta import Dopri5
from .solution import Solution

SOLUTION_LIMIT = 1e-2
"""Relative error of the final state up to which a solve is called adequate."""
GRADIENT_LIMIT = 5e-2
"""Relative error of the parameter gradient up to which a solve is called adequate."""


@dataclass
class Recorded:
    """One solve that a network made.

    Args:
        solver: The solver.
        field: The field.
        y0: Initial state, detached.
        t: Times, or times of each sample's own, shape (batch, n).
    """

    solver: ODESolver
    field: nn.Module
    y0: Tensor
    t: list[float] | Tensor


@dataclass
class Accuracy:
    """How far one solver is from the reference on one solve.

    Args:
        solver: Its description.
        nfe: Forward evaluations.
        solution_error: Relative error of the final state, L2 over the batch.
        worst_sample: The largest relative error of a single sample.
        gradient_error: Relative error of the gradient by all parameters of the field, for a random fixed
            cotangent at the final state; None where nothing takes a gradient.
    """

    solver: str
    nfe: int
    solution_error: float
    worst_sample: float
    gradient_error: float | None

    @property
    def adequate(self) -> bool:
        """Within both limits."""
        gradient = 0.0 if self.gradient_error is None else self.gradient_error
        return self.solution_error <= SOLUTION_LIMIT and gradient <= GRADIENT_LIMIT

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"adequate": self.adequate}


@dataclass
class Verification:
    """The verdict on one solve.

    Args:
        used: The solver as configured.
        tighter: The same solver with rtol and atol divided by 10, 100, …, or with 2, 4, … times the steps.
        reference: Description of the reference.
        change: How far the reference itself moves when its tolerance is loosened by 100, relative: what the
            errors can be trusted to.
    """

    used: Accuracy
    tighter: list[Accuracy] = field(default_factory=list)
    reference: str = ""
    change: float = 0.0

    @property
    def remedy(self) -> str:
        """The cheapest of the tighter settings that is adequate, empty where the used one is."""
        if self.used.adequate:
            return ""
        enough = next((a.solver for a in self.tighter if a.adequate), None)
        return enough or "none of the tighter settings suffices: bound or regularise the field"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "used": self.used.to_dict(),
            "tighter": [a.to_dict() for a in self.tighter],
            "reference": self.reference,
            "reference_change": self.change,
            "adequate": self.used.adequate,
            "remedy": self.remedy,
        }


@contextmanager
def recorded_solves(network: nn.Module) -> Iterator[list[Recorded]]:
    """Record every solve that the solvers held by `network` make.

    Args:
        network: Its modules' attributes are searched for solvers.
    """
    found: list[Recorded] = []
    solvers = {id(v): v for m in network.modules() for v in vars(m).values() if isinstance(v, ODESolver)}

    def record(solver: ODESolver) -> None:
        inner = solver.solve

        def solve(field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], **more: Any) -> Solution:
            own = isinstance(t, Tensor) and t.ndim == 2
            if not more:
                times = t.detach() if isinstance(t, Tensor) and own else [float(v) for v in t]
                found.append(Recorded(solver, field, y0.detach().clone(), times))
            return inner(field, y0, t, **more)

        vars(solver)["solve"] = solve

    for solver in solvers.values():
        record(solver)
    try:
        yield found
    finally:
        for solver in solvers.values():
            vars(solver).pop("solve", None)


def verify(recorded: Recorded, tightenings: int = 2, tolerance: float = 1e-10) -> Verification:
    """Re-solve in float64 with a tight tolerance and compare.

    Args:
        recorded: The solve.
        tightenings: How many tighter settings of the same solver to try.
        tolerance: Relative and absolute tolerance of the reference.
    """
    cotangent = torch.randn(
        recorded.y0.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    cotangent = cotangent.to(recorded.y0.device)
    exact = copy.deepcopy(recorded.field).double()
    solve = Dopri5(rtol=tolerance, atol=tolerance, gradient="checkpoint")
    truth, truth_gradient, _ = _ends(solve, exact, recorded.y0.double(), recorded.t, cotangent)
    rough = Dopri5(rtol=100 * tolerance, atol=100 * tolerance)
    with torch.no_grad():
        moved = rough.solve(exact, recorded.y0.double(), recorded.t).ys[-1]
    del exact
    change = float(torch.linalg.vector_norm(moved - truth) / torch.linalg.vector_norm(truth))

    def accuracy(solver: ODESolver) -> Accuracy:
        end, gradient, nfe = _ends(solver, recorded.field, recorded.y0, recorded.t, cotangent)
        difference = (end.double() - truth).flatten(1)
        sizes = truth.flatten(1).norm(dim=1).clamp_min(1e-30)
        return Accuracy(
            solver.describe(),
            nfe,
            float(difference.norm() / truth.norm()),
            float((difference.norm(dim=1) / sizes).max()),
            _relative(gradient, truth_gradient),
        )

    verification = Verification(
        accuracy(recorded.solver), reference=f"float64 {solve.describe()}", change=change
    )
    solver = recorded.solver
    for _ in range(tightenings):
        solver = refined(solver)
        verification.tighter.append(accuracy(solver))
    return verification


def refined(solver: ODESolver, k: int = 1) -> ODESolver:
    """A copy of `solver` with 2ᵏ times its steps, or with tolerances divided by 10ᵏ.

    Args:
        solver: The solver.
        k: How much finer; negative for coarser, where one step is the least.
    """
    other = copy.deepcopy(solver)
    vars(other).pop("solve", None)
    values: dict[str, Any] = vars(other)
    if values.get("step_size") is not None:
        values["step_size"] /= 2.0**k
    elif values.get("num_steps") is not None:
        values["num_steps"] = max(1, int(values["num_steps"] * 2.0**k))
    else:
        values["rtol"] /= 10.0**k
        values["atol"] /= 10.0**k
    return other


def _ends(
    solver: ODESolver, field: nn.Module, y0: Tensor, t: list[float] | Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor | None, int]:
    """Final state, flattened parameter gradient for the cotangent, and forward evaluations."""
    parameters = [p for p in field.parameters() if p.requires_grad]
    solve = type(solver).solve
    with torch.enable_grad():
        solution = solve(solver, field, y0.detach().requires_grad_(), t)
        end = solution.ys[-1]
        gradient = None
        if parameters:
            found = torch.autograd.grad(end, parameters, cotangent.to(end.dtype), materialize_grads=True)
            gradient = torch.cat([g.flatten().double() for g in found])
    return end.detach(), gradient, solution.stats.nfe_forward


def _relative(gradient: Tensor | None, truth: Tensor | None) -> float | None:
    if gradient is None or truth is None:
        return None
    return float((gradient - truth).norm() / truth.norm().clamp_min(1e-30))
