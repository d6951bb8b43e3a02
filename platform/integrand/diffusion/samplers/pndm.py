"""PNDM with its pseudo-Runge–Kutta start."""

from __future__ import annotations

from torch import Tensor

from .adams_bashforth import extrapolated
from .base import Run, Sampler
from .transfer import with_noise, with_noises

START = 3
"""Steps by pseudo-Runge–Kutta, four evaluations each."""


class PNDM(Sampler):
    """Three pseudo-Runge–Kutta steps, then Adams–Bashforth of order 4 on the noise (Liu et al. 2022, Alg. 2).

    The start costs 12 evaluations, half of them between the times. The order is 2, as for `IPNDM`.
    """

    order = 2
    stochastic = False
    multistep = True
    evaluations_per_step = None
    minimum_steps = START + 1
    off_grid = True

    def evaluations(self, steps: int, to_zero: bool = False) -> int:
        """Four for each of the first three steps, one for each other."""
        return steps + 3 * min(START, steps - to_zero)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        past = run.memory.setdefault("past", [])
        past.append(run.evaluate(x, a).noise())
        if i >= START:
            return with_noises(x, a, b, *extrapolated(past))
        k1, half = past[-1], run.process.node(0.5 * (a.t + b.t))
        k2 = run.evaluate(with_noise(x, k1, a, half), half).noise()
        k3 = run.evaluate(with_noise(x, k2, a, half), half).noise()
        k4 = run.evaluate(with_noise(x, k3, a, b), b).noise()
        return with_noises(x, a, b, (1 / 6, k1), (1 / 3, k2), (1 / 3, k3), (1 / 6, k4))

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data, extrapolated like the others."""
        return self.step(run, run.last, x)

    def describe(self) -> str:
        """`pndm`."""
        return "pndm"
