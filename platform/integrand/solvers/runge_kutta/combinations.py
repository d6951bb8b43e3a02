"""Options of the explicit methods that exclude each other."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from integrand.solvers.errors import SolverOptionError
from integrand.solvers.options import require_choice
from integrand.solvers.step_size import Gains

from .control import Tolerance


class Settings(Protocol):
    """The options of a solver that others exclude."""

    rtol: Tolerance
    atol: Tolerance
    gradient: Any
    per_sample: bool
    on_failure: Any
    min_step: float | None
    force_min_step: bool
    safety: float
    pid: Gains
    save: Any
    dense: bool
    compile: bool
    autocast: bool


def refuse_combinations(name: str, given: Settings) -> None:
    """Refuse options that exclude each other.

    Args:
        name: The solver.
        given: Its options.

    Raises:
        SolverOptionError: Names both.
    """
    require_choice("save", given.save, ("outputs", "steps"))
    require_choice("on_failure", given.on_failure, ("raise", "continue"))
    if given.on_failure == "continue":
        _refuse_going_on(given)
    if given.force_min_step and given.min_step is None:
        raise SolverOptionError("force_min_step needs a step to force", "set min_step")
    _refuse_step_control(given)
    if given.per_sample and given.save == "steps":
        raise SolverOptionError("save=steps has one time for all samples", "set per_sample: false")
    if given.dense and given.gradient == "checkpoint":
        raise SolverOptionError("dense keeps what gradient=checkpoint does without", "set gradient: backprop")
    if given.compile:
        _refuse_compiling(name, given)


def _refuse_step_control(given: Settings) -> None:
    """Refuse a safety factor or gains with which no step size settles."""
    if given.safety >= 1:
        raise SolverOptionError(
            f"safety={given.safety} asks for steps that fail", "set it below 1, such as 0.8"
        )
    if len(given.pid) != 3 or not sum(given.pid) > 0:
        raise SolverOptionError(
            f"pid takes three gains of positive sum, not {list(given.pid)}", "such as [0.2, 0.7, 0.0]"
        )


def _refuse_going_on(given: Settings) -> None:
    if not given.per_sample:
        raise SolverOptionError(
            "on_failure=continue needs steps of its own for every sample", "set per_sample: true"
        )
    if given.gradient == "backprop":
        raise SolverOptionError(
            "backprop carries the NaN of a failed sample into the gradients of all",
            "set gradient: checkpoint",
        )


def _refuse_compiling(name: str, given: Settings) -> None:
    by_component = any(isinstance(x, Tensor) for x in (given.rtol, given.atol))
    for other, there in (
        ("per_sample", given.per_sample),
        ("autocast", given.autocast),
        ("a tolerance for each component", by_component),
    ):
        if there:
            raise SolverOptionError(f"{name} does not compile steps with {other}", "remove one of the two")
