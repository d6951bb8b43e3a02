"""Predictor–corrector sampling with Langevin dynamics."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_choice, require_positive

from ..random_numbers import Stream
from .base import Run, Sampler
from .ddim import DDIM
from .reverse_diffusion import ReverseDiffusion
from .transfer import combine

EXPECTED_BELOW = 50
"""Dimensions below which a sample's own norms inflate the variance by more than 8 %."""


class PredictorCorrector(Sampler):
    """Langevin steps at each time, then a step of the predictor (Song et al. 2021, Alg. 2–5).

    A correction is x + ε s + √(2ε) z with ε = 2 α (r ‖z‖/‖s‖)². ε does not shrink with the steps: the
    corrected distribution keeps a bias of order ε, so no order is declared. Published code takes the batch's
    mean norms, which makes a sample depend on its batch mates; here the norms are the sample's own. They
    correlate ε with z and x and inflate the variance by (d + 2)/(d − 2) for d dimensions: nothing for images,
    too much below fifty, without bound below three; there the expected norms √d and √d/σ are taken.

    Args:
        predictor: Sampler of one evaluation per step without memory; `ReverseDiffusion` where not given.
        snr: r, the signal-to-noise ratio of a correction.
        corrections: Corrections per step.
        norms: `sample`, or `expected`: ε = 2 α (r σ)² without regard to the sample; `auto` is `expected`
            below 50 dimensions and `sample` from there on.

    Raises:
        UsageError: The predictor is a multistep or multi-stage method.
    """

    order = None
    stochastic = True

    def __init__(
        self,
        predictor: Sampler | None = None,
        snr: float = 0.16,
        corrections: int = 1,
        norms: Literal["auto", "sample", "expected"] = "auto",
    ) -> None:
        require_choice("norms", norms, ("auto", "sample", "expected"))
        require_positive(snr=snr, corrections=corrections)
        self.predictor = predictor or ReverseDiffusion()
        one = self.predictor
        multistage = one.off_grid or one.spans_intervals or one.evaluations_per_step != 1
        if one.multistep or multistage:
            raise UsageError(
                f"{self.predictor.describe()} cannot be a predictor: it has memory or stages",
                "use ReverseDiffusion, EulerMaruyama, Ancestral or DDIM",
            )
        self.snr, self.corrections, self.norms = snr, corrections, norms
        self.evaluations_per_step = corrections + 1

    @classmethod
    def examples(cls) -> tuple[PredictorCorrector, ...]:
        """Both norms, and another predictor."""
        return cls(), cls(norms="sample"), cls(DDIM(1.0), corrections=2, norms="expected")

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
        size = 2 * (self.snr * a.alpha / b.alpha) ** 2
        few = x[0].numel() < EXPECTED_BELOW
        if self.norms == "expected" or (self.norms == "auto" and few):
            size *= a.sigma**2
            return combine(1.0, x, (size, score), (math.sqrt(2 * size), noise))
        sizes = size * (_norm(noise) / _norm(score)).square()
        return combine(1.0, x, (1.0, sizes * score), (1.0, (2 * sizes).sqrt() * noise))

    def describe(self) -> str:
        """Such as `pc reverse-diffusion snr=0.16 corrections=1`."""
        words = f"pc {self.predictor.describe()} snr={self.snr:g} corrections={self.corrections}"
        return words + (f" {self.norms} norms" if self.norms != "auto" else "")


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm of each sample, shape (batch, 1, ...)."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm.view(-1, *[1] * (x.ndim - 1))
