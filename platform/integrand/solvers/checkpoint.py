"""Gradients by repeating the steps of a solve one by one, last first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from .errors import SolverError
from .hidden_inputs import KnownInputs
from .randomness import Generators
from .replays import Replays
from .tape import Integrator, Tape
from .transforms import refuse_transforms


def solve_by_checkpoint(
    integrator: Integrator, y0: Tensor, inputs: Sequence[Tensor], generators: Generators | None = None
) -> tuple[Tensor, ...]:
    """Solve without a graph; the backward pass repeats the steps one by one, last first.

    The gradient is that of the discrete solve, equal to backprop's to rounding, for one stored state per
    step. Step sizes count as constants, as they do in backprop here. Random numbers that a field draws from
    torch's generators are drawn again, where the steps are fixed; every repeated step must end where it ended
    first.

    Args:
        integrator: The solve.
        y0: Initial state, shape (batch, ...).
        inputs: Tensors other than y0 that the field depends on and that require gradients.
        generators: The random generators before the first evaluation, where one was made already.

    Returns:
        The outputs, the first of which is y0.

    Raises:
        SolverOptionError: torch.func is at work, or random numbers cannot be drawn again.
    """
    refuse_transforms("checkpoint")
    generators = generators or Generators(y0.device)
    apply: Callable[..., tuple[Tensor, ...]] = _Checkpoint.apply
    return apply(integrator, generators, y0, *inputs)


class _Checkpoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, integrator: Integrator, generators: Generators, y0: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        tape = Tape(generators if integrator.notes_first else None)
        outputs = integrator.run(y0, tape)
        tape.settle()
        if not integrator.notes_first:
            generators.refuse_draws(integrator.counted.stats.solver, "checkpoint")
        # the end of the last step, where it is an output, to compare its repetition with
        end = [outputs[-1]] if tape.steps and tape.steps[-1].lands == len(outputs) - 1 else []
        ctx.integrator, ctx.steps, ctx.random, ctx.n = integrator, tape.steps, tape.random, len(tape.states)
        ctx.generators = generators
        # saved this way the states meet offloading hooks, and inputs changed meanwhile raise
        ctx.save_for_backward(*tape.states, *inputs, *end)
        ctx.m = len(inputs)
        return outputs[0].clone(), *outputs[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError(
                "gradient=checkpoint has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        saved = ctx.saved_tensors
        states, inputs, end = saved[: ctx.n], saved[ctx.n : ctx.n + ctx.m], saved[ctx.n + ctx.m :]
        y0_grad, input_grads = _backward_through(ctx, states, inputs, (*states[1:], *(end or [None])), grads)
        return (None, None, y0_grad if ctx.needs_input_grad[2] else None, *input_grads)


def _backward_through(
    ctx: Any,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    stored_ends: Sequence[Tensor | None],
    at_output: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor | None]]:
    integrator: Integrator = ctx.integrator
    adjoint: Tensor | None = None
    totals: list[Tensor | None] = [None] * len(inputs)
    solver = integrator.counted.stats.solver
    known, replays = KnownInputs(inputs, solver), Replays(integrator.slack, solver)
    drawn = any(states is not None for states in ctx.random)
    random_kept = ctx.generators.kept() if drawn else nullcontext()
    with integrator.counted.recomputing(), random_kept, known.border():
        for record, random, state, stored in zip(
            reversed(ctx.steps), reversed(ctx.random), reversed(states), reversed(stored_ends), strict=True
        ):
            if record.lands is not None:
                here = at_output[record.lands]
                adjoint = here if adjoint is None else adjoint + here
            if adjoint is None and not record.interior:
                continue
            if random is not None:
                ctx.generators.set(random)
            with torch.enable_grad():
                y = state.detach().requires_grad_()
                ends = integrator.replay(record, y)
            if stored is not None:
                replays.compare(ends[0], stored, state, record.times)
            known.look_for_others(ends, (y, *record.times), record.times[0] if record.times else None)
            cotangents = [adjoint, *(at_output[i] for i, _ in record.interior)]
            if adjoint is None:
                # the end of the step is nobody's output
                ends, cotangents = ends[1:], cotangents[1:]
            adjoint, *parts = pull_back(ends, (y, *inputs), cotangents, solver, known.made)
            del ends
            accumulate(totals, parts)
    replays.refuse_others()
    known.refuse_others()
    first = at_output[0]
    return first if adjoint is None else adjoint + first, totals


def pull_back(
    ends: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    solver: str,
    keep: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `ends` by `inputs`, None for those that they do not depend on.

    Args:
        ends: Tensors with a graph.
        inputs: Tensors that it leads to.
        cotangents: Gradients of a loss by `ends`.
        solver: The solver, in a few words.
        keep: Keep the graph, part of which is the caller's.

    Raises:
        SolverError: The graph leads through a tensor computed outside the field that is not among the inputs.
    """
    try:
        # the engine itself: the checks of torch.autograd.grad cost a twentieth of a small step
        engine = torch.autograd.Variable._execution_engine
        found: tuple[Tensor | None, ...] = engine.run_backward(
            tuple(ends), tuple(cotangents), keep, False, tuple(inputs), True, accumulate_grad=False
        )
        return found
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise SolverError(
            f"{solver}: the field uses a tensor that was computed outside it and that its attributes do not"
            " lead to",
            "store it on the field (an attribute or a list is enough), or set gradient: backprop",
        ) from error


def accumulate(totals: list[Tensor | None], parts: Sequence[Tensor | None]) -> None:
    """Add gradients to their totals, in place, in one kernel for all."""
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
