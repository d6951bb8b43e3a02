"""`integrand bench solvers --parts`: what a dopri5 solve consists of besides its evaluations."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from integrand.solvers import Dopri5, SolveStats
from integrand.solvers.accounts import CountedField
from integrand.solvers.runge_kutta.compiled import compiled_attempt
from integrand.solvers.runge_kutta.step import add_stages, sum_up_to_factor

from .solvers_fields import Problem, ode_problems
from .solvers_timing import Row, measure, paired_row

TOL = 1e-5
TABLEAU = Dopri5.tableau
SUMS = (*TABLEAU.rows[1 : TABLEAU.needed], TABLEAU.step_row)
"""The weights of the arguments of all stages and of the step."""
LEAST = sum(len(row) + 2 for row in SUMS)
"""States that the sums of one step must read and write: each its stages, y and the result."""
BLOCK = 1 << 16
"""Numbers of a block: a quarter of a megabyte in float32."""

Works = dict[str, Callable[[], object]]


def parts_rows(args: argparse.Namespace) -> list[Row]:
    """Stage sums, error estimate and the rest, each over the evaluations of the same solve.

    Beside them what copying as many states takes as the stage sums must read and write even if each were one
    kernel: the floor that the machine's memory sets.
    """
    rows = []
    for problem in ode_problems(args.seed):
        if not args.fields or problem.name in args.fields:
            rows += _parts(problem, args)
    return rows


def _parts(problem: Problem, args: argparse.Namespace) -> list[Row]:
    field, y0 = problem.field, problem.y0
    solver = Dopri5(rtol=TOL, atol=TOL)
    with torch.no_grad():
        stats = solver.solve(field, y0, [0.0, 2.0]).stats
    evaluations, attempts = stats.nfe_forward, (stats.accepted or 0) + (stats.rejected or 0)
    states = [torch.randn_like(y0) for _ in range(TABLEAU.stages + 2)]
    t = torch.zeros(())
    works: Works = {
        "evaluations": lambda: [field(t, y0) for _ in range(evaluations)],
        "solve": lambda: solver.solve(field, y0, [0.0, 2.0]),
        "stage sums": lambda: [_sums(states) for _ in range(attempts)],
        "stage sums by blocks": lambda: [_sums_by_blocks(states) for _ in range(attempts)],
        "error estimate": lambda: [_error(states) for _ in range(attempts)],
        "copies of as many states": lambda: [_copies(states) for _ in range(attempts)],
    }
    if args.compile:
        works |= _compiled(problem, evaluations, attempts, states)
    alternatives = {name: _without_graph(work) for name, work in works.items()}
    times = measure(alternatives, 0.7 if args.quick else 10.0, 3 if args.quick else 9, args.seed)
    own = times.pop("evaluations")
    solves, sums, errors = (times[name] for name in ("solve", "stage sums", "error estimate"))
    times["rest"] = [max(s - a - b - e, 0.0) for s, a, b, e in zip(solves, sums, errors, own, strict=True)]
    return [
        paired_row(f"dopri5 {name}", problem.name, "NFE × evaluation", each, own, None, nfe=evaluations)
        for name, each in times.items()
    ]


def _compiled(problem: Problem, evaluations: int, attempts: int, states: list[Tensor]) -> Works:
    """The same solve compiled, its attempted steps alone, and as many evaluations as one graph."""
    field, y0 = problem.field, problem.y0
    solver = Dopri5(rtol=TOL, atol=TOL, compile=True)
    counted = CountedField(field, SolveStats())
    row = torch.tensor([*TABLEAU.c, 0.1])
    t = torch.zeros(())

    def chain(field: nn.Module, y: Tensor) -> Tensor:
        for _ in range(evaluations):
            y = field(t, y)
        return y

    def attempt() -> object:
        take = compiled_attempt(TABLEAU, counted, True, False)
        return take(row, y0, states[0], states[1], 1.0)[3].tolist()

    many = torch.compile(chain, dynamic=False)
    return {
        "compiled solve": lambda: solver.solve(field, y0, [0.0, 2.0]),
        "compiled attempts": lambda: [attempt() for _ in range(attempts)],
        "compiled evaluations": lambda: many(field, y0),
    }


def _without_graph(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad():
            work()

    return run


def _sums(states: list[Tensor]) -> list[Tensor]:
    y, *stages = states
    return [add_stages(y, stages, row, 0.1) for row in SUMS]


def _sums_by_blocks(states: list[Tensor]) -> list[Tensor]:
    """The same bits with every sum finished for a block that the cache holds before the next block."""
    y, *stages = (torch.split(x.view(-1), BLOCK) for x in states)
    results = []
    for row in SUMS:
        result = torch.empty_like(states[0])
        (first, weight), *others = row
        for i, block in enumerate(torch.split(result.view(-1), BLOCK)):
            torch.add(y[i], stages[first][i], alpha=0.1 * weight, out=block)
            for j, w in others:
                block.add_(stages[j][i], alpha=0.1 * w)
        results.append(result)
    return results


def _error(states: list[Tensor]) -> float:
    """As an adaptive step makes it; see `AdaptiveSteps`."""
    size, y1, *stages = states
    scale = torch.maximum(size, y1.abs()).add_(1.0)
    total, _ = sum_up_to_factor(stages, TABLEAU.error_row)
    norm: float = torch.linalg.vector_norm(total.div_(scale)).item()
    return norm


def _copies(states: list[Tensor]) -> list[Tensor]:
    """A copy reads one state and writes one."""
    n = len(states)
    return [states[i % n].copy_(states[(i + 1) % n]) for i in range(LEAST // 2)]
