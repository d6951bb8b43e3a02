"""Checks of solver options that all back ends share: did-you-mean, ranges, and short spelling of numbers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import pairwise
from numbers import Integral
from typing import Any, Self

from .errors import SolverOptionError

MAX_NFE = 1_000_000
"""Evaluations after which a solve that chooses its own steps is given up where nothing else is said."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown `name`: the nearest known name where there is one, else all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"


def require_choice(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuse a `name` that is not `known`.

    Raises:
        SolverOptionError: Names the nearest known choice.
    """
    names = tuple(known)
    if name not in names:
        raise SolverOptionError(f"unknown {kind} {name!r}", suggest(name, names))


def require_positive(**values: float | None) -> None:
    """Refuse numbers that are not positive; None passes.

    Raises:
        SolverOptionError: Names the option and its value.
    """
    for name, value in values.items():
        if value is not None and not value > 0:
            raise SolverOptionError(f"{name} must be positive, not {value!r}", f"set {name} above 0")


def is_whole(value: object) -> bool:
    """Whether it is an integer of Python or NumPy."""
    return isinstance(value, Integral)


def require_counts(**values: object) -> None:
    """Refuse what is no whole number of at least 1.

    Raises:
        SolverOptionError: Names the option and its value.
    """
    for name, value in values.items():
        if not isinstance(value, Integral) or int(value) < 1:
            raise SolverOptionError(
                f"{name}={value!r} counts nothing", f"set {name} to a whole number of 1 or more"
            )


def require_ascending(strict: bool = True, **values: float) -> None:
    """Refuse numbers that do not ascend in the order given.

    Args:
        strict: Whether neighbours must differ.
        **values: Names and numbers, smallest first.

    Raises:
        SolverOptionError: Names the two options that are out of order.
    """
    for (low, a), (high, b) in pairwise(values.items()):
        if not (a < b if strict else a <= b):
            raise SolverOptionError(
                f"{low}={a:g} is {'not below' if strict else 'above'} {high}={b:g}", f"set {low} below {high}"
            )


def require_not_set(method: str, reason: str, remedy: str, **values: object) -> None:
    """Refuse options that `method` does not take; None, False and empty mean not set.

    Raises:
        SolverOptionError: Names the option, the method and the remedy.
    """
    for name, value in values.items():
        if value is not None and value is not False and value != {}:
            raise SolverOptionError(f"{method} does not take {name}={value!r}: {reason}", remedy)


def require_steps(name: str, step_size: float | None, num_steps: int | None) -> None:
    """Refuse all but exactly one of the two ways to say what equal steps are.

    Raises:
        SolverOptionError: Both or neither is given.
    """
    if (step_size is None) == (num_steps is None):
        both = "both step_size and num_steps" if step_size else "neither step_size nor num_steps"
        raise SolverOptionError(f"{name} got {both}", "set one of the two")


def chooses_steps(name: str, step_size: float | None, num_steps: int | None, **by_error: object) -> bool:
    """Whether a solver chooses its steps, no equal ones being asked for.

    Args:
        name: The solver.
        step_size: Longest of equal steps.
        num_steps: Number of equal steps.
        **by_error: Options that mean nothing with equal steps.

    Raises:
        SolverOptionError: Both kinds of equal steps, or one of `by_error` with them.
    """
    if step_size is None and num_steps is None:
        return True
    require_steps(name, step_size, num_steps)
    remedy = "remove it, or remove step_size and num_steps"
    require_not_set(f"{name} with fixed steps", "nothing controls the error", remedy, **by_error)
    return False


def spell_steps(step_size: float | None, num_steps: int | None) -> str:
    """Equal steps as they are written in names: `num_steps=100` or `step_size=1e-3`."""
    return f"num_steps={num_steps}" if step_size is None else f"step_size={spell(step_size)}"


class Shown:
    """Remembers what its constructor was given, for `repr`."""

    _given: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember; a copy or a pickle is given nothing and takes over what the original remembers."""
        made = super().__new__(cls)
        made._given = given(cls, args, kwargs)
        return made

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._given.items())
        return f"{type(self).__name__}({settings})"


def given(made: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor by name."""
    names = list(inspect.signature(made.__init__).parameters)[1:]  # type: ignore[misc]  # of a class
    return {**dict(zip(names, args, strict=False)), **kwargs}


def spell(value: float) -> str:
    """A number as people write it in names: 0.001 as 1e-3, 0.25 as 0.25."""
    if value and (abs(value) < 0.01 or abs(value) >= 1e5):
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    short = f"{value:g}"
    # powers of ten read as tolerances
    return {"0.01": "1e-2", "0.001": "1e-3"}.get(short, short)
