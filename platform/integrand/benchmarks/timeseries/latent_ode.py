"""Training of a latent ODE on 128 irregular series against torchdiffeq's pattern."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from integrand.errors import IntegrandError
from integrand.modules.series.latent_ode import LatentODE
from integrand.modules.series.observations import truth
from integrand.series import Series
from integrand.solvers import Dopri5, ODESolver
from integrand.spec import Forecast, SeriesSpec

from ..solvers_timing import Row, measure, paired_row
from .latent_ode_pattern import as_cell, pattern_loss

TARGET = 0.5
"""Largest ratio of the time of a training step: at least twice as fast."""
TOLERANCES = (1e-3, 1e-4)
SERIES, LENGTH = 128, 100
AGREEMENT = 0.02
"""Largest relative difference of the losses of two curves that differ by the tolerance of their solves."""


def spirals(series: int, length: int, grid: int, seed: int) -> Series:
    """Noisy pieces of spirals in the plane, each at times of its own.

    Args:
        series: Number of series.
        length: Observations of each.
        grid: Number of different times in all; 0 for times that no two series share.
        seed: Seed.
    """
    g = torch.Generator().manual_seed(seed)
    if grid:
        chosen = torch.stack([torch.randperm(grid, generator=g)[:length] for _ in range(series)])
        times = chosen.sort(1).values.double() * (5.0 / grid)
        times[:, 0] = 0.0
    else:
        times = (5.0 * torch.rand(series, length, generator=g, dtype=torch.float64)).sort(1).values
    angle = times + 6.28 * torch.rand(series, 1, generator=g, dtype=torch.float64)
    radius = torch.exp(-0.2 * times) * (0.5 + torch.rand(series, 1, generator=g, dtype=torch.float64))
    values = torch.stack((radius * angle.cos(), radius * angle.sin()), -1).float()
    values += 0.05 * torch.randn(values.shape, generator=g)
    mask = torch.ones_like(values, dtype=torch.bool)
    return Series(times, values, mask, torch.full((series,), length), torch.zeros(series, 0))


def rows(seconds: float, seed: int, quick: bool) -> list[Row]:
    """Times of a training step, for times that no two series share and for times from a common grid.

    Args:
        seconds: Wall time for each problem.
        seed: Of weights, data and order.
        quick: A quarter of the series.

    Raises:
        IntegrandError: Both sides learn differently.
    """
    series = SERIES // 4 if quick else SERIES
    found = []
    for name, grid in (("times of its own", 0), (f"{2 * LENGTH} common times", 2 * LENGTH)):
        x = spirals(series, LENGTH, grid, seed)
        problem = f"{series} series of {LENGTH}, {name}"
        _require_equal_curves(x, seed, 3 if quick else 10)
        sides = {
            "dopri5": _Side(x, seed, Dopri5(*TOLERANCES)),
            "dopri5 per sample": _Side(x, seed, Dopri5(*TOLERANCES, per_sample=True)),
            "torchdiffeq": _Side(x, seed, None),
        }
        steps: dict[str, Callable[[], object]] = {name: side.train for name, side in sides.items()}
        times = measure(steps, seconds, 3, seed)
        for case in ("dopri5", "dopri5 per sample"):
            row = paired_row(
                f"training latent ODE, {case}",
                problem,
                "torchdiffeq's pattern",
                times[case],
                times["torchdiffeq"],
                TARGET,
                nfe=sides[case].nfe,
            )
            found.append(row)
    return found


class _Side:
    """One side's network and optimiser; equal seeds give equal weights and equal draws.

    Args:
        x: The batch.
        seed: Seed.
        solver: Solver of the decoder; None for torchdiffeq's pattern.
    """

    def __init__(self, x: Series, seed: int, solver: ODESolver | None) -> None:
        torch.manual_seed(seed)
        spec = SeriesSpec("spirals", Forecast(LENGTH, 1), channels=2, length=LENGTH, irregular=True)
        self.module = LatentODE(
            spec,
            latent=4,
            channels=25,
            hidden=20,
            encoder="gru",
            unit=1.0,
            solver=solver or Dopri5(*TOLERANCES),
        )
        gru = self.module.encoder.recurrence
        self.cell = as_cell(gru) if solver is None and isinstance(gru, torch.nn.GRU) else None
        self.x, self.optimizer = x, torch.optim.Adam(self.module.parameters(), lr=0.01)
        self.generator, self.nfe = torch.Generator().manual_seed(seed), 0

    def train(self) -> float:
        """One step; returns the loss."""
        torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator)))
        self.optimizer.zero_grad()
        loss = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()
        return float(loss.detach())

    def _loss(self) -> Tensor:
        x, module = self.x, self.module
        if self.cell is not None:
            return pattern_loss(module, self.cell, x, TOLERANCES)
        posterior = module.encoder(x)
        z0 = posterior.draw(1)
        means, stats = module.decode(z0, x.times[:, 0], x.times)
        self.nfe = stats.nfe_forward
        return -module.bounds(means, z0, posterior, truth(x))["elbo"]


def _require_equal_curves(x: Series, seed: int, steps: int) -> None:
    """Refuse to compare times of networks that learn differently."""
    ours, theirs = _Side(x, seed, Dopri5(*TOLERANCES)), _Side(x, seed, None)
    for step in range(steps):
        a, b = ours.train(), theirs.train()
        if not abs(a - b) <= AGREEMENT * abs(b):
            raise IntegrandError(
                f"the losses differ at step {step}: {a:.2f} and {b:.2f}", "report it with this command"
            )
