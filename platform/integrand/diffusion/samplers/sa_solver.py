"""SA-Solver: stochastic Adams methods with a chosen amount of noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_choice

from ..processes import Node
from .base import Run, Sampler
from .exponential import moments
from .transfer import combine

Values = list[tuple[Node, Tensor]]


class SASolver(Sampler):
    """x_b = (σ_b/σ_a) e^{−τ²h} x + α_b ∫ (1 + τ²) e^{−(1+τ²)(λ_b−λ)} D(λ) dλ + σ_b √(1 − e^{−2τ²h}) z.

    D is a polynomial through predicted data: of `predictor` evaluations, and then, corrected, of `corrector`
    with that at b, at the same z (Xue et al. 2023, Eq. 14–18, Alg. 1). The corrector's evaluation is the next
    step's, so that a step costs one. For Gaussian data order 1 of τ = 0 is DDIM, of τ = 1 SDE-DPM-Solver++ 1.

    Args:
        predictor: Evaluations that the predictor uses, 1 to 4.
        corrector: Those that the corrector uses, 2 to 4 with the new one; 0 for none.
        tau: τ; 0 is the flow, 1 the reverse equation.
        low: Lowest noise level σ/α at which a step draws noise; below it τ = 0.
        high: Highest.
        simplified: Whether two evaluations are weighted as published, which changes nothing of the order.
        lower_order_final: Whether the last steps use fewer evaluations, as published.

    Raises:
        UsageError: τ is negative, the levels are none, or the corrector is 1.
    """

    multistep = True

    def __init__(
        self,
        predictor: int = 2,
        corrector: int = 2,
        tau: float = 1.0,
        low: float = 0.0,
        high: float = math.inf,
        simplified: bool = True,
        lower_order_final: bool = True,
    ) -> None:
        require_choice("predictor", str(predictor), ("1", "2", "3", "4"))
        require_choice("corrector", str(corrector), ("0", "2", "3", "4"))
        if not (math.isfinite(tau) and tau >= 0):
            raise UsageError(f"tau must be at least 0, not {tau:g}", "0 is the flow, 1 the reverse equation")
        if not 0 <= low < high:
            raise UsageError(f"no noise level lies between {low:g} and {high:g}", "low is below high")
        self.predictor, self.corrector, self.tau = predictor, corrector, tau
        self.low, self.high = low, high
        self.simplified, self.lower_order_final = simplified, lower_order_final
        self.stochastic = tau > 0
        # a corrector of q evaluations has order q, and one more than the predictor at most
        points = max(predictor, min(corrector, predictor + 1))
        self.order = min(points, 2) if self.stochastic else points

    @classmethod
    def examples(cls) -> tuple[SASolver, ...]:
        """The flow by every order, with noise, and each half alone."""
        return (
            cls(lower_order_final=False),
            cls(1, 0),
            cls(3, 4, 0.0, lower_order_final=False),
            cls(3, 0, 0.0, lower_order_final=False),
            cls(1, 2, 0.0, lower_order_final=False),
        )

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, memory = run.nodes[i], run.memory
        past: Values = memory.setdefault("past", [])
        data = run.evaluate(x, a).data()
        past.append((a, data))
        left = len(run.nodes) - 1 - i
        if self.corrector and len(past) > 1:
            points = min(self.corrector, left + 2) if self.lower_order_final else self.corrector
            used = past[-points:]
            x = self._move(memory["x"], past[-2][0], a, used, memory["noise"])
        del past[: -max(self.predictor, self.corrector)]
        noise = run.normals(i) if self._tau(a) else None
        memory["x"], memory["noise"] = x, noise
        points = min(self.predictor, left) if self.lower_order_final else self.predictor
        return self._move(x, a, run.nodes[i + 1], past[-points:], noise)

    def _tau(self, a: Node) -> float:
        return self.tau if self.low <= a.rho <= self.high else 0.0

    def _move(self, x: Tensor, a: Node, b: Node, used: Values, noise: Tensor | None) -> Tensor:
        """From a to b with the data's polynomial through `used`, newest last."""
        tau2, h = self._tau(a) ** 2, b.log_snr - a.log_snr
        z = (1 + tau2) * h
        places = [(b.log_snr - node.log_snr) / h for node, _ in used]
        if self.simplified and len(used) == 2:
            # the slope's weight is z/2 instead of 1 − (1 − e^{−z})/z
            slope = 0.5 * z / (places[0] - places[1])
            weights = [-slope, slope]
            weights[places.index(1.0)] -= math.expm1(-z)
        else:
            weights = _interpolated(places, z)
        terms = [(b.alpha * w, data) for w, (_, data) in zip(weights, used, strict=True)]
        if noise is not None:
            terms.append((b.sigma * math.sqrt(-math.expm1(-2 * tau2 * h)), noise))
        return combine(b.sigma / a.sigma * math.exp(-tau2 * h), x, *terms)

    def describe(self) -> str:
        """Such as `sa-solver 2/2` or `sa-solver 3/4 tau=0`."""
        noise = f" tau={self.tau:g}" if self.tau != 1 else ""
        bounded = self.low > 0 or self.high < math.inf
        where = f" in {self.low:g}-{self.high:g}" if bounded and self.tau else ""
        return f"sa-solver {self.predictor}/{self.corrector}{noise}{where}"


def _interpolated(places: list[float], z: float) -> list[float]:
    """Weights w of Σ w_j f(v_j) = ∫₀¹ z e^{−zv} f(v) dv, exact for polynomials through the places v_j."""
    n = len(places)
    at = torch.tensor(places, dtype=torch.float64)
    powers = torch.stack([at**k for k in range(n)])
    weights: list[float] = torch.linalg.solve(
        powers, torch.tensor(moments(z, n), dtype=torch.float64)
    ).tolist()
    return weights
