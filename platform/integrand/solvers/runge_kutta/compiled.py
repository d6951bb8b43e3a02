"""Steps through torch.compile: one graph for the field, the stage sums and the error norm."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ..accounts import CountedField
from .step import step, sum_stages
from .tableau import Tableau

Function = Callable[..., Any]


def compiled_step(tableau: Tableau, counted: CountedField, with_k1: bool, all_stages: bool) -> Function:
    """`step` compiled together with the field.

    The step size arrives as a tensor, so that a new one compiles nothing anew, and evaluations are counted
    outside the compiled region, where counting would recompile at every call.

    Args:
        tableau: The method.
        counted: The field; its account is charged with the evaluations of every step.
        with_k1: Whether the first stage is handed in.
        all_stages: See `step`.

    Returns:
        A function of (times, h, y, k1) with h a 0-d tensor, like `step`.
    """
    compiled = _step(tableau, all_stages, with_k1, torch.is_grad_enabled())
    evaluations = (tableau.stages if all_stages else tableau.needed) - with_k1

    def run(times: tuple[Tensor, ...], h: Tensor, y: Tensor, k1: Tensor | None) -> Any:
        counted.charge(evaluations, times[0])
        return compiled(counted.field, times, h, y, k1)

    return run


@cache
def _step(tableau: Tableau, all_stages: bool, with_k1: bool, grad: bool) -> Function:
    # the field is an argument, not part of a closure: this cache must not keep networks alive
    def plain(field: nn.Module, times: tuple[Tensor, ...], h: Tensor, y: Tensor, k1: Tensor | None) -> Any:
        return step(tableau, field, times, h, y, k1, all_stages)

    return torch.compile(_own_code(plain), dynamic=False)


@cache
def compiled_error(tableau: Tableau) -> Function:
    """Norm of the error ratio and |y₁| as one compiled function of (stages, h, |y₀|, y₁, atol / rtol)."""

    def plain(stages: list[Tensor], h: Tensor, size: Tensor, y1: Tensor, floor: float) -> Any:
        size1 = y1.abs()
        ratio = sum_stages(stages, tableau.error_row, h) / (torch.maximum(size, size1) + floor)
        return torch.linalg.vector_norm(ratio), size1

    return torch.compile(_own_code(plain), dynamic=False)


def _own_code(function: Function) -> Any:
    """The function with a code object of its own: dynamo bounds recompilations per code object."""
    assert isinstance(function, FunctionType)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
    return FunctionType(code, function.__globals__, code.co_name, None, function.__closure__)


_numbers = count()
