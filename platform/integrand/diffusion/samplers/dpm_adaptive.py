"""DPM-Solver with steps that follow an error estimate."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_ascending, require_choice, require_positive

from ..processes import Node
from .base import Run, Sampler
from .exponential import advance

SMALLEST = 1e-8
"""Length of a step in λ that is taken whatever its error: the model is not smooth there."""


class DPMSolverAdaptive(Sampler):
    """A singlestep pair of orders p − 1 and p in λ (Lu et al. 2022, DPM-Solver, App. C).

    The error is that of the worst sample, E = max rms((low − high)/max(atol, rtol |·|)); a step with E ≤ 1
    is taken, by the higher order, and the next is h ← θ h E^{−1/p}. Samples that are not finite do not
    count. A refused step costs its later stages alone: the first evaluation is kept, where the authors' code
    makes it again. All samples share their steps, so that a sample depends on its batch within the
    tolerance.

    Args:
        order: p: 2, with the pair 1/2, or 3, with 2/3.
        atol: Absolute tolerance, for states of size 1.
        rtol: Relative tolerance.
        first_step: The first h.
        safety: θ.
        form: Whether the predicted data or the noise is extrapolated; `data` as the authors' later code.
    """

    order = None
    stochastic = False
    off_grid = True
    evaluations_per_step = None

    def __init__(
        self,
        order: int = 3,
        atol: float = 0.0078,
        rtol: float = 0.05,
        first_step: float = 0.05,
        safety: float = 0.9,
        form: Literal["data", "noise"] = "data",
    ) -> None:
        require_choice("order", str(order), ("2", "3"))
        require_choice("form", form, ("data", "noise"))
        require_positive(atol=atol, rtol=rtol, first_step=first_step, safety=safety)
        require_ascending(safety=safety, one=1.0)
        self.pair, self.atol, self.rtol, self.first_step = order, atol, rtol, first_step
        self.safety, self.form = safety, form

    @classmethod
    def examples(cls) -> tuple[DPMSolverAdaptive, ...]:
        """Tight enough for samples that hardly depend on their batch."""
        return (cls(3, 1e-6, 1e-6),)

    def prepare(self, run: Run) -> None:
        """Keep the ends: the steps between are chosen."""
        run.nodes = [run.nodes[0], run.nodes[run.last], *run.nodes[run.last + 1 :]]

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`: all the way from node i to the next."""
        a, b, h = run.nodes[i], run.nodes[i + 1], self.first_step
        before = x
        m0 = self._value(run, x, a)
        while a.log_snr < b.log_snr:
            left = b.log_snr - a.log_snr
            # what would leave a sliver is the last step
            end = b if h > left * (1 - 1e-9) else run.process.node_at(a.log_snr + h)
            low, high = self._pair(run, x, m0, a, end)
            error = self._error(low, high, before)
            taken = end.log_snr - a.log_snr
            if error <= 1 or taken <= SMALLEST:
                x, before, a = high, low, end
                if a.log_snr < b.log_snr:
                    m0 = self._value(run, x, a)
            # nothing to see in E = 0: ten times as long
            h = max(SMALLEST, min(self.safety * taken * max(error, 1e-10) ** (-1 / self.pair), 10 * taken))
        return x

    def _pair(self, run: Run, x: Tensor, m0: Tensor, a: Node, b: Node) -> tuple[Tensor, Tensor]:
        """Both ends of one step."""
        h = b.log_snr - a.log_snr
        r1 = 0.5 if self.pair == 2 else 1 / 3
        s1 = run.process.node_at(a.log_snr + r1 * h)
        m1 = self._value(run, advance(x, a, s1, self.form, m0), s1)
        slope = (m1 - m0) / r1
        second = advance(x, a, b, self.form, m0, slope)
        if self.pair == 2:
            return advance(x, a, b, self.form, m0), second
        r2 = 2 / 3
        s2 = run.process.node_at(a.log_snr + r2 * h)
        inner = advance(x, a, s2, self.form, m0, slope * r2, second="heun")
        m2 = self._value(run, inner, s2)
        return second, advance(x, a, b, self.form, m0, (m2 - m0) / r2, second="heun")

    def _error(self, low: Tensor, high: Tensor, before: Tensor) -> float:
        scale = torch.maximum(low.abs(), before.abs()).mul_(self.rtol).clamp_min_(self.atol)
        errors = ((low - high) / scale).flatten(1).square().mean(1).sqrt()
        finite = errors[torch.isfinite(errors)]
        return float(finite.max()) if len(finite) else 0.0

    def _value(self, run: Run, x: Tensor, node: Node) -> Tensor:
        prediction = run.evaluate(x, node)
        return prediction.noise() if self.form == "noise" else prediction.data()

    def describe(self) -> str:
        """Such as `dpm-solver++ 23 rtol=0.05 atol=0.0078`."""
        name = "dpm-solver++" if self.form == "data" else "dpm-solver"
        return f"{name} {self.pair - 1}{self.pair} rtol={self.rtol:g} atol={self.atol:g}"
