"""DEIS by extrapolation: tAB, ρAB and log-ρ AB."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice

from ..processes import Node, Process
from .base import Run, Sampler
from .lower_orders import usable
from .transfer import combine

Variable = Literal["t", "rho", "log_rho"]


class DEISAB(Sampler):
    """x_b/α_b = x_a/α_a + ∫ ε dρ with ε a polynomial through past evaluations (Zhang & Chen 2022, Sec. 3).

    Args:
        degree: Degree of the polynomial, 0 to 3; 0 is DDIM. The order is one higher.
        variable: In what the polynomial is one: t (tAB-DEIS), ρ = σ/α (ρAB-DEIS) or log ρ = −λ.
        lower_order_final: Whether fewer than 15 steps end with degrees 1 and 0, which is more stable: as
            multistep DPM-Solvers and diffusers' DEIS do.
    """

    stochastic = False
    multistep = True

    def __init__(self, degree: int = 3, variable: Variable = "t", lower_order_final: bool = True) -> None:
        require_choice("degree", str(degree), ("0", "1", "2", "3"))
        require_choice("variable", variable, ("t", "rho", "log_rho"))
        self.degree, self.variable, self.order = degree, variable, degree + 1
        self.lower_order_final = lower_order_final

    @classmethod
    def examples(cls) -> tuple[DEISAB, ...]:
        """Every degree in every variable."""
        variables: tuple[Variable, ...] = ("t", "rho", "log_rho")
        return tuple(cls(k, v, lower_order_final=False) for v in variables for k in range(4))

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append(run.evaluate(x, a).noise())
        del past[: -self.degree - 1]
        used = past[-usable(self.degree + 1, run, i, self.lower_order_final) :]
        nodes = run.nodes[i - len(used) + 1 : i + 1]
        weights = self._weights(run.process, nodes, b)
        return combine(b.alpha / a.alpha, x, *((b.alpha * w, e) for w, e in zip(weights, used, strict=True)))

    def _weights(self, process: Process, nodes: list[Node], b: Node) -> list[float]:
        """∫ L_j dρ from nodes[-1] to b, by Gauss–Legendre in λ, where all integrands are smooth."""
        a = nodes[-1]
        if len(nodes) == 1:
            return [b.rho - a.rho]
        points, weights = gauss_legendre()
        h = b.log_snr - a.log_snr
        log_snr = a.log_snr + h * points
        density = -h * weights * torch.exp(-log_snr)  # dρ = −ρ dλ
        at = self._coordinate(process, log_snr)
        places = [{"t": node.t, "rho": node.rho, "log_rho": -node.log_snr}[self.variable] for node in nodes]
        result = []
        for j, place in enumerate(places):
            basis = torch.ones_like(at)
            for k, other in enumerate(places):
                if k != j:
                    basis = basis * (at - other) / (place - other)
            result.append(float((basis * density).sum()))
        return result

    def _coordinate(self, process: Process, log_snr: Tensor) -> Tensor:
        if self.variable == "t":
            return process.time(log_snr)
        return torch.exp(-log_snr) if self.variable == "rho" else -log_snr

    def describe(self) -> str:
        """Such as `deis tAB3`."""
        letter = {"t": "t", "rho": "ρ", "log_rho": "logρ"}[self.variable]
        return f"deis {letter}AB{self.degree}"


@lru_cache(maxsize=1)
def gauss_legendre(n: int = 16) -> tuple[Tensor, Tensor]:
    """Points and weights on [0, 1], from the eigenvalues of the Jacobi matrix (Golub & Welsch 1969)."""
    k = torch.arange(1, n, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return 0.5 * (values + 1), vectors[0].square()
