"""`integrand bench precision`: evaluations at equal error, against torchdiffeq and SciPy."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from .precision_curves import TARGET, Comparison, compare
from .precision_problems import PROBLEMS, InitialValueProblem
from .precision_solvers import PAIRS, Pair, runs_of
from .solvers_timing import one_thread


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--problems", nargs="*", metavar="NAME", help="only problems whose name begins so")
    parser.add_argument("--methods", nargs="*", metavar="NAME", help="only these: Bosh3 Dopri5 Tsit5 Dopri8")
    parser.add_argument(
        "--per-decade", type=int, default=2, metavar="N", help="tolerances in a factor of ten (default 2)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")


def run(args: argparse.Namespace) -> int:
    """Solve, compare, print a table, and write the rows."""
    problems, pairs = _chosen(args)
    console = Console(stderr=True)
    started = time.monotonic()
    rows = []
    with one_thread():
        for problem in track(problems, "bench precision", console=console):
            for pair in pairs:
                runs = runs_of(problem, pair, args.per_decade)
                rows.append(compare(problem.name, pair.ours.__name__, runs))
    _print(rows, time.monotonic() - started)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([r.to_dict() for r in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def _chosen(args: argparse.Namespace) -> tuple[list[InitialValueProblem], list[Pair]]:
    """The problems and the pairs of methods that the options leave."""
    beginnings = tuple(map(str.lower, args.problems or [""]))
    problems = [p for p in PROBLEMS if p.name.lower().startswith(beginnings)]
    return problems, [p for p in PAIRS if not args.methods or p.ours.__name__ in args.methods]


def _print(rows: list[Comparison], seconds: float) -> None:
    table = Table(title=f"Evaluations at equal error, {seconds:.0f} s, target {TARGET:g} of the better one")
    headings = ("problem", "method", "of the better", "worst", "of torchdiffeq", "of SciPy", "errors", "met")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"problem", "method"} else "right")
    for r in rows:
        figures = (f"{x:.2f}" for x in (r.ratio, r.worst, r.torchdiffeq, r.scipy))
        errors = f"{r.errors[0]:.0e}…{r.errors[1]:.0e}"
        table.add_row(r.problem, r.method, *figures, errors, "yes" if r.met else "[red]no[/red]")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    met = sum(r.met for r in rows)
    console.print(f"{met} of {len(rows)} rows meet the target", highlight=False)
    console.print(f"torch {torch.__version__}, python {platform.python_version()}", highlight=False)
