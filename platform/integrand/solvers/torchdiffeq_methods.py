"""What each method of torchdiffeq 0.2.5 is, and which options it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import SolverOptionError
from .options import suggest

MethodName = Literal[
    "dopri8",
    "dopri5",
    "bosh3",
    "fehlberg2",
    "adaptive_heun",
    "euler",
    "midpoint",
    "heun2",
    "heun3",
    "rk4",
    "explicit_adams",
    "implicit_adams",
    "fixed_adams",
    "scipy_solver",
]

_ADAPTIVE = frozenset(
    {
        "min_step",
        "max_step",
        "first_step",
        "step_t",
        "jump_t",
        "safety",
        "ifactor",
        "dfactor",
        "max_num_steps",
    }
)
_FIXED = frozenset({"perturb"})
_SCIPY_SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")


@dataclass(frozen=True)
class Method:
    """Declared properties of a torchdiffeq method.

    Args:
        order: Order of convergence, None where it varies during the solve.
        adaptive: Whether rtol and atol choose the steps; a fixed method takes step_size or num_steps.
        options: Names accepted in `options`.
        tolerances: Whether rtol and atol are read at all.
        differentiable: Whether backprop goes through it.
    """

    order: int | None
    adaptive: bool
    options: frozenset[str]
    tolerances: bool
    differentiable: bool = True


METHODS: Mapping[str, Method] = {
    "dopri8": Method(8, True, _ADAPTIVE, True),
    "dopri5": Method(5, True, _ADAPTIVE, True),
    "bosh3": Method(3, True, _ADAPTIVE, True),
    "fehlberg2": Method(2, True, _ADAPTIVE, True),
    "adaptive_heun": Method(2, True, _ADAPTIVE, True),
    "euler": Method(1, False, _FIXED, False),
    "midpoint": Method(2, False, _FIXED, False),
    "heun2": Method(2, False, _FIXED, False),
    "heun3": Method(3, False, _FIXED, False),
    "rk4": Method(4, False, _FIXED, False),
    "explicit_adams": Method(None, False, _FIXED | {"max_order"}, False),
    "implicit_adams": Method(None, False, _FIXED | {"max_order", "max_iters"}, True),
    "fixed_adams": Method(None, False, _FIXED | {"max_order", "max_iters"}, True),
    # min_step is left out: SciPy 1.17 ignores it without a word
    "scipy_solver": Method(None, True, frozenset({"max_step", "solver"}), True, differentiable=False),
}


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the method would ignore or choke on.

    Raises:
        SolverOptionError: Names the option, the method and the nearest option that it takes.
    """
    known = METHODS[method].options
    for name, value in options.items():
        if name in {"norm", "grid_constructor", "dtype", "interp", "grid_points", "eps"}:
            raise SolverOptionError(f"option {name!r} is set by the solver itself", "leave it out")
        if name not in known:
            raise SolverOptionError(f"{method} does not take option {name!r}", suggest(name, known))
        if name == "solver" and value not in _SCIPY_SOLVERS:
            raise SolverOptionError(f"SciPy has no solver {value!r}", suggest(str(value), _SCIPY_SOLVERS))
        if name in {"min_step", "max_step", "first_step", "safety", "ifactor", "dfactor"} and not value > 0:
            raise SolverOptionError(f"option {name} must be positive, not {value!r}", f"set {name} above 0")
        if name == "max_order" and not 4 <= value <= 12:
            raise SolverOptionError(f"max_order must lie in 4…12, not {value!r}", "for order 4 use rk4")
