"""Classic initial value problems of the work-precision table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class InitialValueProblem:
    """y' = f(t, y) from y0 over [0, end].

    Args:
        name: Its name in tables.
        f: Called with a 0-d t and y of shape (d,), both float64.
        y0: Initial state.
        end: Last time.
        source: Where it comes from.
        breaks: Times at which f jumps, for the reference only.
    """

    name: str
    f: Function = field(repr=False)
    y0: tuple[float, ...]
    end: float
    source: str
    breaks: tuple[float, ...] = ()

    def numpy(self, t: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """F for SciPy."""
        value: NDArray[np.float64] = self.f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()
        return value

    @cached_property
    def exact(self) -> Tensor:
        """y(end), by DOP853 at a tolerance near rounding, from break to break."""
        y = np.array(self.y0)
        nodes = [0.0, *self.breaks, self.end]
        for a, b in pairwise(nodes):
            # evaluated just inside, so that a jump at a node is not met
            inside = (a + 1e-12 * (b - a), b - 1e-12 * (b - a))

            def f(
                t: float, y: NDArray[np.float64], inside: tuple[float, float] = inside
            ) -> NDArray[np.float64]:
                return self.numpy(min(max(t, inside[0]), inside[1]), y)

            y = solve_ivp(f, (a, b), y, method="DOP853", rtol=3e-14, atol=1e-14).y[:, -1]
        return torch.from_numpy(y)


def _lorenz(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y
    return torch.stack((10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c))


_POSITIONS = (3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0, 3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0)
_VELOCITIES = (0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5, 0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0)
_MASSES = torch.arange(1.0, 8.0, dtype=torch.float64)


def _pleiades(t: Tensor, y: Tensor) -> Tensor:
    position, velocity = y[:14].view(2, 7), y[14:]
    apart = position.unsqueeze(1) - position.unsqueeze(2)
    cubed = (apart.square().sum(0) + torch.eye(7, dtype=y.dtype)) ** 1.5
    return torch.cat((velocity, (apart * _MASSES / cubed).sum(2).flatten()))


_MU = 0.012277471


def _arenstorf(t: Tensor, y: Tensor) -> Tensor:
    a, b, u, v = y
    d1 = ((a + _MU) ** 2 + b**2) ** 1.5
    d2 = ((a - 1 + _MU) ** 2 + b**2) ** 1.5
    du = a + 2 * v - (1 - _MU) * (a + _MU) / d1 - _MU * (a - 1 + _MU) / d2
    dv = b - 2 * u - (1 - _MU) * b / d1 - _MU * b / d2
    return torch.stack((u, v, du, dv))


def _brusselator(t: Tensor, y: Tensor) -> Tensor:
    a, b = y
    return torch.stack((1 + a * a * b - 4 * a, 3 * a - a * a * b))


def _kepler(t: Tensor, y: Tensor) -> Tensor:
    q, p = y[:2], y[2:]
    return torch.cat((p, -q / q.norm() ** 3))


def _orbit(eccentricity: float) -> tuple[float, ...]:
    return (1 - eccentricity, 0.0, 0.0, math.sqrt((1 + eccentricity) / (1 - eccentricity)))


def _van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    a, b = y
    return torch.stack((b, (1 - a * a) * b - a))


def _sawtooth(t: Tensor, y: Tensor) -> Tensor:
    return 55 - (1.5 if int(t) % 2 == 0 else 0.5) * y


def _rigid_body(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y
    return torch.stack((b * c, -a * c, -0.51 * a * b))


def _lotka_volterra(t: Tensor, y: Tensor) -> Tensor:
    a, b = y
    return torch.stack((2 * (a - a * b), -(b - a * b)))


def _heat(t: Tensor, y: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(y, (1, 1))
    return padded[:-2] - 2 * y + padded[2:]


def _cosine(t: Tensor, y: Tensor) -> Tensor:
    return y * torch.cos(t)


_HAIRER = "Hairer, Nørsett, Wanner (1993)"
_DETEST = "Hull et al. (1972), DETEST"

PROBLEMS = (
    InitialValueProblem("Lorenz", _lorenz, (1.0, 1.0, 1.0), 5.0, "Lorenz (1963)"),
    InitialValueProblem(
        "Pleiades",
        _pleiades,
        (*_POSITIONS, *_VELOCITIES),
        3.0,
        f"{_HAIRER}, II.10",
    ),
    InitialValueProblem(
        "Arenstorf",
        _arenstorf,
        (0.994, 0.0, 0.0, -2.00158510637908252240537862224),
        17.0652165601579625588917206249,
        f"{_HAIRER}, II.0",
    ),
    InitialValueProblem("Brusselator", _brusselator, (1.5, 3.0), 20.0, f"{_HAIRER}, I.16"),
    InitialValueProblem("Kepler 0.5", _kepler, _orbit(0.5), 20.0, f"{_DETEST} D3"),
    InitialValueProblem("Kepler 0.9", _kepler, _orbit(0.9), 20.0, f"{_DETEST} D5"),
    InitialValueProblem("Van der Pol", _van_der_pol, (2.0, 0.0), 20.0, f"{_DETEST} E2"),
    InitialValueProblem(
        "discontinuous", _sawtooth, (110.0,), 19.5, f"{_DETEST} F2", tuple(float(i) for i in range(1, 20))
    ),
    InitialValueProblem("rigid body", _rigid_body, (0.0, 1.0, 1.0), 20.0, f"{_DETEST} B5"),
    InitialValueProblem("Lotka–Volterra", _lotka_volterra, (1.0, 3.0), 20.0, f"{_DETEST} B1"),
    InitialValueProblem("heat", _heat, (1.0, *[0.0] * 9), 20.0, f"{_DETEST} C3"),
    InitialValueProblem("y cos t", _cosine, (1.0,), 20.0, f"{_DETEST} A3"),
)
