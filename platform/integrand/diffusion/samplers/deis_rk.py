"""DEIS by Runge–Kutta in ρ."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from integrand.solvers import RK4, Midpoint, Ralston
from integrand.solvers import Heun as HeunSolver
from integrand.solvers.options import require_choice
from integrand.solvers.runge_kutta.tableau import Tableau

from .base import Run, Sampler
from .transfer import combine

Method = Literal["heun", "midpoint", "ralston", "kutta3", "rk4"]

KUTTA3 = Tableau(c=(0.0, 0.5, 1.0), a=((), (0.5,), (-1.0, 2.0)), b=(1 / 6, 2 / 3, 1 / 6))
METHODS: dict[str, tuple[Tableau, int]] = {
    "heun": (HeunSolver.tableau, 2),
    "midpoint": (Midpoint.tableau, 2),
    "ralston": (Ralston.tableau, 2),
    "kutta3": (KUTTA3, 3),
    "rk4": (RK4.tableau, 4),
}


class DEISRK(Sampler):
    """ρRK-DEIS: a Runge–Kutta method on dy/dρ = ε, y = x/α, ρ = σ/α (Zhang & Chen 2022, Sec. 3).

    Args:
        method: `heun`, `midpoint`, `ralston` (order 2), `kutta3` (order 3) or `rk4` (order 4).
    """

    stochastic = False
    off_grid = True

    def __init__(self, method: Method = "kutta3") -> None:
        require_choice("method", method, METHODS)
        self.method = method
        self.tableau, self.order = METHODS[method]
        self.evaluations_per_step = self.tableau.needed
        self.off_grid = any(c not in (0.0, 1.0) for c in self.tableau.c)

    @classmethod
    def examples(cls) -> tuple[DEISRK, ...]:
        """Every method."""
        methods: tuple[Method, ...] = ("heun", "midpoint", "ralston", "kutta3", "rk4")
        return tuple(cls(m) for m in methods)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        h, tableau = b.rho - a.rho, self.tableau
        slopes: list[Tensor] = []
        for c, row in zip(tableau.c[: tableau.needed], tableau.a, strict=False):
            if c == 0:
                node = a
            elif c == 1:
                node = b
            else:
                node = run.process.node_at(-math.log(a.rho + c * h))
            terms = [(node.alpha * h * w, k) for w, k in zip(row, slopes, strict=False)]
            slopes.append(run.evaluate(combine(node.alpha / a.alpha, x, *terms), node).noise())
        weights = tableau.b[: tableau.needed]
        return combine(
            b.alpha / a.alpha, x, *((b.alpha * h * w, k) for w, k in zip(weights, slopes, strict=True))
        )

    def describe(self) -> str:
        """Such as `deis ρkutta3`."""
        return f"deis ρ{self.method}"
