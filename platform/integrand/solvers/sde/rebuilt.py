"""Gradients of stochastic solves in constant memory: the states are rebuilt backwards along the same path."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import SolverError
from ..randomness import Generators
from ..reversible import MISSED, PullBack
from ..reversible_schemes import State
from ..torchdiffeq_adjoint import DRIFT_LIMIT
from ..transforms import refuse_transforms
from .counted import CountedSDE


class Rebuildable(Protocol):
    """A solve whose steps can be taken back, exactly or nearly."""

    counted: CountedSDE
    t0: Tensor
    last: State
    """The state at the end, after `run`."""

    @property
    def plan(self) -> Sequence[tuple[float, float, int | None]]:
        """Start, end and output index of every step, after `run`."""

    def run(self, y0: Tensor, tape: None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""

    def time(self, t: float) -> Tensor:
        """T as the equation is called with it."""

    def start(self, y: Tensor) -> State:
        """The state that the method starts from."""

    def onward(self, a: float, b: float, state: State) -> State:
        """One step from a to b."""

    def back(self, a: float, b: float, state: State) -> State:
        """The state at a from the one at b."""


def solve_rebuilding(
    steps: Rebuildable, y0: Tensor, inputs: Sequence[Tensor], gradient: str
) -> tuple[Tensor, ...]:
    """Solve without a graph; the backward pass takes the steps back and differentiates each where it arrives.

    With a reversible method that is the gradient of the discrete solve to rounding. With another method,
    taken back by its own step with −h and −ΔW, it is the stochastic adjoint (Li et al. 2020, Scalable
    gradients for stochastic differential equations, section 3) of the method's order, corrected at outputs.

    Args:
        steps: The solve.
        y0: Initial state.
        inputs: Tensors other than y0 that the equation depends on and that require gradients.
        gradient: `adjoint` or `reversible`.

    Returns:
        The outputs, the first of which is y0.

    Raises:
        SolverOptionError: torch.func is at work, or the equation draws random numbers.
    """
    refuse_transforms(gradient)
    apply: Callable[..., tuple[Tensor, ...]] = _Rebuilt.apply
    return apply(steps, gradient, y0, *inputs)


class _Rebuilt(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, steps: Rebuildable, gradient: str, y0: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        generators = Generators(y0.device)
        first, *outputs = steps.run(y0, None)
        generators.refuse_draws(steps.counted.stats.solver, gradient)
        ctx.steps, ctx.gradient, ctx.sizes = steps, gradient, (len(outputs), len(steps.last))
        ctx.save_for_backward(y0, *outputs, *steps.last, *inputs)
        return first.clone(), *outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError(
                f"gradient={ctx.gradient} has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        steps: Rebuildable = ctx.steps
        n, m = ctx.sizes
        y0, *rest = ctx.saved_tensors
        outputs, state, inputs = rest[:n], tuple(rest[n : n + m]), tuple(rest[n + m :])
        exact = ctx.gradient == "reversible"
        totals: list[Tensor | None] = [None] * len(inputs)
        stats = steps.counted.stats
        pull = PullBack(inputs, totals, stats.solver)
        adjoint = [torch.zeros_like(x) for x in state]
        with steps.counted.recomputing(), pull.known.border():
            for a, b, lands in reversed(steps.plan):
                if lands is not None:
                    adjoint[0] = adjoint[0] + grads[lands]
                    if not exact:
                        state = (outputs[lands - 1],)
                vjps = stats.vjps
                state = steps.back(a, b, state)
                stats.vjps = vjps  # rebuilding differentiates nothing
                adjoint = pull.through(partial(steps.onward, a, b), state, adjoint, steps.time(a))
            _check(state[0], y0, exact, stats.solver)
            (first,) = pull.through(lambda s: steps.start(s[0]), (y0,), adjoint, steps.t0)
        pull.known.refuse_others()
        return (None, None, first + grads[0], *totals)


def _check(rebuilt: Tensor, y0: Tensor, exact: bool, solver: str) -> None:
    """Refuse, or with the adjoint warn of, gradients that belong to another trajectory."""
    miss = float(torch.linalg.vector_norm(rebuilt - y0) / torch.linalg.vector_norm(y0).clamp_min(1e-30))
    if exact and not miss <= MISSED:
        raise SolverError(
            f"{solver} could not rebuild its states: the initial one is missed by {100 * miss:.3g} %",
            "take fewer steps or float64, or another method with gradient: checkpoint",
        )
    if not exact and not miss <= DRIFT_LIMIT:
        warnings.warn(
            f"{solver}: the states rebuilt backwards missed the initial one by {100 * miss:.3g} %, so"
            " gradients of the adjoint are unreliable; set gradient: checkpoint, or take smaller steps",
            stacklevel=2,
        )
