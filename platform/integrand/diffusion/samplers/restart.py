"""Restart: noise added in one leap, and the flow followed down again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from integrand.solvers.options import require_ascending, require_counts, require_positive

from ..errors import GridError
from ..processes import Node, Process
from .base import Run, Sampler
from .heun import Heun
from .jumps import Jumping

RHO = 7.0
"""Exponent of the levels between high and low, as in `KarrasGrid`."""


@dataclass(frozen=True)
class RestartInterval:
    """Where and how often to restart.

    Args:
        low: Noise level σ/α at which noise is added; the grid's level nearest to it.
        high: Level that it is raised to.
        steps: Steps from there down again; one less than the points that the authors count.
        repeats: How often, K.

    Raises:
        SolverOptionError: A number is not positive or not whole, or low is not below high.
    """

    low: float = 0.06
    high: float = 0.30
    steps: int = 2
    repeats: int = 2

    def __post_init__(self) -> None:
        require_positive(low=self.low, high=self.high)
        require_counts(steps=self.steps, repeats=self.repeats)
        require_ascending(low=self.low, high=self.high)


class Restart(Jumping):
    """The flow, and at some levels K times noise up to a higher one and down again (Xu et al. 2023, Alg. 1).

    Each restart forgets errors made before it, and keeps the marginal distribution. The flow's solver makes
    an error in every interval that its own steps alone reduce: with them, the order is the base's.

    Args:
        base: What follows the flow; `Heun` where not given.
        intervals: Where to restart; where not given twice from 0.06 to 0.3, two steps each, which the authors
            take for 18 steps of CIFAR-10 (43 evaluations).
    """

    order = None

    def __init__(
        self, base: Sampler | None = None, intervals: Sequence[RestartInterval] | None = None
    ) -> None:
        super().__init__(base or Heun())
        self.intervals = tuple(intervals) if intervals else (RestartInterval(),)
        self.off_grid = True

    minimum_steps = 2

    def evaluations(self, steps: int, to_zero: bool = False) -> int | None:
        """See `Sampler.evaluations`; the restarts cost the same for every number of steps."""
        main = self.base.evaluations(steps, to_zero)
        again = sum(interval.steps * interval.repeats for interval in self.intervals)
        return None if main is None else main + again * self.per_step

    def path(self, run: Run) -> list[Node]:
        """See `Jumping.path`.

        Raises:
            GridError: The grid has no level below `high` near `low`.
        """
        main, last = list(run.nodes), run.last
        after: dict[int, list[Node]] = {}
        for interval in self.intervals:
            place = min(range(last + 1), key=lambda i: abs(main[i].rho - interval.low))
            if main[place].rho >= interval.high:
                raise GridError(
                    f"no level of the grid between {interval.low:g} and {interval.high:g} to restart at: the "
                    f"nearest is {main[place].rho:g}",
                    "take more steps, or a grid that goes on nearer to the data",
                )
            again = [*_levels(run.process, interval, main[place]), main[place]]
            after.setdefault(place, []).extend(again * interval.repeats)
        return [node for i, own in enumerate(main) for node in (own, *after.get(i, []))]

    def describe(self) -> str:
        """Such as `restart heun 2×2 in 0.06-0.3`."""
        words = ", ".join(f"{i.repeats}×{i.steps} in {i.low:g}-{i.high:g}" for i in self.intervals)
        return f"restart {self.base.describe()} {words}"


def _levels(process: Process, interval: RestartInterval, end: Node) -> list[Node]:
    """From high to the last level before the end, equal steps in ρ^{1/7}."""
    first, last = interval.high ** (1 / RHO), end.rho ** (1 / RHO)
    shares = [k / interval.steps for k in range(interval.steps)]
    return [process.node_at(-RHO * math.log(first + (last - first) * share)) for share in shares]
