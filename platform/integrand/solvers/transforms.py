"""Gradient modes that torch.func cannot pass through, refused with a remedy."""

from __future__ import annotations

from torch._C._functorch import peek_interpreter_stack

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


def _refuse(what: str, remedy: str) -> None:
    if peek_interpreter_stack() is not None:
        raise SolverOptionError(f"{what} does not go through the transforms of torch.func", remedy)
