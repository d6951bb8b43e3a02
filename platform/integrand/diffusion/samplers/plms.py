"""PLMS: PNDM without its Runge–Kutta start."""

from __future__ import annotations

from torch import Tensor

from .adams_bashforth import extrapolated
from .base import Run, Sampler
from .transfer import with_noise, with_noises


class PLMS(Sampler):
    """Adams–Bashforth on the noise, the first step by the mean of both its ends (Liu et al. 2022; LDM).

    The first step costs one evaluation more than the others. The order is 2, as for `IPNDM`.
    """

    order = 2
    stochastic = False
    multistep = True

    def evaluations(self, steps: int, to_zero: bool = False) -> int:
        """One more than steps, unless the only step goes to the data."""
        return steps + (steps > to_zero)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append(run.evaluate(x, a).noise())
        if i > 0:
            return with_noises(x, a, b, *extrapolated(past))
        ahead = run.evaluate(with_noise(x, past[0], a, b), b).noise()
        return with_noises(x, a, b, (0.5, past[0]), (0.5, ahead))

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data, extrapolated like the others; a first step is plain."""
        return self.step(run, run.last, x) if run.last else super().finish(run, x)

    def describe(self) -> str:
        """`plms`."""
        return "plms"
