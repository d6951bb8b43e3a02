"""`integrand bench solvers`: what a solve costs over the evaluations it makes."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from integrand.solvers import (
    RK4,
    RK38,
    Bosh3,
    Dopri5,
    Euler,
    ODESolver,
    TorchDiffEq,
    Tsit5,
)

from .solvers_fields import Problem, ode_problems
from .solvers_timing import Row, measure, one_thread, paired_row, write_rows

TIMES = [0.0, 2.0]
TOL = 1e-5
STEPS = 20
MLPS = ("tiny", "mlp")
COMPILED = (*MLPS, "conv28")
"""Fields whose steps are timed compiled too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--quick", action="store_true", help="fewer cases and repetitions: ends within 50 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")
    parser.add_argument(
        "--fields", nargs="*", metavar="NAME", help="only these fields: tiny mlp conv7 conv28 sde8"
    )
    parser.add_argument(
        "--compile", action="store_true", help="time compiled steps too (minutes of compilation)"
    )
    parser.add_argument("--diffrax", action="store_true", help="compare with diffrax, where it is installed")
    parser.add_argument("--parts", action="store_true", help="only what dopri5 does besides evaluations")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, states and order (default 0)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write the rows."""
    console = Console(stderr=True)
    started = time.monotonic()
    with one_thread():
        rows = _rows(args, console)
    _print(rows, time.monotonic() - started, args)
    if args.json is not None:
        write_rows(rows, args.json)
    return 0


def _rows(args: argparse.Namespace, console: Console) -> list[Row]:
    from .solvers_diffrax import diffrax_rows
    from .solvers_parts import parts_rows
    from .solvers_sde import sde_rows

    if args.parts:
        return parts_rows(args)
    jobs: list[Callable[[], list[Row]]] = []
    for problem in ode_problems(args.seed):
        if args.fields and problem.name not in args.fields:
            continue
        moved = Problem(problem.name, problem.field.to(args.device), problem.y0.to(args.device))
        jobs.append(lambda p=moved: _forward(p, args))  # type: ignore[misc]  # mypy does not infer the default
        jobs.append(lambda p=moved: _training(p, args))  # type: ignore[misc]
    if not args.fields or any(name.startswith("sde") for name in args.fields):
        jobs.append(lambda: sde_rows(args))
    if args.diffrax:
        jobs.append(lambda: diffrax_rows(args))
    rows: list[Row] = []
    for job in track(jobs, "bench solvers", console=console):
        rows += job()
    return rows


def _budget(problem: Problem, args: argparse.Namespace) -> tuple[float, int]:
    """Seconds and least repetitions of one group of cases."""
    if args.quick:
        return 0.7, 2
    return (20.0 if problem.name in MLPS else 30.0), 9


Solvers = dict[str, ODESolver]


def _forward_solvers(problem: Problem, args: argparse.Namespace) -> tuple[Solvers, Solvers]:
    """Our solvers and torchdiffeq's."""
    own: dict[str, ODESolver] = {"dopri5": Dopri5(rtol=TOL, atol=TOL), "rk4": RK4(num_steps=STEPS)}
    theirs: dict[str, ODESolver] = {"dopri5": TorchDiffEq(rtol=TOL, atol=TOL)}
    if problem.name in MLPS or not args.quick:
        own |= {
            "tsit5": Tsit5(rtol=TOL, atol=TOL),
            "bosh3": Bosh3(rtol=TOL, atol=TOL),
            "euler": Euler(num_steps=STEPS),
            "rk38": RK38(num_steps=STEPS),
        }
        theirs |= {
            "bosh3": TorchDiffEq("bosh3", rtol=TOL, atol=TOL),
            "euler": TorchDiffEq("euler", num_steps=STEPS),
            "rk38": TorchDiffEq("rk4", num_steps=STEPS),
        }
    if args.compile and problem.name in COMPILED:
        own["dopri5 compiled"] = Dopri5(rtol=TOL, atol=TOL, compile=True)
        own["rk4 compiled"] = RK4(num_steps=STEPS, compile=True)
    return own, theirs


def _forward_target(name: str, field: str) -> float:
    """Ratio to the plain evaluations that one of our solvers must not exceed."""
    if "compiled" in name:
        return 1.18 if field == "conv28" else 0.9
    if name.startswith(("rk", "euler")):
        return 1.15 if field == "tiny" else 1.05
    return {"tiny": 1.4, "conv28": 1.25}.get(field, 1.15)


def _training_target(name: str, field: str) -> float | None:
    """Ratio to the plain evaluations and their products that one of our solvers must not exceed."""
    if "compiled" in name and field != "conv28":
        return None
    if "checkpoint" in name:
        return 1.42 if "compiled" in name else 1.4
    if field == "conv28":
        return 1.03 if "compiled" in name else 1.08
    return 1.1


def _forward(problem: Problem, args: argparse.Namespace) -> list[Row]:
    own, theirs = _forward_solvers(problem, args)
    nfe: dict[str, int] = {}
    alternatives: dict[str, Callable[[], object]] = {
        "f": _evaluations(problem, 40),
        **{name: _solves(problem, solver, nfe, name) for name, solver in own.items()},
        **{
            f"torchdiffeq {name}": _solves(problem, s, nfe, f"torchdiffeq {name}")
            for name, s in theirs.items()
        },
    }
    times = measure(alternatives, *_budget(problem, args), args.seed)
    rows = []
    for name in own:
        rows.append(
            paired_row(
                f"forward {name}",
                problem.name,
                "NFE × evaluation",
                times[name],
                times["f"],
                _forward_target(name, problem.name),
                40 / nfe[name],
                nfe[name],
            )
        )
    for name in theirs:
        target = 0.5 if name == "dopri5" and problem.name in MLPS else 1.0
        other = f"torchdiffeq {name}"
        row = paired_row(
            f"forward {name}", problem.name, other, times[name], times[other], target, nfe=nfe[name]
        )
        rows.append(row)
    return rows


