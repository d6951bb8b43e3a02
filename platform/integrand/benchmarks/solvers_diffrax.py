"""The rows against diffrax in `integrand bench solvers --diffrax`; diffrax and jax are installed by hand."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from integrand.errors import UsageError
from integrand.solvers import Dopri5

from .solvers_fields import Problem, TwoLayers, ode_problems
from .solvers_timing import Row, measure, paired_row

TOL = 1e-5


def diffrax_rows(args: argparse.Namespace) -> list[Row]:
    """Forward solves of the two MLPs by dopri5 against diffrax's jitted one, same weights and tolerance.

    Raises:
        UsageError: diffrax is not installed.
    """
    # one thread, as everything else here; read when jax starts
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    try:
        jax, diffrax = import_module("jax"), import_module("diffrax")
    except ImportError as error:
        raise UsageError(f"--diffrax needs {error.name}", "pip install diffrax jax") from error
    rows = []
    for problem in ode_problems(args.seed):
        if problem.name not in {"tiny", "mlp"}:
            continue
        alternatives: dict[str, Callable[[], object]] = {
            "diffrax": _diffrax(problem, jax, diffrax),
            "eager": _own(problem, compiled=False),
        }
        if args.compile:
            alternatives["compiled"] = _own(problem, compiled=True)
        times = measure(alternatives, 1.0 if args.quick else 15.0, 3 if args.quick else 9, args.seed)
        # the target is set for the compiled step on the larger MLP
        for name in alternatives.keys() - {"diffrax"}:
            target = 1.0 if name == "compiled" and problem.name == "mlp" else None
            case = f"forward dopri5 {name}"
            rows.append(paired_row(case, problem.name, "diffrax jit", times[name], times["diffrax"], target))
    return rows


def _own(problem: Problem, compiled: bool) -> Callable[[], object]:
    solver = Dopri5(rtol=TOL, atol=TOL, compile=compiled)

    def go() -> None:
        with torch.no_grad():
            solver.solve(problem.field, problem.y0, [0.0, 2.0])

    return go


def _diffrax(problem: Problem, jax: Any, diffrax: Any) -> Callable[[], object]:
    field = problem.field
    assert isinstance(field, TwoLayers)
    w1, b1, w2, b2 = (jax.numpy.asarray(p.detach().numpy()) for p in field.parameters())

    def dynamics(t: Any, y: Any, args: Any) -> Any:
        return jax.numpy.tanh(y @ w1.T + b1) @ w2.T + b2

    controller = diffrax.PIDController(rtol=TOL, atol=TOL)

    def run(y0: Any) -> Any:
        term = diffrax.ODETerm(dynamics)
        solution = diffrax.diffeqsolve(
            term, diffrax.Dopri5(), 0.0, 2.0, None, y0, stepsize_controller=controller
        )
        return solution.ys

    solve, y0 = jax.jit(run), jax.numpy.asarray(problem.y0.numpy())
    return lambda: solve(y0).block_until_ready()
