"""`integrand bench flows`: the log-likelihood of continuous flows against torchdiffeq's example `cnf.py`.

Both sides use the same network, the same probe, dopri5 and the same tolerance; before anything is timed their
likelihoods are compared. The pattern takes the trace by one `autograd.grad` for each dimension (or, where it
is estimated, by one product in a graph of its own) and its gradient by the adjoint; the fused pass carries
value and tangents through the network together, and its gradient is backprop's. Ratios are medians of paired
CPU times.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from integrand.diffusion import ExactTrace, HutchinsonTrace, Noise, Trace
from integrand.errors import IntegrandError, UsageError
from integrand.modules.generative.backbones import MLP, TimeNet
from integrand.modules.generative.likelihood import log_likelihood
from integrand.solvers import Dopri5

from .flows_pattern import PatternField, pattern_log_prob
from .solvers_timing import Row, measure, one_thread, paired_row, write_rows

TARGET = 0.5
"""Largest ratio of a training step with Hutchinson's trace to the pattern's: at least twice as fast."""
PROBLEMS = {"2-d": (2, 64, 512), "16-d": (16, 64, 256), "64-d": (64, 256, 256)}
"""Dimension, width of the three hidden layers, batch."""
EXACT_UP_TO = 16


class FixedProbe(HutchinsonTrace):
    """Hutchinson's trace with a given probe, so that both sides integrate the same field.

    Args:
        probe: ε, shape of x.
    """

    def __init__(self, probe: Tensor) -> None:
        super().__init__()
        self.probe = probe

    def directions(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """The given probe."""
        return self.probe.unsqueeze(0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="the plane alone, end within half a minute")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each problem (default: 20)")
    parser.add_argument("--tol", type=float, default=1e-5, help="rtol and atol of both sides (default: 1e-5)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and order (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table and write the rows.

    Returns:
        0 where every target is met, else 1.

    Raises:
        UsageError: An option is out of range.
        IntegrandError: Both sides disagree about a likelihood.
    """
    if not (args.seconds > 0 and args.tol > 0):
        raise UsageError("--seconds and --tol must be positive", "give larger numbers")
    start = time.monotonic()
    with one_thread():
        rows = [
            row
            for name in (["2-d"] if args.quick else PROBLEMS)
            for row in _problem(name, args.tol, 8.0 if args.quick else args.seconds, args.seed)
        ]
    _print(rows, time.monotonic() - start)
    if args.json is not None:
        write_rows(rows, args.json)
        print(f"wrote {args.json}", file=sys.stderr)
    return 0 if all(r.met is not False for r in rows) else 1


def _moving_network(d: int, hidden: int) -> TimeNet:
    net = MLP(hidden=hidden, layers=3).build((d,))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)  # a fresh network moves almost nothing
    return net


def _problem(name: str, tol: float, seconds: float, seed: int) -> list[Row]:
    d, hidden, batch = PROBLEMS[name]
    torch.manual_seed(seed)
    net = _moving_network(d, hidden)
    x = torch.randn(batch, d)
    fused: dict[str, Trace] = {"Hutchinson": FixedProbe(HutchinsonTrace().directions(x)[0])}
    probe = fused["Hutchinson"].directions(x)[0]
    pattern = {"one product": PatternField(net, probe)}
    if d <= EXACT_UP_TO:
        fused["exact"] = ExactTrace()
        pattern["grad per dimension"] = PatternField(net)
    _require_agreement(net, x, fused, pattern, tol)
    rows = []
    for train in (True, False):
        nfe: dict[str, int] = {}
        runs: dict[str, Callable[[], object]] = {}
        for label, trace in fused.items():
            runs[f"fused {label}"] = _fused(net, x, trace, tol, train, nfe, f"fused {label}")
        for label, field in pattern.items():
            runs[label] = _pattern(field, x, tol, train)
        times = measure(runs, seconds / 2, 3, seed)
        for label, other in itertools.product(fused, pattern):
            if label == "exact" and other == "one product":
                continue  # they compute different things
            row = paired_row(
                f"{'training step' if train else 'likelihood alone'}, {label}",
                f"{name}, batch {batch}",
                f"cnf.py, {other}",
                times[f"fused {label}"],
                times[other],
                TARGET if train else None,
                nfe=nfe[f"fused {label}"],
            )
            rows.append(row)
    return rows


def _fused(
    net: TimeNet, x: Tensor, trace: Trace, tol: float, train: bool, nfe: dict[str, int], name: str
) -> Callable[[], object]:
    solver = Dopri5(rtol=tol, atol=tol)
    parameters = tuple(net.parameters())

    def once() -> None:
        with torch.set_grad_enabled(train):
            found = log_likelihood(net, x, solver, trace)
            nfe[name] = found.stats.nfe_forward
            if train:
                torch.autograd.grad(found.log_prob.mean(), parameters)

    return once


def _pattern(field: PatternField, x: Tensor, tol: float, train: bool) -> Callable[[], object]:
    parameters = tuple(field.parameters())

    def once() -> None:
        with torch.set_grad_enabled(train):
            log_p = pattern_log_prob(field, x.clone(), tol)
            if train:
                torch.autograd.grad(log_p.mean(), parameters)

    return once


def _require_agreement(
    net: TimeNet, x: Tensor, fused: dict[str, Trace], pattern: dict[str, PatternField], tol: float
) -> None:
    """Refuse to compare times of different answers."""
    for label, other in (("Hutchinson", "one product"), ("exact", "grad per dimension")):
        if label not in fused:
            continue
        with torch.no_grad():
            ours = log_likelihood(net, x, Dopri5(rtol=tol, atol=tol), fused[label]).log_prob
            theirs = pattern_log_prob(pattern[other], x.clone(), tol)
        gap = float((ours - theirs).abs().max())
        # each side is off by its tolerance for each of the d + 1 components, a few times over
        if not gap <= 100 * tol * (x.shape[1] + 1) + 1e-4:
            raise IntegrandError(
                f"the likelihoods ({label}) differ by {gap:.1e}", "report it with this command"
            )


def _print(rows: list[Row], seconds: float) -> None:
    table = Table(title=f"Flows, CPU time, one thread, {seconds:.0f} s")
    for heading in ("case", "problem", "relative to", "ratio", "±", "faster", "target", "met", "NFE", "n"):
        left = heading in {"case", "problem", "relative to"}
        table.add_column(heading, justify="left" if left else "right")
    for r in rows:
        target = "" if r.target is None else f"{r.target:g}"
        met = "" if r.met is None else ("yes" if r.met else "[red]no[/red]")
        figures = (f"{r.ratio:.3f}", f"{r.spread:.3f}", f"{1 / r.ratio:.1f}×", target, met)
        table.add_row(r.case, r.field, r.reference, *figures, str(r.nfe), str(r.repetitions))
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    console.print(
        f"torch {torch.__version__}, python {platform.python_version()}, "
        f"{platform.processor() or platform.machine()}",
        highlight=False,
    )
