"""Predictor–corrector sampling with Langevin dynamics."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_positive

from ..noise import Stream
from .base import Run, Sampler
from .reverse_diffusion import ReverseDiffusion
from .transfer import combine


class PredictorCorrector(Sampler):
    """Langevin steps at each time, then a step of the predictor (Song et al. 2021, Alg. 2–5).

    A correction is x + ε s + √(2ε) z with ε = 2 α (r ‖z‖/‖s‖)², norms over each sample; published code takes
    the batch's mean norm, which makes a sample depend on its batch mates. ε does not shrink with the steps:
    the corrected distribution keeps a bias of order ε, so no order is declared.

    Args:
        predictor: Sampler of one evaluation per step without memory; `ReverseDiffusion` where not given.
        snr: r, the signal-to-noise ratio of a correction.
        corrections: Corrections per step.

    Raises:
        UsageError: The predictor is a multistep or multi-stage method.
    """

    order = None
    stochastic = True

    def __init__(self, predictor: Sampler | None = None, snr: float = 0.16, corrections: int = 1) -> None:
        require_positive(snr=snr, corrections=corrections)
        self.predictor = predictor or ReverseDiffusion()
        if self.predictor.multistep or self.predictor.evaluations_per_step != 1:
            raise UsageError(
                f"{self.predictor.describe()} cannot be a predictor: it has memory or stages",
                "use ReverseDiffusion, EulerMaruyama, Ancestral or DDIM",
            )
        self.snr, self.corrections = snr, corrections
        self.evaluations_per_step = corrections + 1

    def prepare(self, run: Run) -> None:
        """The predictor's."""
        self.predictor.prepare(run)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        for k in range(self.corrections):
            x = self.correct(run, i, x, run.normals(i * self.corrections + k, Stream.CORRECTOR))
        return self.predictor.step(run, i, x)

    def correct(self, run: Run, i: int, x: Tensor, noise: Tensor) -> Tensor:
        """One Langevin step at node i."""
        a, b = run.nodes[i], run.nodes[i + 1]
        score = run.evaluate(x, a).score()
        ratio = _norm(noise) / _norm(score)
        size = 2 * (a.alpha / b.alpha) ** 2 * (self.snr * ratio).square()
        return combine(1.0, x, (1.0, size * score), (1.0, (2 * size).sqrt() * noise))

    def describe(self) -> str:
        """Such as `pc reverse-diffusion snr=0.16 corrections=1`."""
        return f"pc {self.predictor.describe()} snr={self.snr:g} corrections={self.corrections}"


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm of each sample, shape (batch, 1, ...)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1).view(-1, *[1] * (x.ndim - 1))
