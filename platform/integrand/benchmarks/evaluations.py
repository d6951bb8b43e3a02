"""`integrand bench evaluations`: what an evaluation computes beside the passes that it needs.

CPU time of twenty draws of 10,000 images against twenty forward passes, and of steps of PGD against
forward and backward passes, of a network with Monte Carlo dropout and a neural SDE. Exits with 1 if one costs
over a tenth more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from integrand.datamodules.images.digits import Digits
from integrand.evaluations.adversarial import Target
from integrand.evaluations.attacks import Ball, pgd
from integrand.evaluations.drawn import said_of
from integrand.modules.discrete.resnet import ResNet
from integrand.modules.family import FamilyModule
from integrand.modules.noise import Dropout
from integrand.modules.stochastic.neural_sde import NeuralSDE

from .solvers_timing import Row, measure, one_thread, paired_row, write_rows

TARGET = 1.1
"""What either may cost, relative to the passes themselves."""
BATCH = 512
STEPS = 5
"""Of an attack."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--images", type=int, default=10_000, help="images to answer (default 10000)")
    parser.add_argument("--passes", type=int, default=20, help="draws of each (default 20)")
    parser.add_argument("--attacked", type=int, default=360, help="images to attack (default 360)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write the figures; 1 where a target is missed."""
    data = Digits(device="cpu")
    torch.manual_seed(0)
    models: dict[str, FamilyModule] = {
        "ResNet, dropout": ResNet(data.spec, channels=8, noise=Dropout(samples=2)).eval(),
        "NeuralSDE": NeuralSDE(data.spec, channels=8, num_steps=5, samples=2).eval(),
    }
    x, y = torch.rand(args.images, *data.spec.shape), torch.zeros(args.images, dtype=torch.long)
    with one_thread():
        rows = [
            row
            for name, model in models.items()
            for row in (
                _answers(name, model, x, y, args.passes, args.repetitions),
                _steps(name, model, data, x[: args.attacked], y[: args.attacked], args.repetitions),
            )
        ]
    _print(rows)
    if args.json is not None:
        write_rows(rows, args.json)
    return 0 if all(row.met for row in rows) else 1


def _answers(name: str, model: FamilyModule, x: Tensor, y: Tensor, passes: int, repetitions: int) -> Row:
    """Draws of all images, against as many passes through the network."""
    batches = list(zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True))

    def plain() -> None:
        with torch.no_grad():
            for part, _ in batches:
                for _ in range(passes):
                    model.draws(part, 1)

    def ours() -> None:
        said_of(model, batches, passes, 0, "images")

    times = measure({"ours": ours, "plain": plain}, 0.0, repetitions, 0)
    what = f"{passes} draws of {len(x):,} images"
    return paired_row(what, name, f"{passes} forward passes", times["ours"], times["plain"], TARGET)


def _steps(name: str, model: FamilyModule, data: Digits, x: Tensor, y: Tensor, repetitions: int) -> Row:
    """Steps of PGD with one draw, against forward and backward passes to inputs and weights."""
    target, ball = Target(model, data, 1), Ball("linf", 0.1)

    def plain() -> None:
        for _ in range(STEPS):
            inputs = data.scaled(x).requires_grad_(True)
            draws, _ = model.draws(inputs, 1)
            torch.autograd.backward(F.cross_entropy(draws[0], y))
            model.zero_grad()

    times = measure(
        {"ours": lambda: pgd(target.loss, x, y, ball, STEPS), "plain": plain}, 0.0, repetitions, 0
    )
    what = f"{STEPS} steps of PGD on {len(x)} images"
    return paired_row(
        what, name, f"{STEPS} forward and backward passes", times["ours"], times["plain"], TARGET
    )


def _print(rows: list[Row]) -> None:
    table = Table(title="CPU time of evaluations relative to the passes that they need")
    for column in ("measured", "network", "against", "ratio", "half quartile distance", f"≤ {TARGET}"):
        table.add_column(column)
    for row in rows:
        met = "yes" if row.met else "no"
        table.add_row(row.case, row.field, row.reference, f"{row.ratio:.3f}", f"{row.spread:.3f}", met)
    Console().print(table)
