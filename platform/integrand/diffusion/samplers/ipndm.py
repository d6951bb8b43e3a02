"""Improved PNDM: Adams–Bashforth from the first step on."""

from __future__ import annotations

from torch import Tensor

from .adams_bashforth import extrapolate
from .base import Run, Sampler
from .transfer import with_noise


class IPNDM(Sampler):
    """DDIM's step with the noise extrapolated by Adams–Bashforth of order 1 up to 4 (Zhang & Chen 2022).

    The weights are those of equal steps and the step is exact for constant noise only, which limits the order
    to 2; on steps equal in σ/α (`KarrasGrid(rho=1)`) both agree and it is 4 after the start.
    """

    order = 2
    stochastic = False
    multistep = True

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append(run.evaluate(x, a).noise())
        return with_noise(x, extrapolate(past), a, b)

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data, extrapolated like the others."""
        return self.step(run, run.last, x)

    def describe(self) -> str:
        """`ipndm`."""
        return "ipndm"
