"""Samplers, ODE solvers and time grids by short names, or spelled out as `DDIM(eta=0.5)`."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

from ..errors import UsageError
from .suggest import did_you_mean

SAMPLERS = {
    "euler-maruyama": "EulerMaruyama()",
    "reverse-diffusion": "ReverseDiffusion()",
    "ddpm": "Ancestral()",
    "ddpm-beta": "Ancestral(variance='beta')",
    "pc": "PredictorCorrector()",
    "ddim": "DDIM()",
    "flow-euler": "ProbabilityFlow(Euler(num_steps=1))",
    "flow-heun": "ProbabilityFlow(Heun(num_steps=1))",
    "flow-rk4": "ProbabilityFlow(RK4(num_steps=1))",
    "flow-dopri5": "ProbabilityFlow(Dopri5())",
    "heun": "Heun()",
    "heun-churn": "Heun(churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003)",
    "dpm-solver-2s": "DPMSolverSinglestep(2)",
    "dpm-solver-3s": "DPMSolverSinglestep(3)",
    "dpm-solver-2m": "DPMSolverMultistep(2)",
    "dpm-solver-3m": "DPMSolverMultistep(3)",
    "dpm-solver++-2s": "DPMSolverPPSinglestep(2)",
    "dpm-solver++-3s": "DPMSolverPPSinglestep(3)",
    "dpm-solver++-2m": "DPMSolverPPMultistep(2)",
    "dpm-solver++-3m": "DPMSolverPPMultistep(3)",
    "dpm-solver++-sde": "DPMSolverSDE(2)",
    "unipc": "UniPC(2)",
    "unipc-bh1": "UniPC(2, variant='bh1')",
    "unipc-3": "UniPC(3)",
    "pndm": "PNDM()",
    "plms": "PLMS()",
    "ipndm": "IPNDM()",
    "deis-tab": "DEISAB(3)",
    "deis-rhoab": "DEISAB(3, variable='rho')",
    "deis-rho-heun": "DEISRK('heun')",
    "deis-rho-kutta3": "DEISRK('kutta3')",
}
"""Every kind of diffusion sampler at its usual settings."""

FLOW_SOLVERS = {
    "euler": "Euler()",
    "midpoint": "Midpoint()",
    "heun": "Heun()",
    "rk4": "RK4()",
    "bosh3": "Bosh3()",
    "dopri5": "Dopri5()",
    "tsit5": "Tsit5()",
    "dopri8": "Dopri8()",
}
"""ODE solvers for flows."""

GRIDS = {
    "uniform": "UniformGrid(to_zero=True)",
    "quadratic": "QuadraticGrid(to_zero=True)",
    "log-snr": "LogSNRGrid(to_zero=True)",
    "karras": "KarrasGrid(to_zero=True)",
    "edm": "EDMGrid()",
    "discrete": "DiscreteGrid()",
}
"""Time grids whose last step goes to the data."""


def sampler(text: str) -> Any:
    """The diffusion sampler that `text` names.

    Raises:
        UsageError: There is none, or its arguments do not fit.
    """
    from integrand.diffusion import Sampler

    return _resolve("sampler", text, SAMPLERS, Sampler)


def grid(text: str) -> Any:
    """The time grid that `text` names; see `sampler`."""
    from integrand.diffusion import TimeGrid

    return _resolve("grid", text, GRIDS, TimeGrid)


def solver(text: str, settings: dict[str, Any]) -> Any:
    """The ODE solver that `text` names, with further settings such as `num_steps`; see `sampler`."""
    from integrand.solvers import ODESolver

    return _resolve("solver", text, FLOW_SOLVERS, ODESolver, settings)


def solver_class(text: str) -> Any:
    """The class of that solver."""
    from integrand.solvers import ODESolver

    return _class(_tree("solver", FLOW_SOLVERS.get(text, text)), "solver", FLOW_SOLVERS, ODESolver)


def _resolve(
    kind: str, text: str, short: dict[str, str], base: type, settings: dict[str, Any] | None = None
) -> Any:
    node = _tree(kind, short.get(text, text))
    try:
        return _build(node, kind, short, base, settings or {})
    except (TypeError, ValueError) as error:
        raise UsageError(f"--{kind} {text}: {error}", "see docs/sampling.md") from error


def _tree(kind: str, text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        # such as dpm-solver++-4m: not a name that Python could read, and not one that is known
        return ast.Name(text)


def _build(node: ast.expr, kind: str, short: dict[str, str], base: type, settings: dict[str, Any]) -> Any:
    cls = _class(node, kind, short, base)
    args: list[Any] = []
    given = dict(settings)
    if isinstance(node, ast.Call):
        args = [_value(a, kind) for a in node.args]
        given |= {k.arg: _value(k.value, kind) for k in node.keywords if k.arg}
    return cls(*args, **given)


def _class(node: ast.expr, kind: str, short: dict[str, str], base: type) -> Any:
    from ..registry import subclasses

    spelled = node.func if isinstance(node, ast.Call) else node
    name = spelled.id if isinstance(spelled, ast.Name) else ast.unparse(spelled)
    found: list[Any] = subclasses(base)
    known = {c.__name__: c for c in found if not inspect.isabstract(c)}
    if name not in known and _PATH.fullmatch(name):
        return _own(name, kind, base)
    if name not in known:
        raise UsageError(
            f"there is no {kind} {name!r}{did_you_mean(name, [*known, *short])}",
            f"short names: {', '.join(short)}",
        )
    return known[name]


_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _own(path: str, kind: str, base: type) -> Any:
    """A class of the user's own by its import path, as in a configuration."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"there is no {kind} {path!r}: {error}", "name it as module.Class") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise UsageError(f"{path} is no {kind}", f"it has to be a subclass of {base.__name__}")
    return found


def _value(node: ast.expr, kind: str) -> Any:
    """A literal, or a sampler or solver that another one takes."""
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    from integrand.diffusion import Sampler
    from integrand.solvers import ODESolver

    inner = node.func.id if isinstance(node.func, ast.Name) else ""
    # inside ProbabilityFlow(…) Heun is the ODE solver of that name
    solvers = {c.__name__ for c in _all(ODESolver)}
    base: type = ODESolver if inner in solvers else Sampler
    return _build(node, kind, {}, base, {})


def _all(base: type) -> list[type]:
    from ..registry import subclasses

    return subclasses(base)
