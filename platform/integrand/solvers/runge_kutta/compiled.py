"""Steps through torch.compile: one graph for the field, the stage sums and the error norm."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from integrand.compiling import own_code

from ..accounts import CountedField
from .step import step, sum_stages
from .tableau import Tableau

Function = Callable[..., Any]


def compiled_step(tableau: Tableau, counted: CountedField, all_stages: bool) -> Function:
    """`step` compiled together with the field.

    Times and step size arrive as one tensor, so that a new step compiles nothing anew and is one argument to
    check and, where graphs are captured, one to copy. Evaluations are counted outside the compiled region,
    where counting would recompile at every call.

    On a CUDA device the kernels of a step are captured as a CUDA graph. A graph's outputs live in memory that
    its next replay overwrites, so they are copied out.

    Args:
        tableau: The method.
        counted: The field; its account is charged with the evaluations of every step.
        all_stages: See `step`.

    Returns:
        A function of (row, y) -> (y₁, stages), with row the stage times and behind them h, shape
        (stages + 1,); the stages are empty without all_stages.
    """
    evaluations = tableau.stages if all_stages else tableau.needed
    grad = torch.is_grad_enabled()

    def run(row: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        counted.charge(evaluations, row[0])
        captured = captures(y.device)
        y1, stages = _step(tableau, all_stages, grad, captured)(counted.field, row, y)
        if captured:
            return y1.clone(), [k.clone() for k in stages]
        return y1, stages

    return run


def compiled_attempt(tableau: Tableau, counted: CountedField, with_k1: bool, interior: bool) -> Function:
    """One attempted step of an embedded pair with its error estimate, compiled together with the field.

    Not captured as a CUDA graph: the host reads the error back after every attempt, and rejects some.

    Args:
        tableau: The method.
        counted: The field; its account is charged with the evaluations of every attempt.
        with_k1: Whether the first stage is handed in.
        interior: Whether all stages are asked for, as dense output needs them, or the first and last alone.

    Returns:
        A function of (row, y, k₁, |y₀|, atol / rtol) -> (y₁, stages, |y₁|, numbers), the numbers being the
        norms of the error ratio and, for the stiffness indicator, of the last stage's change and of the
        change of state behind it, shape (3,).
    """
    attempt = _attempt(tableau, with_k1, interior, torch.is_grad_enabled())

    def run(row: Tensor, y: Tensor, k1: Tensor | None, size: Tensor, floor: float) -> Any:
        counted.charge(tableau.stages - with_k1, row[0])
        return attempt(counted.field, row, y, k1, size, floor)

    return run


def captures(device: torch.device) -> bool:
    """Whether compiled fixed steps become CUDA graphs on this device."""
    return device.type == "cuda"


@cache
def _step(tableau: Tableau, all_stages: bool, grad: bool, captured: bool) -> Function:
    # the field is an argument, not part of a closure: this cache must not keep networks alive
    def plain(field: nn.Module, row: Tensor, y: Tensor) -> Any:
        *times, h = row.unbind()
        y1, stages, _ = step(tableau, field, times, h, y, None, all_stages)
        return y1, stages if all_stages else []

    options: dict[str, Any] = {"triton.cudagraphs": captured}
    return torch.compile(own_code(plain), dynamic=False, options=options)


@cache
def _attempt(tableau: Tableau, with_k1: bool, interior: bool, grad: bool) -> Function:
    def plain(field: nn.Module, row: Tensor, y: Tensor, k1: Tensor | None, size: Tensor, floor: float) -> Any:
        *times, h = row.unbind()
        y1, stages, before = step(tableau, field, times, h, y, k1, True)
        with torch.no_grad():
            size1 = y1.abs()
            ratio = sum_stages(stages, tableau.error_row, h) / (torch.maximum(size, size1) + floor)
            parts = (ratio, stages[-1] - stages[-2], y1 - before)
            numbers = torch.stack([torch.linalg.vector_norm(x) for x in parts])
        kept = stages if interior else [stages[0], stages[-1]]
        return y1, kept, size1, numbers

    return torch.compile(own_code(plain), dynamic=False)
