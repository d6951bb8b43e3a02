"""Distillation of a flow into one step, or a few (Liu et al. 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from integrand.diffusion import SampleNoise, Trace
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import ODESolver, SolveStats
from integrand.spec import Spec

from .base import GenerativeModule
from .few_steps import FewSteps
from .flow_matching import FlowMatching
from .rectified_flow import RectifiedFlow

HELD_OUT = 1000
"""Pairs of the teacher that validation and test take, of other noise than training's."""


class FlowDistillation(FewSteps, RectifiedFlow):
    """One evaluation from noise to where the flow of a teacher takes it: x₁ = x₀ + f(0, x₀).

    Regresses on the teacher's own pairs, a deterministic map, so that at the optimum the step is the whole
    flow of the teacher, however curved. With more steps each is one of equal parts of that flow. The network
    starts at the teacher's weights; straight teachers (`RectifiedFlow` with a teacher) are learnt best.
    Without a teacher it is the rectified flow that can begin a chain.

    Args:
        spec: What the data set publishes; the command line fills it in.
        teacher: Checkpoint of a flow-matching or rectified-flow run with the same backbone.
        num_steps: Steps that are learnt, one evaluation each; 1 is the published method.
        pairs: Number of noises whose way the teacher computes before training.
        pair_seed: Seed of that noise.
        solver: What integrates the teacher's flow; any solver of the engine.
        eval_trace: How likelihoods get the trace where there is no teacher; see `FlowModule`.
        **kwargs: See `GenerativeModule`.

    Raises:
        UsageError: The teacher cannot be used, or there are no pairs.
    """

    family = "flow-distillation"
    title = "Distilled flow"
    equation = "x₁ = x₀ + f(0, x₀; θ), min E‖f(0, x₀) − (x₁ − x₀)‖², x₁ = the teacher's flow of x₀"
    reference = (
        "Liu et al. 2023, Flow Straight and Fast: Learning to Generate and Transfer Data; Liu et al. 2024, "
        "InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation"
    )

    def __init__(
        self,
        spec: Spec,
        teacher: str | None = None,
        num_steps: int = 1,
        pairs: int = 10_000,
        pair_seed: int = 1,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, teacher, pairs, pair_seed, solver, eval_trace, num_steps=num_steps, **kwargs)
        self._held: Tensor | None = None

    @property
    def teaching_times(self) -> list[float]:
        """The ends of the steps."""
        steps = self.steps.num_steps
        return [i / steps for i in range(steps + 1)]

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The error of one of the steps, as a velocity; validation and test take pairs of their own."""
        if self.teacher is None:
            return super().objective(x, y, stage)
        states, steps = self._taught(stage), self.steps.num_steps
        rows = torch.randint(states.shape[1], (len(x),), device=x.device)
        step = torch.randint(steps, (len(x),), device=x.device)
        start, end = states[step, rows], states[step + 1, rows]
        said = self.active((step / steps).to(x.dtype), start)
        loss = (said - steps * (end - start)).square().mean()
        account = SolveStats(
            1, vjps=int(stage == "train"), solver=f"one of {steps} steps of the teacher's flow"
        )
        return Outcome({"loss": loss}, len(x), solves=[account])

    def _taught(self, stage: str) -> Tensor:
        """States of the teacher's flow at the ends of the steps, shape (steps + 1, n, …)."""
        if stage == "train":
            if self._pairs is None:
                self._pairs = self.connected(self.pair_seed, self.num_pairs)
            return self._pairs
        if self._held is None:
            self._held = self.connected(self.pair_seed + 1, HELD_OUT)
        return self._held

    # ------------------------------------------------------------------ sampling

    def steps_within(self, budget: int) -> int:
        """The steps that were learnt, of a teacher no others.

        Raises:
            UsageError: The budget is smaller.
        """
        learnt = self.steps.num_steps
        if self.teacher is not None and budget < learnt:
            raise UsageError(
                f"it has learnt {learnt} steps, not {budget}", f"sample it with --nfe {learnt} or more"
            )
        return budget if self.teacher is None else learnt

    def take_steps(self, noise: Tensor, num_steps: int, draws: SampleNoise) -> Tensor:
        """Equal steps x ← x + h f(t, x) from t = 0 to 1."""
        x, h = noise, 1 / num_steps
        for k in range(num_steps):
            x = x + h * self.trained(noise.new_tensor(k * h), x)
        return x

    def generate_otherwise(
        self, noise: Tensor, rows: range, seed: int, sampler: Any, y: Tensor | None
    ) -> tuple[Tensor, SolveStats]:
        """Without a teacher an ODE solver; see `FlowMatching.generate`.

        Raises:
            UsageError: There was a teacher: nothing was learnt between the ends of the steps.
        """
        if self.teacher is not None:
            return super().generate_otherwise(noise, rows, seed, sampler, y)
        return FlowMatching.generate(self, noise, rows, seed, sampler, y)

    # ------------------------------------------------------------------ what only a flow has

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """Those of a flow without a teacher, else none: steps have neither density nor straightness."""
        if self.teacher is not None:
            return GenerativeModule.extra_scores(self, data, samples, stage)
        return super().extra_scores(data, samples, stage)

    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """Samples beside data, and what a flow shows where there is no teacher."""
        if self.teacher is not None:
            return GenerativeModule.pictures(self, stage)
        return super().pictures(stage)
