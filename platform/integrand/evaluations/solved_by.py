"""A network under other solvers than it trained with, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from integrand.solvers import ODESolver
from integrand.solvers.verification import refined


def held(model: nn.Module) -> list[tuple[nn.Module, str, ODESolver]]:
    """Where the network keeps its solvers."""
    return [(m, n, v) for m in model.modules() for n, v in vars(m).items() if isinstance(v, ODESolver)]


@contextmanager
def solved_by(model: nn.Module, given: ODESolver | None, k: int) -> Iterator[str]:
    """Other solvers in the place of the network's own for a while; gives the first in words.

    Args:
        model: The network.
        given: The solver; None for the own ones.
        k: How much finer it is made: 2ᵏ times the steps, or tolerances divided by 10ᵏ.
    """
    own = held(model)
    others = [refined(given or solver, k) for _, _, solver in own]
    try:
        for (module, name, _), other in zip(own, others, strict=True):
            setattr(module, name, other)
        yield others[0].describe()
    finally:
        for module, name, solver in own:
            setattr(module, name, solver)
