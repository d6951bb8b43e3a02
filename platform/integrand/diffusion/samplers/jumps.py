"""Samplers that go back to more noise on the way, and down again."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from integrand.errors import UsageError

from ..denoiser import Denoising
from ..processes import Node, Process
from ..random_numbers import Stream
from .base import Run, Sampler
from .transfer import combine, forward_variance


class Jumping(Sampler):
    """Base: a sampler of single steps on a path of times of which some lead back to more noise.

    Args:
        base: What takes the steps towards the data.

    Raises:
        UsageError: The base uses earlier evaluations, groups steps, or chooses them itself.
    """

    stochastic = True

    def __init__(self, base: Sampler) -> None:
        if base.multistep or base.spans_intervals or base.evaluations_per_step is None:
            raise UsageError(
                f"{type(self).__name__} goes back in time, which {base.describe()} cannot follow",
                "take a base of single steps, such as Heun, DDIM or Ancestral",
            )
        self.base, self.off_grid = base, base.off_grid
        self.per_step = base.evaluations_per_step

    @abstractmethod
    def path(self, run: Run) -> list[Node]:
        """All times in the order in which they are gone through."""

    def check(self, denoiser: Denoising, process: Process) -> None:
        """Refuse what the base does not apply to; see `Sampler.check`."""
        self.base.check(denoiser, process)

    def prepare(self, run: Run) -> None:
        """Lay out the path."""
        run.nodes = self.path(run)
        self.base.prepare(run)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """From node i to the next, up or down; at the data the predicted x_0."""
        a, b = run.nodes[i], run.nodes[i + 1]
        if b.t > a.t:
            return raised(x, a, b, run.normals(i, Stream.JUMP))
        return self.base.finish(run, x) if b.sigma == 0 else self.base.step(run, i, x)

    def run(self, run: Run, x: Tensor, states: list[Tensor] | None) -> Tensor:
        """All steps; adds the state after each to `states`."""
        for i in range(len(run.nodes) - 1):
            x = self.step(run, i, x)
            if states is not None:
                states.append(x)
        return x


def raised(x: Tensor, a: Node, b: Node, noise: Tensor) -> Tensor:
    """The state at b, noisier than a, by the process itself: (α_b/α_a) x + √(σ_b² − (α_b/α_a)² σ_a²) z."""
    return combine(b.alpha / a.alpha, x, (forward_variance(b, a) ** 0.5, noise))
