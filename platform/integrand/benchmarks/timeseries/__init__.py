"""`integrand bench timeseries`: models of irregular series against the patterns of the reference libraries.

Every comparison trains the same model, from the same weights, on the same batch, with the same method on both
sides, side by side in one process. Curves of the loss are compared before anything is timed. Ratios are
medians of paired CPU times.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from integrand.errors import UsageError

from ..solvers_timing import Row, one_thread, write_rows


def comparisons() -> list[str]:
    """The comparisons by module name; each has a function `rows(seconds, seed, quick)`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if "pattern" not in m.name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of {', '.join(comparisons())}")
    parser.add_argument("--quick", action="store_true", help="small problems, end within two minutes")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each problem (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and order (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table and write the rows.

    Returns:
        0 where every target is met, else 1.

    Raises:
        UsageError: An option is out of range.
        IntegrandError: Both sides learn differently.
    """
    known = comparisons()
    chosen = args.only or known
    if unknown := [name for name in chosen if name not in known]:
        raise UsageError(f"no comparison {', '.join(unknown)}", f"choose from {', '.join(known)}")
    if not args.seconds > 0:
        raise UsageError(f"--seconds {args.seconds}", "give a positive time")
    start, found = time.monotonic(), list[Row]()
    with one_thread():
        for name in chosen:
            module = importlib.import_module(f"{__name__}.{name}")
            found += module.rows(8.0 if args.quick else args.seconds, args.seed, args.quick)
    _print(found, time.monotonic() - start)
    if args.json is not None:
        write_rows(found, args.json)
        print(f"wrote {args.json}", file=sys.stderr)
    return 0 if all(row.met is not False for row in found) else 1


def _print(found: list[Row], seconds: float) -> None:
    table = Table(title=f"Series, CPU time, one thread, {seconds:.0f} s")
    for heading in ("case", "problem", "relative to", "ratio", "±", "faster", "target", "met", "NFE", "n"):
        left = heading in {"case", "problem", "relative to"}
        table.add_column(heading, justify="left" if left else "right")
    for row in found:
        target = "" if row.target is None else f"{row.target:g}"
        met = "" if row.met is None else ("yes" if row.met else "[red]no[/red]")
        ratio = (f"{row.ratio:.3f}", f"{row.spread:.3f}", f"{1 / row.ratio:.1f}×")
        table.add_row(
            row.case, row.field, row.reference, *ratio, target, met, str(row.nfe), str(row.repetitions)
        )
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    machine = platform.processor() or platform.machine()
    console.print(
        f"torch {torch.__version__}, python {platform.python_version()}, {machine}", highlight=False
    )
