"""Networks that have learned whole steps: sampled in a number of evaluations that one chooses."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from integrand.diffusion import SampleNoise
from integrand.errors import UsageError
from integrand.solvers import SolveStats
from integrand.solvers.options import is_whole
from integrand.spec import Spec

from .base import GenerativeModule
from .evaluation import PointEvaluation


class FixedSteps:
    """A way to sample in a number of steps that a family makes itself, one evaluation each.

    Args:
        num_steps: How many.

    Raises:
        UsageError: Fewer than one.
    """

    def __init__(self, num_steps: int = 1) -> None:
        if not (is_whole(num_steps) and num_steps >= 1):
            raise UsageError(
                f"num_steps is a whole number of at least 1, not {num_steps}", "ask for 1 step or more"
            )
        self.num_steps = num_steps

    def describe(self) -> str:
        """In a few words."""
        return f"{self.num_steps} step{'s' if self.num_steps > 1 else ''}"


class LearnedSteps(FixedSteps):
    """Steps of any length that the network has learned.

    Args:
        num_steps: How many.
    """

    def describe(self) -> str:
        """Such as `2 learned steps`."""
        return f"{self.num_steps} learned step{'s' if self.num_steps > 1 else ''}"


class FewSteps(GenerativeModule):
    """A family whose network makes steps of any length; put before the family's other base.

    Args:
        spec: What the data set publishes; the command line fills it in.
        num_steps: Steps of sampling unless told otherwise, one evaluation each.
        **kwargs: Of the other base.
    """

    own_sampler = LearnedSteps

    def __init__(self, spec: Spec, *args: Any, num_steps: int = 1, **kwargs: Any) -> None:
        super().__init__(spec, *args, **kwargs)
        self.steps = LearnedSteps(num_steps)

    @abstractmethod
    def take_steps(self, noise: Tensor, num_steps: int, draws: SampleNoise) -> Tensor:
        """Samples in so many evaluations of the network that evaluation uses.

        Args:
            noise: Standard normal, shape (batch, …).
            num_steps: How many.
            draws: Where further noise comes from.
        """

    @torch.no_grad()
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """Samples in learned steps; see `GenerativeModule.generate`.

        Raises:
            UsageError: The sampler is neither `LearnedSteps` nor one that the other base takes.
        """
        how = self.steps if sampler is None else sampler
        if not isinstance(how, LearnedSteps):
            return self.generate_otherwise(noise, rows, seed, how, y)
        draws = SampleNoise(seed, noise.shape, rows.start, noise.dtype, noise.device)
        steps = LearnedSteps(self.steps_within(how.num_steps))
        x = self.take_steps(noise, steps.num_steps, draws)
        return x, SolveStats(nfe_forward=steps.num_steps, solver=steps.describe())

    def steps_within(self, budget: int) -> int:
        """How many steps are taken of so many evaluations at most; all of them where any number will do."""
        return budget

    def generate_otherwise(
        self, noise: Tensor, rows: range, seed: int, sampler: Any, y: Tensor | None
    ) -> tuple[Tensor, SolveStats]:
        """Samples by a sampler of another kind; refused unless a family can.

        Raises:
            UsageError: Always, here.
        """
        raise UsageError(
            f"{type(sampler).__name__} cannot sample from {type(self).__name__}",
            "its network has learned steps: LearnedSteps(num_steps)",
        )

    @property
    def monitor(self) -> str:
        """The samples' distance from data where it is measured: a loss against own outputs says little."""
        scored = isinstance(self.evaluation, PointEvaluation)
        return "val/sliced_w2" if scored else super().monitor

    def describe_solver(self) -> tuple[str, str]:
        """The number of steps; nothing is differentiated through them."""
        return self.steps.describe(), ""
