"""Training of a neural CDE against torchcde, and of a log-ODE over windows against every observation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from integrand.errors import IntegrandError, UsageError
from integrand.modules.series.base import SeriesFamily
from integrand.modules.series.neural_cde import NeuralCDE
from integrand.modules.series.neural_rde import NeuralRDE
from integrand.series import Series
from integrand.solvers import RK38
from integrand.spec import Classes, SeriesSpec

from ..solvers_timing import Row, measure, paired_row

BACKPROP, ADJOINT, WINDOWS = 1 / 1.25, 1 / 2.5, 1 / 10
"""Largest ratios of the time of a training step."""
CHANNELS, CLASSES = 3, 5
SERIES, LENGTH = 128, 100
LONG_SERIES, LONG = 32, 2000
WINDOW = 50
AGREEMENT = 1e-4
"""Largest relative difference of losses in float32: one method on one path from the same weights."""


def walks(series: int, length: int, seed: int) -> tuple[Series, Tensor]:
    """Random walks at even times, and a class for each."""
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(series, length, CHANNELS, generator=g).cumsum(1) / length**0.5
    times = torch.arange(length, dtype=torch.float64).expand(series, -1)
    lengths = torch.full((series,), length)
    x = Series(times, values, torch.ones_like(values, dtype=torch.bool), lengths, torch.zeros(series, 0))
    return x, torch.randint(CLASSES, (series,), generator=g)


def rows(seconds: float, seed: int, quick: bool) -> list[Row]:
    """Times of a training step.

    Args:
        seconds: Wall time for each problem.
        seed: Of weights and data.
        quick: A quarter of the series.

    Raises:
        UsageError: torchcde is not installed.
        IntegrandError: Both sides learn differently.
    """
    return [*_against_torchcde(seconds, seed, quick), *_windows(seconds, seed, quick)]


class _Side:
    """A network with its optimiser, and what it says of a batch."""

    def __init__(self, module: SeriesFamily, x: Series, y: Tensor) -> None:
        self.module, self.x, self.y, self.nfe = module, x, y, 0
        self.optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def said(self) -> Tensor:
        """Logits."""
        said, solves = self.module.evaluate(self.x)
        self.nfe = solves[0].nfe_forward
        return said

    def train(self) -> float:
        """One step; returns the loss."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.said(), self.y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()
        return float(loss.detach())


class _TorchCDE(_Side):
    """The same network by torchcde's pattern: coefficients once, then `cdeint` with torchdiffeq's rk4.

    Args:
        module: The network.
        x: The batch.
        y: Its classes.
        adjoint: Whether the gradient is torchcde's default, the adjoint's.
    """

    def __init__(self, module: NeuralCDE, x: Series, y: Tensor, adjoint: bool) -> None:
        super().__init__(module, x, y)
        import torchcde

        self.cde, self.adjoint = module, adjoint
        self.times = x.times[0].float()
        rows = module.control.observed.rows(x)
        coefficients = torchcde.hermite_cubic_coefficients_with_backward_differences(rows, self.times)
        self.coefficients, self.torchcde = coefficients, torchcde

    def said(self) -> Tensor:
        """Logits."""
        path = self.torchcde.CubicSpline(self.coefficients, self.times)
        z0 = self.cde.initial(self.x, path.evaluate(self.times[0]))
        states = self.torchcde.cdeint(
            X=path,
            func=self.cde.field,
            z0=z0,
            t=self.times[[0, -1]],
            adjoint=self.adjoint,
            method="rk4",
            options={"step_size": 1.0},
        )
        logits: Tensor = self.module.head(states[:, -1])
        return logits


def _network(seed: int, length: int) -> NeuralCDE:
    torch.manual_seed(seed)
    spec = SeriesSpec("walks", Classes(CLASSES), channels=CHANNELS, length=length)
    # torchdiffeq's rk4 is the 3/8 rule
    return NeuralCDE(spec, channels=32, hidden=64, depth=1, solver=RK38(num_steps=1))


def _against_torchcde(seconds: float, seed: int, quick: bool) -> list[Row]:
    try:
        import torchcde  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "torchcde is not installed", "pip install torchcde, or leave neural_cde out"
        ) from error
    x, y = walks(SERIES // 4 if quick else SERIES, LENGTH, seed)

    def sides() -> dict[str, _Side]:
        return {
            "ours": _Side(_network(seed, LENGTH), x, y),
            "torchcde, backprop": _TorchCDE(_network(seed, LENGTH), x, y, adjoint=False),
            "torchcde, adjoint": _TorchCDE(_network(seed, LENGTH), x, y, adjoint=True),
        }

    _require_equal_curves(sides())
    timed = sides()
    steps: dict[str, Callable[[], object]] = {name: side.train for name, side in timed.items()}
    times = measure(steps, seconds, 3, seed)
    problem = f"{len(x)} series of {LENGTH}"
    return [
        paired_row(
            "training neural CDE, rk4",
            problem,
            other,
            times["ours"],
            times[other],
            target,
            nfe=timed["ours"].nfe,
        )
        for other, target in (("torchcde, backprop", BACKPROP), ("torchcde, adjoint", ADJOINT))
    ]


def _require_equal_curves(sides: dict[str, _Side]) -> None:
    """Refuse to compare times of networks that learn differently."""
    for step in range(3):
        losses = {name: side.train() for name, side in sides.items()}
        # the adjoint's gradient is another one, to the order of the method
        a, b = losses["ours"], losses["torchcde, backprop"]
        if not abs(a - b) <= AGREEMENT * abs(b):
            raise IntegrandError(
                f"the losses differ at step {step}: {a:.6f} and {b:.6f}", "report it with this command"
            )


def _windows(seconds: float, seed: int, quick: bool) -> list[Row]:
    x, y = walks(LONG_SERIES // 4 if quick else LONG_SERIES, LONG, seed)
    spec = SeriesSpec("walks", Classes(CLASSES), channels=CHANNELS, length=LONG)
    torch.manual_seed(seed)
    networks = {
        "every observation": NeuralCDE(spec, channels=32, hidden=64, depth=1, interpolation="linear"),
        "depth 2": NeuralRDE(spec, channels=32, hidden=64, depth=1, window=WINDOW, signature_depth=2),
        "depth 3": NeuralRDE(spec, channels=32, hidden=64, depth=1, window=WINDOW, signature_depth=3),
    }
    sides = {name: _Side(network, x, y) for name, network in networks.items()}
    steps: dict[str, Callable[[], object]] = {name: side.train for name, side in sides.items()}
    times = measure(steps, seconds, 3, seed)
    problem = f"{len(x)} series of {LONG}"
    return [
        paired_row(
            f"training log-ODE, windows of {WINDOW}, {case}",
            problem,
            "every observation",
            times[case],
            times["every observation"],
            WINDOWS,
            nfe=sides[case].nfe,
        )
        for case in ("depth 2", "depth 3")
    ]
