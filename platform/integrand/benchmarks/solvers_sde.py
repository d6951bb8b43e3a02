"""The stochastic part of `integrand bench solvers`: against a plain loop and against torchsde."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from torch import Tensor

from integrand.solvers import EulerMaruyama, Milstein, SDESolver, TorchSDE

from .solvers_fields import DiagonalSDE, sde_problems
from .solvers_timing import Row, measure, paired_row

TARGETS = {"forward": 1.15, "training backprop": 1.3, "training checkpoint": 2.0}


def sde_rows(args: argparse.Namespace) -> list[Row]:
    """Rows of the stochastic solvers: forward for several step numbers, training for one."""
    rows: list[Row] = []
    for problem in sde_problems(args.seed):
        if (args.quick and problem.name != "sde8") or (args.fields and problem.name not in args.fields):
            continue
        sde = problem.field.to(args.device)
        assert isinstance(sde, DiagonalSDE)
        y0 = problem.y0.to(args.device)
        for steps in (32, 100, 128) if args.quick else (32, 99, 100, 101, 128, 1000):
            rows += _forward(problem.name, sde, y0, steps, args)
        rows += _training(problem.name, sde, y0, 64, args)
    return rows


def _budget(args: argparse.Namespace) -> tuple[float, int]:
    return (0.5, 3) if args.quick else (8.0, 7)


def _loop(sde: DiagonalSDE, y: Tensor, steps: int) -> Tensor:
    """Euler–Maruyama as anyone writes it by hand."""
    dt = 1 / steps
    root = math.sqrt(dt)
    t = torch.zeros((), device=y.device)
    for _ in range(steps):
        y = y + sde.f(t, y) * dt + sde.g(t, y) * (root * torch.randn_like(y))
        t = t + dt
    return y


def _forward(name: str, sde: DiagonalSDE, y0: Tensor, steps: int, args: argparse.Namespace) -> list[Row]:
    solvers: dict[str, SDESolver] = {"euler-maruyama": EulerMaruyama(num_steps=steps)}
    if steps == 128:
        solvers["milstein"] = Milstein(num_steps=steps)
        solvers["torchsde euler"] = TorchSDE("euler", num_steps=steps)

    def solve(solver: SDESolver) -> Callable[[], object]:
        def go() -> None:
            with torch.no_grad():
                solver.solve(sde, y0, [0.0, 1.0])

        return go

    def loop() -> None:
        with torch.no_grad():
            _loop(sde, y0, steps)

    alternatives: dict[str, Callable[[], object]] = {"loop": loop}
    alternatives |= {label: solve(s) for label, s in solvers.items()}
    times = measure(alternatives, *_budget(args), args.seed)
    rows = []
    for label in solvers:
        # Milstein makes one evaluation more for every two of the loop
        weight, target = (2 / 3, TARGETS["forward"]) if label == "milstein" else (1.0, TARGETS["forward"])
        case = f"forward {label} N={steps}" + (" per evaluation" if label == "milstein" else "")
        limit = None if label.startswith("torchsde") else target
        rows.append(
            paired_row(case, name, "hand-written loop", times[label], times["loop"], limit, weight, steps)
        )
    return rows


def _training(name: str, sde: DiagonalSDE, y0: Tensor, steps: int, args: argparse.Namespace) -> list[Row]:
    parameters = tuple(sde.parameters())
    solvers: dict[str, SDESolver] = {
        "training backprop": EulerMaruyama(num_steps=steps),
        "training checkpoint": EulerMaruyama(num_steps=steps, gradient="checkpoint"),
        "training torchsde adjoint (heun)": TorchSDE("heun", num_steps=steps, gradient="adjoint"),
    }
    if args.quick:
        del solvers["training torchsde adjoint (heun)"]

    def solve(solver: SDESolver) -> Callable[[], object]:
        def go() -> None:
            y = y0.detach().requires_grad_()
            sde.sde_type = "stratonovich" if isinstance(solver, TorchSDE) else "ito"
            solution = solver.solve(sde, y, [0.0, 1.0])
            torch.autograd.grad(solution.ys[-1].sum(), (y, *parameters))
            sde.sde_type = "ito"

        return go

    def loop() -> None:
        y = y0.detach().requires_grad_()
        torch.autograd.grad(_loop(sde, y, steps).sum(), (y, *parameters))

    alternatives: dict[str, Callable[[], object]] = {"loop": loop}
    alternatives |= {label: solve(s) for label, s in solvers.items()}
    times = measure(alternatives, *_budget(args), args.seed)
    return [
        paired_row(
            f"{label} N={steps}",
            name,
            "hand-written loop",
            times[label],
            times["loop"],
            TARGETS.get(label),
            nfe=steps,
        )
        for label in solvers
    ]
