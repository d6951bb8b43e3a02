"""Improved PNDM: Adams–Bashforth from the first step on."""

from __future__ import annotations

from torch import Tensor

from integrand.solvers.options import require_choice

from .adams_bashforth import extrapolated
from .base import Run, Sampler
from .transfer import with_noises


class IPNDM(Sampler):
    """DDIM's step with the noise extrapolated by Adams–Bashforth of order 1 up to 4 (Zhang & Chen 2022).

    The weights are those of equal steps and the step is exact for constant noise only, which limits the order
    to 2; on steps equal in σ/α (`KarrasGrid(rho=1)`) both agree and it is 4 after the start. With weights of
    the steps as they are, iPNDM-v, it is `DEISAB` in ρ.

    Args:
        order: Most evaluations that a step uses, 1 to 4; 1 is DDIM.
    """

    stochastic = False
    multistep = True

    def __init__(self, order: int = 4) -> None:
        require_choice("order", str(order), ("1", "2", "3", "4"))
        self.used, self.order = order, min(order, 2)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append(run.evaluate(x, a).noise())
        del past[: -self.used]
        return with_noises(x, a, b, *extrapolated(past))

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data, extrapolated like the others."""
        return self.step(run, run.last, x)

    def describe(self) -> str:
        """Such as `ipndm` or `ipndm-2`."""
        return "ipndm" if self.used == 4 else f"ipndm-{self.used}"
