"""Several dynamics in turn, each at its own resolution and width, as published nets have them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from integrand.solvers import Solution, Status

from .accounts import StagedStats
from .dynamics import Dynamics

Evaluate = Callable[[nn.Module, Tensor], Tensor]
"""Calls a residual function, one evaluation each: `evaluate(f, h)`."""


class Transition(nn.Module):
    """Leads from the end of one stage to the start of the next, usually at half the resolution."""

    def residuals(self) -> list[nn.Module]:
        """Its residual functions; none where it only resamples."""
        return []

    @abstractmethod
    def forward(self, h: Tensor, evaluate: Evaluate) -> Tensor:
        """The first state of the next stage.

        Args:
            h: Last state of the stage before, shape (batch, channels, height, width).
            evaluate: Calls a residual function and counts it.
        """


def stages_of(dynamics: Dynamics) -> list[Dynamics]:
    """The dynamics of every stage; `dynamics` alone where there is one."""
    if not isinstance(dynamics, StagedDynamics):
        return [dynamics]
    return [stage for stage in dynamics.stages if isinstance(stage, Dynamics)]


class StagedDynamics(Dynamics):
    """Stage 0, transition, stage 1, …: the head reads the end of the last stage.

    An evaluation inside a transition counts as one of the net. The trajectory is that of the last stage, at
    the times that all stages together have reached: earlier states have other shapes.

    Args:
        stages: The dynamics of every stage, one or more.
        transitions: What leads from each stage to the next, one fewer than there are stages.
        entry: What leads from the stem to the first stage; nothing where omitted.
    """

    def __init__(
        self,
        stages: Sequence[Dynamics],
        transitions: Sequence[Transition],
        entry: Transition | None = None,
    ) -> None:
        super().__init__()
        self.entry = entry
        self.stages = nn.ModuleList(stages)
        self.transitions = nn.ModuleList(transitions)
        self.out_channels = stages[-1].out_channels
        self.solver = stages[0].solver

    def residuals(self) -> list[nn.Module]:
        """Those of the stages and of the transitions."""
        parts = [*self.stages, *self.transitions, *([self.entry] if self.entry is not None else [])]
        return [f for part in parts for f in part.residuals()]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Go through all stages; see `Dynamics.forward`."""
        stats = StagedStats()
        time = 0.0
        outcomes: list[Solution] = []
        if self.entry is not None:
            h = self.entry(h, self._evaluate(stats, h))
        for stage, transition in zip(self.stages, self.transitions, strict=False):
            solution = stage(h)
            stats.add(solution.stats)
            outcomes.append(solution)
            time += float(solution.ts[-1] - solution.ts[0])
            h = transition(solution.ys[-1], self._evaluate(stats, h))
        solution = self.stages[-1](h, num_times)
        stats.add(solution.stats)
        stats.solver = f"{solution.stats.solver}, {len(self.stages)} stages"
        outcomes.append(solution)
        # a sample that failed in one stage has failed, whatever became of it in the next
        status = next((s.status for s in outcomes if s.status is not Status.SUCCESS), Status.SUCCESS)
        masks = [s.failed for s in outcomes if s.failed is not None]
        failed = torch.stack(masks).any(0) if masks else None
        return Solution(solution.ts + time, solution.ys, stats, status, failed)

    @staticmethod
    def _evaluate(stats: StagedStats, h: Tensor) -> Evaluate:
        t = torch.zeros((), dtype=h.dtype, device=h.device)

        def count_vjp(_: Tensor) -> None:
            stats.vjps += 1

        def evaluate(field: nn.Module, y: Tensor) -> Tensor:
            stats.nfe_forward += 1
            value: Tensor = field(t, y)
            if value.requires_grad:
                value.register_hook(count_vjp)  # type: ignore[no-untyped-call]  # torch
            return value

        return evaluate
