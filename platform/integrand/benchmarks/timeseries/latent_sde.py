"""Training of a latent SDE against the pattern of torchsde's example."""

from __future__ import annotations

from collections.abc import Callable

import torch

from integrand.errors import IntegrandError
from integrand.modules.series.latent_sde import LatentSDE
from integrand.series import Series
from integrand.spec import Forecast, SeriesSpec

from ..solvers_timing import Row, measure, paired_row
from .latent_sde_pattern import pattern_loss

TARGET = 0.5
"""Largest ratio of the time of a training step: at least twice as fast."""
SERIES, LENGTH = 128, 50
CURVE = 5
"""Steps of the curves of the loss that are compared, of the same draws."""
AGREEMENT = 1e-3
"""Largest relative difference of the losses, in float32 over a hundred steps of Euler's method."""


def circles(series: int, seed: int) -> Series:
    """Noisy pieces of circles, at times that all share."""
    g = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, 1, LENGTH, dtype=torch.float64).expand(series, -1)
    angle = 6.28 * (times + torch.rand(series, 1, generator=g, dtype=torch.float64))
    values = torch.stack((angle.cos(), angle.sin(), (2 * angle).cos()), -1).float()
    values += 0.1 * torch.randn(values.shape, generator=g)
    mask, lengths = torch.ones_like(values, dtype=torch.bool), torch.full((series,), LENGTH)
    return Series(times, values, mask, lengths, torch.zeros(series, 0))


def rows(seconds: float, seed: int, quick: bool) -> list[Row]:
    """Times of a training step of the example's sizes, and a shorter series.

    Args:
        seconds: Wall time for the problem.
        seed: Of weights, data and order.
        quick: A quarter of the series.

    Raises:
        IntegrandError: Both sides learn differently.
    """
    x = circles(SERIES // 4 if quick else SERIES, seed)
    _require_equal_curves(x, seed)
    ours, theirs = _Side(x, seed, pattern=False), _Side(x, seed, pattern=True)
    steps: dict[str, Callable[[], object]] = {"ours": ours.train, "torchsde": theirs.train}
    times = measure(steps, seconds, 3, seed)
    problem = f"{len(x)} series of {LENGTH}, latent 4"
    return [
        paired_row(
            "training latent SDE, euler",
            problem,
            "torchsde's pattern",
            times["ours"],
            times["torchsde"],
            TARGET,
            nfe=ours.nfe,
        )
    ]


class _Side:
    """One side's network and optimiser; equal seeds give equal weights.

    Args:
        x: The batch.
        seed: Seed.
        pattern: Whether this is torchsde's side.
        same: Whether that side is driven by the platform's noise.
    """

    def __init__(self, x: Series, seed: int, pattern: bool, same: bool = False) -> None:
        torch.manual_seed(seed)
        spec = SeriesSpec("circles", Forecast(LENGTH, 1), channels=3, length=LENGTH, step=1 / (LENGTH - 1))
        self.module = LatentSDE(spec, channels=4, context=64, hidden=128, noise=0.1, steps=2)
        self.x, self.pattern, self.same, self.nfe = x, pattern, same, 0
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=0.01)

    def train(self) -> float:
        """One step; returns the loss."""
        self.optimizer.zero_grad()
        if self.pattern:
            loss = pattern_loss(self.module, self.x, self.same)
        else:
            found, _, solution = self.module.bound(self.x)
            loss, self.nfe = (found["kl"] - found["log_likelihood"]).mean(), solution.stats.nfe_forward
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()
        return float(loss.detach())


def _require_equal_curves(x: Series, seed: int) -> None:
    """Refuse to compare times of networks that learn differently from the same draws."""
    ours, theirs = (_Side(x, seed, pattern, same=True) for pattern in (False, True))
    for step in range(CURVE):
        losses = []
        for side in (ours, theirs):
            torch.manual_seed(seed + step)
            losses.append(side.train())
        a, b = losses
        if not abs(a - b) <= AGREEMENT * abs(b):
            raise IntegrandError(
                f"the losses differ at step {step}: {a:.2f} and {b:.2f}", "report it with this command"
            )
