"""DPM-Solver and DPM-Solver++ as multistep methods."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from integrand.solvers.options import require_choice

from ..prediction import Prediction
from .base import Run, Sampler
from .exponential import Form, Second, advance_by_past
from .lower_orders import usable


class _Multistep(Sampler):
    """Base: exponential Adams–Bashforth in λ.

    Args:
        order: 1, 2 or 3; the first steps have the order that the past allows.
        second: Weight of the first derivative at order 2: `midpoint`, or exact (`heun`).
        lower_order_final: Whether fewer than 15 steps end with order 2 and 1, which is more stable
            (Lu et al. 2022, DPM-Solver++, Sec. 5).
        curvature: At order 3, the half of the second derivative that the authors' code takes (`published`),
            which makes the method one of order 2, or all of it (`exact`), which has order 3 and is less
            stable on long steps.
    """

    multistep = True
    form: Form
    highest = 3

    def __init__(
        self,
        order: int = 2,
        second: Second = "midpoint",
        lower_order_final: bool = True,
        curvature: Literal["published", "exact"] = "published",
    ) -> None:
        require_choice("curvature", curvature, ("published", "exact"))
        require_choice("order", str(order), [str(k) for k in range(1, self.highest + 1)])
        require_choice("second", second, ("midpoint", "heun"))
        self.steps_used, self.curvature = order, curvature
        self.order = order if curvature == "exact" else min(order, 2)
        self.second, self.lower_order_final = second, lower_order_final

    @classmethod
    def examples(cls) -> tuple[_Multistep, ...]:
        """Every order, and both weights of order 2."""
        orders = tuple(cls(k, lower_order_final=False) for k in (1, 2, 3))
        return (
            *orders,
            cls(2, "heun", lower_order_final=False),
            cls(3, lower_order_final=False, curvature="exact"),
        )

    def value(self, prediction: Prediction) -> Tensor:
        """What is extrapolated."""
        return prediction.noise() if self.form == "noise" else prediction.data()

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        past = run.memory.setdefault("past", [])
        past.append((run.nodes[i], self.value(run.evaluate(x, run.nodes[i]))))
        del past[: -self.steps_used]
        a, b = run.nodes[i], run.nodes[i + 1]
        used = past[-usable(self.steps_used, run, i, self.lower_order_final) :]
        noise = run.normals(i) if self.form == "data-sde" else None
        halved = self.curvature == "published"
        return advance_by_past(x, a, b, self.form, used, self.second, halved, noise)

    def _name(self) -> str:
        options = [self.second] * (self.second != "midpoint") + [self.curvature] * (
            self.curvature != "published"
        )
        return " ".join([f"{self.steps_used}M", *options])


class DPMSolverMultistep(_Multistep):
    """DPM-Solver-k by the noise, multistep (Lu et al. 2022, DPM-Solver, App. B with past derivatives).

    Order 1 is DDIM. Prefer DPM-Solver++ with guidance.

    Args:
        order: 1, 2 or 3.
        second: Weight of the first derivative at order 2.
        lower_order_final: Whether fewer than 15 steps end with order 2 and 1.
        curvature: At order 3, half the second derivative, as the authors' code (`published`), or all
            (`exact`).
    """

    form = "noise"
    stochastic = False

    def describe(self) -> str:
        """Such as `dpm-solver 2M`."""
        return f"dpm-solver {self._name()}"


class DPMSolverPPMultistep(_Multistep):
    """DPM-Solver++(kM) by the data (Lu et al. 2022, DPM-Solver++, Alg. 2; order 3 App. B).

    Args:
        order: 1, 2 or 3.
        second: Weight of the first derivative at order 2.
        lower_order_final: Whether fewer than 15 steps end with order 2 and 1.
        curvature: At order 3, half the second derivative, as the authors' code (`published`), or all
            (`exact`).
    """

    form = "data"
    stochastic = False

    def describe(self) -> str:
        """Such as `dpm-solver++ 2M`."""
        return f"dpm-solver++ {self._name()}"


class DPMSolverSDE(_Multistep):
    """SDE-DPM-Solver++(kM) (Lu et al. 2022, DPM-Solver++, Sec. 6; k = 3 is k-diffusion's DPM++ 3M SDE).

    The noise is integrated exactly. The weak order, measured on Gaussian data, is k for k = 1 and 2; k = 3
    takes half the second derivative, as published, and has order 2 with a smaller error.

    Args:
        order: k.
        second: Weight of the first derivative at k = 2.
        lower_order_final: Whether fewer than 15 steps end with lower orders.
    """

    form = "data-sde"
    stochastic = True

    def __init__(self, order: int = 2, second: Second = "midpoint", lower_order_final: bool = True) -> None:
        super().__init__(order, second, lower_order_final)

    @classmethod
    def examples(cls) -> tuple[DPMSolverSDE, ...]:
        """Orders 1 and 2, both weights of the second; 3 shows its order 2 late."""
        return (
            cls(1, lower_order_final=False),
            cls(2, lower_order_final=False),
            cls(2, "heun", lower_order_final=False),
        )

    def describe(self) -> str:
        """Such as `dpm-solver++ sde 2M`."""
        return f"dpm-solver++ sde {self._name()}"
