"""The rows against diffrax in `integrand bench solvers --diffrax`; the extra `bench` brings it with jax."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Dopri5

from .solvers_fields import Problem, TwoLayers, ode_problems
from .solvers_timing import Row, measure, paired_row

TOL = 1e-5
CHAIN = 40
"""Plain evaluations, one after the other, that an evaluation's own cost is taken from."""

Alternatives = dict[str, Callable[[], object]]


def diffrax_rows(args: argparse.Namespace) -> list[Row]:
    """Forward solves of the two MLPs by dopri5 against diffrax's jitted one, same weights and tolerance.

    Besides the solves, each is measured over the evaluations that it makes at the cost of its own library's:
    plain calls for eager steps, one compiled or jitted chain for the others.

    Raises:
        UsageError: diffrax is not installed.
    """
    # one thread, as everything else here; read when jax starts
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    try:
        jax, diffrax = import_module("jax"), import_module("diffrax")
    except ImportError as error:
        raise UsageError(f"--diffrax needs {error.name}", "pip install 'integrand[bench]'") from error
    rows = []
    for problem in ode_problems(args.seed):
        if problem.name not in {"tiny", "mlp"} or (args.fields and problem.name not in args.fields):
            continue
        nfe: dict[str, int] = {}
        alternatives = _theirs(problem, jax, diffrax, nfe) | _ours(problem, False, nfe)
        if args.compile:
            alternatives |= _ours(problem, True, nfe)
        times = measure(alternatives, 1.0 if args.quick else 15.0, 3 if args.quick else 9, args.seed)
        rows += _rows(problem.name, times, nfe)
    return rows


def _rows(field: str, times: dict[str, list[float]], nfe: dict[str, int]) -> list[Row]:
    rows, over_own = [], {}
    for name, evaluations in nfe.items():
        solve, chain, weight = times[name], times[f"{name} f"], CHAIN / evaluations
        over_own[name] = [weight * a / b for a, b in zip(solve, chain, strict=True)]
        reference = "NFE × its own evaluation"
        rows.append(
            paired_row(f"forward dopri5 {name}", field, reference, solve, chain, None, weight, evaluations)
        )
    for name in nfe.keys() - {"diffrax"}:
        # the first target is set for the compiled step on the larger MLP, the second on both
        compiled = name == "compiled"
        case, theirs = f"forward dopri5 {name}", times["diffrax"]
        target = 1.0 if compiled and field == "mlp" else None
        rows.append(paired_row(case, field, "diffrax jit", times[name], theirs, target))
        case, target = f"forward dopri5 {name}, over its own evaluations", 1.0 if compiled else None
        rows.append(
            paired_row(case, field, "diffrax over its own", over_own[name], over_own["diffrax"], target)
        )
    return rows


def _ours(problem: Problem, compiled: bool, nfe: dict[str, int]) -> Alternatives:
    """A solve and a chain of evaluations by torch, each counted in `nfe` under its name."""
    solver = Dopri5(rtol=TOL, atol=TOL, compile=compiled)
    name = "compiled" if compiled else "eager"
    t = torch.zeros(())

    def chain(field: nn.Module, y: Tensor) -> Tensor:
        for _ in range(CHAIN):
            y = field(t, y)
        return y

    many: Callable[..., Tensor] = torch.compile(chain, dynamic=False) if compiled else chain

    def solve() -> None:
        with torch.no_grad():
            nfe[name] = solver.solve(problem.field, problem.y0, [0.0, 2.0]).stats.nfe_forward

    def evaluate() -> None:
        with torch.no_grad():
            many(problem.field, problem.y0)

    return {name: solve, f"{name} f": evaluate}


def _theirs(problem: Problem, jax: Any, diffrax: Any, nfe: dict[str, int]) -> Alternatives:
    """The same by diffrax and jax."""
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
        return solution.ys, solution.stats["num_steps"]

    def chain(y0: Any) -> Any:
        return jax.lax.fori_loop(0, CHAIN, lambda _, y: dynamics(0.0, y, None), y0)

    solve, many, y0 = jax.jit(run), jax.jit(chain), jax.numpy.asarray(problem.y0.numpy())
    # six stages for each attempted step, the first stage of all, and one more to choose the first step
    nfe["diffrax"] = 2 + 6 * int(solve(y0)[1])
    return {
        "diffrax": lambda: jax.block_until_ready(solve(y0)),
        "diffrax f": lambda: jax.block_until_ready(many(y0)),
    }
