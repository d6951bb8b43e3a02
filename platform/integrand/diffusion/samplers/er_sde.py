"""ER-SDE: extended reverse-time SDEs with a chosen amount of noise."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice

from .base import Run, Sampler
from .deis_ab import gauss_legendre
from .transfer import combine

Scale = Literal["ode", "sde", "er5"]


class ERSDE(Sampler):
    """y_b = r y + (1 − r) D + (ρ_b − ρ_a + φ_b ∫ dρ/φ) D′ + … + √(ρ_b² − r² ρ_a²) z, r = φ_b/φ_a, y = x/α.

    D′ and D″ are differences of the predicted data in ρ (Cui et al. 2023, Alg. 2–4). The integrals from ρ_b
    to ρ_a are exact here, where the authors' code sums 100 rectangles.

    Args:
        order: 1, 2 or 3: the highest derivative plus one. The past differences leave order 2 at most for the
            variance, which is what is declared.
        scale: φ(ρ): `er5` is the authors' choice ρ (exp(ρ^0.3) + 10); `sde`, ρ², makes order 1 the ancestral
            sampler, `ode`, ρ, makes it DDIM without noise.
    """

    multistep = True

    def __init__(self, order: int = 3, scale: Scale = "er5") -> None:
        require_choice("order", str(order), ("1", "2", "3"))
        require_choice("scale", scale, ("ode", "sde", "er5"))
        self.terms, self.scale, self.order = order, scale, min(order, 2)
        self.stochastic = scale != "ode"

    @classmethod
    def examples(cls) -> tuple[ERSDE, ...]:
        """Every order, and the other scales."""
        return cls(1), cls(2), cls(3), cls(2, "sde"), cls(2, "ode")

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append((a.rho, run.evaluate(x, a).data()))
        del past[: -self.terms]
        kept = self._phi(b.rho) / self._phi(a.rho)
        terms = [(b.alpha * (1 - kept), past[-1][1])]
        slopes = _differences(past)
        for k, slope in enumerate(slopes, start=1):
            gap = (b.rho - a.rho) ** k / math.factorial(k)
            weight = gap + self._phi(b.rho) * self._integral(a.rho, b.rho, k - 1)
            terms.append((b.alpha * weight, slope))
        if self.stochastic:
            variance = b.rho**2 - (kept * a.rho) ** 2
            terms.append((b.alpha * math.sqrt(max(0.0, variance)), run.normals(i)))
        return combine(kept * b.alpha / a.alpha, x, *terms)

    def _phi(self, rho: float) -> float:
        if self.scale == "er5":
            return rho * (math.exp(rho**0.3) + 10)
        return rho if self.scale == "ode" else rho**2

    def _integral(self, high: float, low: float, power: int) -> float:
        """∫_low^high (ρ − high)^power/φ dρ/power!, in log ρ, where the integrand is smooth."""
        points, weights = gauss_legendre()
        width = math.log(high / low)
        rhos = [low * math.exp(width * p) for p in points.tolist()]
        values = [(r - high) ** power * r / self._phi(r) for r in rhos]
        total = float((torch.tensor(values, dtype=torch.float64) * weights).sum())
        return width * total / math.factorial(power)

    def describe(self) -> str:
        """Such as `er-sde-3` or `er-sde-2 ode`."""
        return f"er-sde-{self.terms}" + (f" {self.scale}" if self.scale != "er5" else "")


def _differences(past: list[tuple[float, Tensor]]) -> list[Tensor]:
    """First and second derivatives in ρ from up to three values, newest last."""
    if len(past) < 2:
        return []
    (r1, d1), (r0, d0) = past[-2:]
    first = (d0 - d1) / (r0 - r1)
    if len(past) < 3:
        return [first]
    r2, d2 = past[-3]
    older = (d1 - d2) / (r1 - r2)
    return [first, (first - older) * (2 / (r0 - r2))]
