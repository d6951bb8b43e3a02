"""Implicit stages: simplified Newton, and the gradient of the implicit function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..accounts import CountedField
from ..errors import SolverError
from .differentiation import dense_jacobian, product_with_transpose
from .linear import Factored, System

KAPPA = 0.01
"""What the iteration may leave of the error, as a part of what the error control lets pass."""
ITERATIONS = 8
SLOW = 1e-3
"""A contraction above which, with more than two iterations a stage, the Jacobian is taken again."""


class Newton:
    """Solves the stages k = f(t, base + hγ k) of one step.

    Args:
        field: The field, or the implicit part of one split in two.
        rtol: Relative tolerance of the step.
        atol: Absolute tolerance of the step.

    Attributes:
        rate: Slowest contraction met in this step.
        iterations: Iterations made in this step.
    """

    def __init__(self, field: CountedField, rtol: float, atol: float) -> None:
        self.field, self.rtol, self.atol = field, rtol, atol
        self.rate, self.iterations, self.graph = 0.0, 0, False
        self._enough = self._floor = KAPPA

    def begin(self, y: Tensor, graph: bool) -> None:
        """A step starts from y; its stages carry gradients where `graph` says so."""
        self.graph = graph
        self.rate, self.iterations = 0.0, 0
        self._scale = y.detach().abs().mul_(self.rtol).add_(self.atol)
        # rounding of y bounds what an iteration can reach
        self._floor = 10 * torch.finfo(y.dtype).eps / self.rtol
        self._enough = max(KAPPA, self._floor)

    def stage(self, t: Tensor, base: Tensor, step: float, guess: Tensor, system: System) -> Tensor | None:
        """The stage, None where the iteration does not converge.

        At least two iterations: one tells nothing of the contraction, and a stage accepted on an old one can
        lose a relaxation jump without a word. Reads one number back from the device per iteration.

        Args:
            t: Time of the stage, 0-d.
            base: What the stage is added to, shape (batch, ...).
            step: hγ.
            guess: First k, without a graph.
            system: I - hγJ, of this step or one near.
        """
        k, size = guess, 0.0
        for iteration in range(1, ITERATIONS + 1):
            value, point = self._evaluate(t, base, k, step)
            with torch.no_grad():
                change = system.solve(value.detach() - k)
                k = k + change
                new = _rms(change.mul_(step).div_(self._scale))
            self.iterations += 1
            if not math.isfinite(new):
                return None
            rate = new / size if iteration > 1 and size > 0 else 0.0
            if iteration > 1 and new > self._floor:
                if size > self._enough:  # below, the ratio says little and nothing is left to do
                    self.rate = max(self.rate, rate)
                if rate >= 1:
                    return None
                left = rate / (1 - rate) * new
                if left * rate ** (ITERATIONS - iteration) > self._enough:
                    return None  # too slow to get there
                if left > self._enough:
                    size = new
                    continue
            if iteration > 1:
                return self._result(value, point, k, step, system)
            size = new
        return None

    def _evaluate(self, t: Tensor, base: Tensor, k: Tensor, step: float) -> tuple[Tensor, Tensor]:
        if not self.graph:
            with torch.no_grad():
                point = torch.add(base.detach(), k, alpha=step)
                return self.field(t, point), point
        with torch.enable_grad():
            point = torch.add(base, k, alpha=step)
            if not point.requires_grad:
                point.requires_grad_()
            return self.field(t, point), point

    def _result(self, value: Tensor, point: Tensor, k: Tensor, step: float, system: System) -> Tensor:
        if not self.graph or not value.requires_grad:
            return k
        stage: Tensor = _Implicit.apply(value, _Stage(self.field, value, point, k, step, system))  # type: ignore[no-untyped-call]  # torch
        return stage


@dataclass
class _Stage:
    """What the gradient of one stage needs: the field's graph at the last iterate but one, and the system."""

    field: CountedField
    value: Tensor
    point: Tensor
    solution: Tensor
    step: float
    system: System


class _Implicit(torch.autograd.Function):
    """k(base, θ) of k = f(t, base + hγk; θ): dk = (I - hγJ)⁻¹ (J dbase + f_θ dθ)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, stage: _Stage) -> Tensor:
        ctx.stage = stage
        # not the tensor itself, which would then hold the graph that holds it
        return stage.solution.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        stage: _Stage = ctx.stage
        field = stage.field
        if torch.is_grad_enabled():
            raise SolverError(
                f"{field.stats.solver}: an implicit stage has no second derivative, but create_graph=True "
                "asks for one",
                "use Rodas5P with gradient: backprop, or an explicit method",
            )

        def product(w: Tensor) -> Tensor:
            field.add_vjps(1)
            return stage.step * product_with_transpose(stage.value, stage.point, w)

        w = stage.system.solve_transposed(grad, product)
        if w is None:
            w = _solve_afresh(stage, grad)
        field.add_vjps(1)  # the one by which w goes on to base and parameters
        return w, None


def _solve_afresh(stage: _Stage, grad: Tensor) -> Tensor:
    """With the Jacobian of the stage itself, where the step's is too far from it."""
    if not isinstance(stage.system, Factored):
        raise SolverError(
            f"{stage.field.stats.solver}: GMRES did not converge on the gradient of a stage "
            f"(hγ = {stage.step:.3g})",
            "take smaller steps, or linear: lu for states of up to a thousand components",
        )
    with torch.enable_grad():
        jacobian = dense_jacobian(stage.value, stage.point)
    stage.field.add_vjps(jacobian.shape[-1])
    return Factored(jacobian, stage.step).solve(grad, adjoint=True)


def _rms(x: Tensor) -> float:
    norm: float = torch.linalg.vector_norm(x).item()
    return norm / math.sqrt(x.numel())
