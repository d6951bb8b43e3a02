"""UniPC: a unified predictor and corrector."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice

from ..processes import Node
from .base import Run, Sampler
from .exponential import tail
from .transfer import combine


class UniPC(Sampler):
    """UniP-p and UniC-p by the data (Zhao et al. 2023, Alg. 1–2 and App. on B(h)).

    The corrector uses the evaluation that the next step needs anyway and raises the order to p + 1; it is not
    applied after the last evaluation, which would cost one.

    Args:
        p: Order of the predictor: 1, 2 or 3.
        variant: B(h) = h (`bh1`) or e^h − 1 (`bh2`).
        corrector: Whether to correct.
        lower_order_final: Whether the last steps are of order 2 and 1, as published.
    """

    stochastic = False
    multistep = True

    def __init__(
        self,
        p: int = 2,
        variant: Literal["bh1", "bh2"] = "bh2",
        corrector: bool = True,
        lower_order_final: bool = True,
    ) -> None:
        require_choice("p", str(p), ("1", "2", "3"))
        require_choice("variant", variant, ("bh1", "bh2"))
        self.p, self.variant, self.corrector = p, variant, corrector
        self.lower_order_final = lower_order_final
        self.order = p + corrector

    @classmethod
    def examples(cls) -> tuple[UniPC, ...]:
        """Every order and variant, with and without corrector."""
        variants: tuple[Literal["bh1", "bh2"], ...] = ("bh1", "bh2")
        return tuple(
            cls(p, variant, corrector, lower_order_final=False)
            for p in (1, 2, 3)
            for variant in variants
            for corrector in (False, True)
        )

    def describe(self) -> str:
        """Such as `unipc-2 bh2`, with `predictor only` where nothing is corrected."""
        return f"unipc-{self.p} {self.variant}" + ("" if self.corrector else " predictor only")

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, memory = run.nodes[i], run.memory
        past: list[tuple[Node, Tensor]] = memory.setdefault("past", [])
        data = run.evaluate(x, a).data()
        if self.corrector and past:
            x = self._move(memory["x"], past[-memory["used"] :], a, data)
        past.append((a, data))
        del past[: -self.p]
        used = min(self.p, len(past))
        if self.lower_order_final:
            used = min(used, len(run.nodes) - 1 - i)
        memory["x"], memory["used"] = x, used
        return self._move(x, past[-used:], run.nodes[i + 1], None)

    def _move(self, x: Tensor, used: list[tuple[Node, Tensor]], b: Node, at_b: Tensor | None) -> Tensor:
        """From the newest of the predictions to b: predictor, or corrector where the data at b are known."""
        a, m0 = used[-1]
        h = b.log_snr - a.log_snr
        ratios = [(node.log_snr - a.log_snr) / h for node, _ in reversed(used[:-1])]
        slopes = [(m - m0) / r for r, (_, m) in zip(ratios, reversed(used[:-1]), strict=True)]
        if at_b is not None:
            ratios, slopes = [*ratios, 1.0], [*slopes, at_b - m0]
        z = -h
        scale = z if self.variant == "bh1" else math.expm1(z)
        terms = [(-b.alpha * math.expm1(z), m0)]
        weights = _weights(ratios, z, scale)
        terms += [(-b.alpha * scale * w, d) for w, d in zip(weights, slopes, strict=True)]
        return combine(b.sigma / a.sigma, x, *terms)


def _weights(ratios: list[float], z: float, scale: float) -> list[float]:
    """Solve Σ_j w_j r_j^{k−1} = k! φ_{k+1}(z) z / B, k = 1 … q (Zhao et al. 2023, Theorem 3.1)."""
    q = len(ratios)
    if q == 0:
        return []
    if q == 1:
        return [0.5]  # the published simplification; exact to the order that is needed
    right = [tail(z, k) * math.factorial(k) / scale for k in range(1, q + 1)]
    rows = [[r**k for r in ratios] for k in range(q)]
    solved = torch.linalg.solve(
        torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)
    )
    values: list[float] = solved.tolist()
    return values
