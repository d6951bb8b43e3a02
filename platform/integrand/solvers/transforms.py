"""Gradient modes that torch.func cannot pass through, refused with a remedy."""

from __future__ import annotations

from torch import Tensor
from torch._C._functorch import (
    get_unwrapped,
    is_batchedtensor,
    is_gradtrackingtensor,
    peek_interpreter_stack,
)

from .errors import SolverOptionError


def refuse_transforms(gradient: str) -> None:
    """Refuse a solve under torch.func (grad, vjp, jacrev, jvp, vmap) whose backward pass recomputes.

    Raises:
        SolverOptionError: A transform is active; torch would end in an internal error.
    """
    _refuse(f"gradient={gradient}", "set gradient: backprop, which does, or use torch.autograd")


def refuse_transforms_of(solver: str) -> None:
    """Refuse a solve under torch.func by a solver that differentiates the field itself.

    Raises:
        SolverOptionError: A transform is active; torch would end in an internal error.
    """
    _refuse(solver, "use torch.autograd, or an explicit method")


def refuse_vmap(x: Tensor) -> None:
    """Refuse a solve that torch.func.vmap would repeat over a dimension of its own.

    Args:
        x: A state, or a value of the field.

    Raises:
        SolverOptionError: It is one of many; steps depend on numbers, of which each of them has another.
    """
    if peek_interpreter_stack() is None:
        return
    while is_gradtrackingtensor(x):
        x = get_unwrapped(x)
    if is_batchedtensor(x):
        raise SolverOptionError(
            "a solve does not go through torch.func.vmap",
            "the first dimension of the state is a batch already: solve the whole batch, and give weights"
            " that differ a batch dimension inside the field",
        )


def _refuse(what: str, remedy: str) -> None:
    if peek_interpreter_stack() is not None:
        raise SolverOptionError(f"{what} does not go through the transforms of torch.func", remedy)
