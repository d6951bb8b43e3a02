"""RePaint: inpainting with steps back, so that what is made fits what is known."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_counts

from ..processes import Node
from ..random_numbers import Stream
from .ancestral import Ancestral
from .base import Run, Sampler
from .jumps import Jumping
from .transfer import combine


class RePaint(Jumping):
    """After every step x_b ← m (α_b y + σ_b z) + (1 − m) x_b; every j steps r − 1 times j steps back.

    Lugmayr et al. 2022, Alg. 1 and App. B for the schedule, whose j steps back are one leap here.
    `KnownPixels` inpaints with any sampler and without further evaluations; this one lets the rest of the
    image adapt to what is known, for r times as many.

    Args:
        values: y, shape of a sample or of the batch.
        mask: m, 1 where y is known; broadcast against it.
        jump: j, the steps of one leap back.
        resamples: r, how often each stretch of j steps is gone through.
        base: What takes the steps; `Ancestral`, DDPM, where not given.

    Raises:
        UsageError: j or r counts nothing, or mask and values do not broadcast.
    """

    order = None

    def __init__(
        self, values: Tensor, mask: Tensor, jump: int = 10, resamples: int = 10, base: Sampler | None = None
    ) -> None:
        super().__init__(base or Ancestral())
        require_counts(jump=jump, resamples=resamples)
        try:
            torch.empty_like(values, device="meta") * torch.empty_like(mask, device="meta")
        except RuntimeError as error:
            raise UsageError(
                f"a mask {tuple(mask.shape)} does not cover values {tuple(values.shape)}",
                "give one number for each value, or sizes of 1",
            ) from error
        self.values, self.mask = values, mask
        self.jump, self.resamples = jump, resamples

    @classmethod
    def examples(cls) -> tuple[RePaint, ...]:
        """The first of two coordinates known."""
        values, mask = torch.tensor([0.5, 0.0]), torch.tensor([1.0, 0.0])
        return (cls(values, mask, 2, 3),)

    def evaluations(self, steps: int, to_zero: bool = False) -> int | None:
        """See `Sampler.evaluations`."""
        down = [b for a, b in pairwise(leaps(steps, self.jump, self.resamples)) if b > a]
        return sum(1 if to_zero and b == steps else self.per_step for b in down)

    def path(self, run: Run) -> list[Node]:
        """See `Jumping.path`."""
        return [run.nodes[k] for k in leaps(len(run.nodes) - 1, self.jump, self.resamples)]

    def run(self, run: Run, x: Tensor, states: list[Tensor] | None) -> Tensor:
        """All steps.

        Raises:
            UsageError: The known values are not of the samples' shape.
        """
        for name, tensor in (("values", self.values), ("mask", self.mask)):
            try:
                tensor.expand_as(x)
            except RuntimeError as error:
                raise UsageError(
                    f"known {name} {tuple(tensor.shape)} for samples {tuple(x.shape)}",
                    "give them the shape of a sample or of the batch",
                ) from error
        return super().run(run, x, states)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        x, a, b = super().step(run, i, x), run.nodes[i], run.nodes[i + 1]
        if b.t > a.t:
            return x
        known = self.values.to(x).expand_as(x) * b.alpha
        if b.sigma:
            known = combine(1.0, known, (b.sigma, run.normals(i, Stream.KNOWN)))
        return torch.lerp(x, known, self.mask.to(x).expand_as(x))

    def describe(self) -> str:
        """Such as `repaint ddpm posterior 10×10`."""
        return f"repaint {self.base.describe()} {self.resamples}×{self.jump}"


def leaps(steps: int, jump: int, resamples: int) -> list[int]:
    """Indices of the nodes 0 … steps in the order in which they are visited.

    From each node whose distance to the end is a multiple of `jump`, and that has more than `jump` steps
    before it, resamples − 1 leaps lead back by `jump`.

    Args:
        steps: Number of steps of the grid.
        jump: Steps of a leap.
        resamples: How often each stretch is gone through.
    """
    left = {steps - k: resamples - 1 for k in range(0, steps - jump, jump)}
    place, visited = 0, [0]
    while place < steps:
        place += 1
        visited.append(place)
        if left.get(place, 0):
            left[place] -= 1
            place -= jump
            visited.append(place)
    return visited
