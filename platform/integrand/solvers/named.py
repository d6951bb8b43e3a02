"""Solvers by the names that users of other libraries know."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from integrand.registry import subclasses

from .base import ODESolver
from .errors import SolverOptionError
from .options import suggest
from .runge_kutta import RungeKutta
from .sde import SDE, SDESolver, TorchSDE
from .sde.torchsde_backend import METHODS as TORCHSDE_METHODS
from .torchdiffeq_backend import TorchDiffEq
from .torchdiffeq_methods import METHODS

ODE_NAMES = {
    "dopri5": "Dopri5",
    "dopri8": "Dopri8",
    "bosh3": "Bosh3",
    "tsit5": "Tsit5",
    "adaptive_heun": "Heun",
    "euler": "Euler",
    "midpoint": "Midpoint",
    "rk4": "RK38",  # torchdiffeq's rk4 is the 3/8 rule
}
"""torchdiffeq's names for methods of the engine; its other methods run in torchdiffeq itself."""

SDE_NAMES = {
    "euler": "EulerMaruyama",
    "milstein": "Milstein",
    "srk": "SRK",
    "heun": "StratonovichHeun",
    "euler_heun": "EulerHeun",
    "midpoint": "StratonovichMidpoint",
    "reversible_heun": "ReversibleHeunSDE",
}
"""torchsde's names for methods of the engine; its other methods run in torchsde itself."""

C = TypeVar("C", ODESolver, SDESolver)
_ODE: type[ODESolver] = ODESolver  # type: ignore[type-abstract]  # looked up, never constructed
_SDE: type[SDESolver] = SDESolver  # type: ignore[type-abstract]


def ode_solver(
    method: str | None, solver: ODESolver | None, settings: dict[str, Any], default: str = "dopri5"
) -> ODESolver:
    """The solver that `method` names, with `settings`; or `solver`.

    Raises:
        SolverOptionError: Unknown method or setting, or both a solver and settings.
    """
    if solver is not None:
        _alone(method, solver, settings)
        return solver
    method = default if method is None else method
    name, known = ODE_NAMES.get(method, method), _classes(_ODE)
    if name in METHODS:
        return _torchdiffeq(name, settings)
    if name not in known:
        raise SolverOptionError(f"unknown method {method!r}", suggest(method, [*ODE_NAMES, *METHODS, *known]))
    cls = known[name]
    if issubclass(cls, RungeKutta) and cls.tableau.b_low is None:
        settings = _one_step_each(settings)
    return _construct(cls, name, settings)


def _torchdiffeq(name: str, settings: dict[str, Any]) -> ODESolver:
    if not METHODS[name].adaptive:
        settings = _one_step_each(settings)
    known = inspect.signature(TorchDiffEq).parameters
    options = {k: v for k, v in settings.items() if k not in known}
    ours = {k: v for k, v in settings.items() if k in known}
    return TorchDiffEq(method=name, options=options, **ours)  # type: ignore[arg-type]  # one of METHODS


def sde_solver(
    method: str | None,
    solver: SDESolver | None,
    sde: SDE,
    dt: float | None,
    ts: Tensor | Sequence[float],
    settings: dict[str, Any],
) -> SDESolver:
    """The solver that `method` names, with steps of `dt` and `settings`; or `solver`.

    Raises:
        SolverOptionError: Unknown method or setting, or settings that would be ignored.
    """
    if solver is not None:
        _alone(method, solver, settings if dt is None else {"dt": dt, **settings})
        return solver
    if not {"num_steps", "rtol", "atol"} & settings.keys():
        settings = {"step_size": 1e-3 if dt is None else dt, **settings}
    elif dt is not None:
        raise SolverOptionError("sdeint got both dt and num_steps or a tolerance", "set one of the two")
    method = _default_method(sde) if method is None else method
    name, known = SDE_NAMES.get(method, method), _classes(_SDE)
    if name in known:
        return _construct(known[name], name, settings)
    if name not in TORCHSDE_METHODS:
        raise SolverOptionError(
            f"unknown method {method!r}", suggest(method, [*SDE_NAMES, *TORCHSDE_METHODS, *known])
        )
    size = settings.pop("step_size", None)
    if size is not None:
        # torchsde's steps are counted, so that none of 1e-7 is left at the end
        settings["num_steps"] = max(1, math.ceil(abs(float(ts[-1]) - float(ts[0])) / size * (1 - 1e-12)))
    return _construct(TorchSDE, name, settings, method=name)


def _default_method(sde: SDE) -> str:
    if getattr(sde, "sde_type", None) == "stratonovich":
        return "StratonovichHeun"
    takes = _classes(_SDE)["SRK"].noise_types
    return "SRK" if getattr(sde, "noise_type", None) in takes else "EulerMaruyama"


def _one_step_each(settings: dict[str, Any]) -> dict[str, Any]:
    """The grid of torchdiffeq where nothing else is asked for: the output times themselves."""
    return settings if {"step_size", "num_steps"} & settings.keys() else {**settings, "num_steps": 1}


def _alone(method: str | None, solver: object, settings: Mapping[str, Any]) -> None:
    extra = [*(["method"] if method is not None else []), *settings]
    if extra:
        raise SolverOptionError(
            f"{type(solver).__name__} is given, so {', '.join(extra)} would be ignored",
            "set them on the solver, or pass method instead of solver",
        )


def _classes(base: type[C]) -> dict[str, type[C]]:
    """Every solver that can be constructed, by the name of its class."""
    found: dict[str, type[C]] = {}
    for cls in subclasses(base):
        # the base of the explicit methods is not abstract, it lacks its tableau
        methodless = issubclass(cls, RungeKutta) and not hasattr(cls, "tableau")
        if not inspect.isabstract(cls) and not methodless:
            found[cls.__name__] = cls
    return found


def _construct(cls: type[C], name: str, settings: dict[str, Any], **fixed: Any) -> C:
    known = inspect.signature(cls).parameters
    for setting in settings:
        if setting not in known:
            theirs = any(setting in m.options for m in METHODS.values()) and issubclass(cls, ODESolver)
            remedy = (
                "only solver=TorchDiffEq(method, options=…) takes it" if theirs else suggest(setting, known)
            )
            raise SolverOptionError(f"{name} does not take {setting!r}", remedy)
    return cls(**fixed, **settings)
