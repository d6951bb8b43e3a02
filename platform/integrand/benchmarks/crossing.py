"""`integrand bench crossing`: what a neural ODE cannot represent, and an augmented one can.

The map sends -1 to 1 and 1 to -1. In one dimension the flow of an ODE keeps the order of its starting points,
so that both ends meet at 0 at best and the mean squared error cannot fall below 1; with one more dimension
the trajectories can pass each other (Dupont et al. 2019, Augmented Neural ODEs, section 3.1).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Dopri5, Solution

TARGETS = {"neural-ode": 1.0, "augmented-neural-ode": 0.0}
"""Infimum of the mean squared error; runs are held to it within `BAND`."""
BAND = 0.01


@dataclass(frozen=True)
class Result:
    """One trained network.

    Args:
        family: Name of the family.
        seed: Seed of its weights.
        mse: Mean squared error on the two points after training.
        gap: End of the trajectory from 1 less that from -1; positive where the order is kept.
        nfe: Evaluations of the last forward solve.
        parameters: Number of weights.
    """

    family: str
    seed: int
    mse: float
    gap: float
    nfe: int
    parameters: int


class Field(nn.Module):
    """f(t, h) by a perceptron with two hidden layers of 32 and tanh, which also sees t.

    Args:
        dim: Dimension of h.
        hidden: Width.
    """

    def __init__(self, dim: int, hidden: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim + 1, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, dim),
        )

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state h of shape (batch, dim)."""
        result: Tensor = self.net(torch.cat([h, t.to(h.dtype).expand(len(h), 1)], dim=1))
        return result


def train(family: str, seed: int, iterations: int, tol: float) -> Result:
    """Train one network on the two points.

    Args:
        family: `neural-ode` or `augmented-neural-ode`, which adds one dimension that starts at 0.
        seed: Seed of the weights.
        iterations: Steps of Adam at 1e-2, falling to 0 along a cosine.
        tol: Relative and absolute tolerance of the solver.
    """
    torch.manual_seed(seed)
    extra = 1 if family == "augmented-neural-ode" else 0
    # float64: a tolerance of 1e-7 is at the round-off of float32
    field = Field(1 + extra).double()
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    start = torch.cat([x, x.new_zeros(2, extra)], dim=1)
    solver = Dopri5(rtol=tol, atol=tol)

    def solve() -> Solution:
        return solver.solve(field, start, [0.0, 1.0])

    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        optimizer.zero_grad()
        # no read-out after the flow: a factor of -1 would solve the task without any dynamics
        torch.mean((solve().ys[-1, :, :1] + x) ** 2).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        solution = solve()
    end = solution.ys[-1, :, 0]
    return Result(
        family,
        seed,
        float(torch.mean((end + x[:, 0]) ** 2)),
        float(end[1] - end[0]),
        solution.stats.nfe_forward,
        sum(p.numel() for p in field.parameters()),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 … N-1 (default: 5)")
    parser.add_argument(
        "--iterations", type=int, default=500, metavar="N", help="steps of Adam (default: 500)"
    )
    parser.add_argument("--tol", type=float, default=1e-7, metavar="TOL", help="tolerance (default: 1e-7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")


def run(args: argparse.Namespace) -> int:
    """Train every family with every seed, print a table and hold the means to their targets.

    Returns:
        0 where every mean error is within 0.01 of its infimum, else 1.

    Raises:
        UsageError: An option is out of range.
    """
    if args.seeds < 1 or args.iterations < 1 or not args.tol > 0:
        raise UsageError("--seeds, --iterations and --tol must be positive", "give larger numbers")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small only lose by more
    try:
        results = [
            train(family, seed, args.iterations, args.tol) for family in TARGETS for seed in range(args.seeds)
        ]
    finally:
        torch.set_num_threads(threads)
    print(f"{'family':22}{'seed':>5}{'MSE':>12}{'gap':>10}{'NFE':>6}{'parameters':>12}")
    for r in results:
        print(f"{r.family:22}{r.seed:>5}{r.mse:>12.6f}{r.gap:>10.4f}{r.nfe:>6}{r.parameters:>12}")
    means = {f: mean(r.mse for r in results if r.family == f) for f in TARGETS}
    met = {f: abs(means[f] - target) <= BAND for f, target in TARGETS.items()}
    for family, target in TARGETS.items():
        verdict = "ok" if met[family] else "MISSED"
        print(f"{family}: mean MSE {means[family]:.4f}, {args.seeds} seeds, infimum {target:.0f}: {verdict}")
    if args.json is not None:
        report = {
            "tol": args.tol,
            "iterations": args.iterations,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "mean_mse": means,
            "results": [asdict(r) for r in results],
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {args.json}", file=sys.stderr)
    return 0 if all(met.values()) else 1
