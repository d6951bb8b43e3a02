"""What a solve notes down so that its gradient can be had by recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import SolverError


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
    interior: list[tuple[int, float]] = field(default_factory=list)
    lands: int | None = None
    data: Any = None


@dataclass
class Tape:
    """The accepted steps of a solve and the state at the start of each."""

    states: list[Tensor] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)

    def note(self, y: Tensor, record: StepRecord) -> None:
        """Add a step that starts at `y`."""
        self.states.append(y)
        self.steps.append(record)


class Recomputable(Protocol):
    """A counted field or SDE."""

    def recomputing(self) -> AbstractContextManager[None]:
        """The surroundings of a recomputation."""


class Integrator(Protocol):
    """A solve that can be run, and repeated step by step."""

    @property
    def counted(self) -> Recomputable:
        """What evaluations are made through."""

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve from `y0`; returns the outputs, the first of which is y0, and fills `tape`."""

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step from `y`; returns its end and the outputs inside it, in the order of `record`."""


def solve_by_checkpoint(integrator: Integrator, y0: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Solve without a graph; the backward pass repeats the steps one by one, last first.

    The gradient is that of the discrete solve, equal to backprop's to rounding, for one stored state per
    step. Step sizes count as constants, as they do in backprop here.

    Args:
        integrator: The solve.
        y0: Initial state, shape (batch, ...).
        inputs: Tensors other than y0 that the field depends on and that require gradients.

    Returns:
        The outputs, the first of which is y0.
    """
    ys: tuple[Tensor, ...] = _Checkpoint.apply(integrator, y0, *inputs)  # type: ignore[no-untyped-call]  # torch
    return ys


class _Checkpoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, integrator: Integrator, y0: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        tape = Tape()
        first, *ys = integrator.run(y0, tape)
        ctx.integrator, ctx.steps, ctx.n = integrator, tape.steps, len(tape.states)
        # saved this way the states meet offloading hooks, and inputs changed meanwhile raise
        ctx.save_for_backward(*tape.states, *inputs)
        return first.clone(), *ys

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError(
                "gradient=checkpoint has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        saved = ctx.saved_tensors
        states, inputs = saved[: ctx.n], saved[ctx.n :]
        y0_grad, input_grads = _backward_through(ctx.integrator, ctx.steps, states, inputs, grads)
        return (None, y0_grad if ctx.needs_input_grad[1] else None, *input_grads)


def _backward_through(
    integrator: Integrator,
    steps: Sequence[StepRecord],
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    at_output: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor | None]]:
    adjoint: Tensor | None = None
    totals: list[Tensor | None] = [None] * len(inputs)
    with integrator.counted.recomputing():
        for record, state in zip(reversed(steps), reversed(states), strict=True):
            if record.lands is not None:
                here = at_output[record.lands]
                adjoint = here if adjoint is None else adjoint + here
            if adjoint is None and not record.interior:
                continue
            with torch.enable_grad():
                y = state.detach().requires_grad_()
                ends = integrator.replay(record, y)
            cotangents = [adjoint, *(at_output[i] for i, _ in record.interior)]
            if adjoint is None:
                # the end of the step is nobody's output
                ends, cotangents = ends[1:], cotangents[1:]
            adjoint, *parts = torch.autograd.grad(ends, (y, *inputs), cotangents, allow_unused=True)
            _accumulate(totals, parts)
    first = at_output[0]
    return first if adjoint is None else adjoint + first, totals


def _accumulate(totals: list[Tensor | None], parts: Sequence[Tensor | None]) -> None:
    old: list[Tensor] = []
    new: list[Tensor] = []
    for i, part in enumerate(parts):
        total = totals[i]
        if part is None:
            continue
        if total is None:
            totals[i] = part.clone() if part._is_view() or not part.is_contiguous() else part
        else:
            old.append(total)
            new.append(part)
    if old:
        torch._foreach_add_(old, new)