def _training_solvers(problem: Problem, args: argparse.Namespace) -> tuple[Solvers, Solvers]:
    """Our solvers and torchdiffeq's."""
    own: dict[str, ODESolver] = {
        "dopri5 backprop": Dopri5(rtol=TOL, atol=TOL),
        "dopri5 checkpoint": Dopri5(rtol=TOL, atol=TOL, gradient="checkpoint"),
    }
    if not args.quick:
        own |= {
            "rk4 backprop": RK4(num_steps=STEPS),
            "rk4 checkpoint": RK4(num_steps=STEPS, gradient="checkpoint"),
        }
    if args.compile and problem.name in COMPILED:
        own["dopri5 compiled checkpoint"] = Dopri5(rtol=TOL, atol=TOL, gradient="checkpoint", compile=True)
        own["dopri5 compiled backprop"] = Dopri5(rtol=TOL, atol=TOL, compile=True)
    theirs: dict[str, ODESolver] = {
        "torchdiffeq dopri5 adjoint": TorchDiffEq(rtol=TOL, atol=TOL, gradient="adjoint")
    }
    if not args.quick or problem.name in MLPS:
        theirs["torchdiffeq dopri5 backprop"] = TorchDiffEq(rtol=TOL, atol=TOL)
    return own, theirs


def _training(problem: Problem, args: argparse.Namespace) -> list[Row]:
    own, theirs = _training_solvers(problem, args)
    nfe: dict[str, int] = {}
    every = own | theirs
    alternatives: dict[str, Callable[[], object]] = {
        "f and vjp": _evaluations(problem, 20, train=True),
        **{name: _solves(problem, solver, nfe, name, train=True) for name, solver in every.items()},
    }
    times = measure(alternatives, *_budget(problem, args), args.seed)
    rows = []
    for name in own:
        rows.append(
            paired_row(
                f"training {name}",
                problem.name,
                "NFE × (evaluation + VJP)",
                times[name],
                times["f and vjp"],
                _training_target(name, problem.name),
                20 / nfe[name],
                nfe[name],
            )
        )
    for other in theirs:
        rows += _training_against(other, problem.name, own, times)
    return rows


def _training_against(other: str, field: str, own: Solvers, times: dict[str, list[float]]) -> list[Row]:
    """Our solvers with the same kind of gradient against one of torchdiffeq's."""
    name = "dopri5 checkpoint" if "adjoint" in other else "dopri5 backprop"
    target = 1 / 3 if "adjoint" in other else 1.0
    rows = [paired_row(f"training {name}", field, other, times[name], times[other], round(target, 4))]
    for compiled in (n for n in own if "compiled" in n and n.split()[-1] == name.split()[-1]):
        limit = 0.25 if field == "tiny" and "backprop" in other else None
        rows.append(paired_row(f"training {compiled}", field, other, times[compiled], times[other], limit))
    return rows


def _evaluations(problem: Problem, number: int, train: bool = False) -> Callable[[], object]:
    """`number` plain evaluations, or evaluations with their vector-Jacobian products."""
    field, y0 = problem.field, problem.y0
    parameters = tuple(field.parameters())
    t = torch.zeros((), device=y0.device)

    def forward() -> None:
        with torch.no_grad():
            for _ in range(number):
                field(t, y0)
        _wait(y0)

    def training() -> None:
        for _ in range(number):
            y = y0.detach().requires_grad_()
            value = field(t, y)
            torch.autograd.grad(value, (y, *parameters), value)
        _wait(y0)

    return training if train else forward


def _solves(
    problem: Problem, solver: ODESolver, nfe: dict[str, int], name: str, train: bool = False
) -> Callable[[], object]:
    """One solve, or one solve with its gradient; notes its NFE."""
    field, y0 = problem.field, problem.y0
    parameters = tuple(field.parameters())

    def forward() -> None:
        with torch.no_grad():
            nfe[name] = solver.solve(field, y0, TIMES).stats.nfe_forward
        _wait(y0)

    def training() -> None:
        y = y0.detach().requires_grad_()
        solution = solver.solve(field, y, TIMES)
        torch.autograd.grad(solution.ys[-1].sum(), (y, *parameters))
        nfe[name] = solution.stats.nfe_forward
        _wait(y0)

    return training if train else forward


def _wait(y: Tensor) -> None:
    if y.device.type == "cuda":
        torch.cuda.synchronize()


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()


def _print(rows: list[Row], seconds: float, args: argparse.Namespace) -> None:
    table = Table(title=f"Solver cost, CPU time, one thread, {seconds:.0f} s, seed {args.seed}")
    for heading in ("case", "field", "relative to", "ratio", "±", "target", "met", "NFE", "n"):
        table.add_column(heading, justify="left" if heading in {"case", "field", "relative to"} else "right")
    for r in rows:
        target = "" if r.target is None else f"{r.target:g}"
        met = "" if r.met is None else ("yes" if r.met else "[red]no[/red]")
        figures = (f"{r.ratio:.3f}", f"{r.spread:.3f}", target, met, str(r.nfe or ""), str(r.repetitions))
        table.add_row(r.case, r.field, r.reference, *figures)
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    device = _device_name(args.device)
    console.print(f"torch {torch.__version__}, python {platform.python_version()}, {device}", highlight=False)
