"""Progressive distillation: a diffusion model that does in one step what its teacher does in two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from integrand.diffusion import (
    DDIM,
    DataPrediction,
    Denoising,
    ExplicitGrid,
    NoisePrediction,
    Parametrisation,
    Process,
    ScorePrediction,
    VelocityPrediction,
    convert,
)
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import SolveStats
from integrand.spec import Spec

from .diffusion import DiffusionModel
from .sampling import Sampling
from .teacher import diffusion_teacher
from .weighting import TruncatedSNRWeighting, Weighting


class ProgressiveDistillation(DiffusionModel):
    """A diffusion model of N DDIM steps that learns from one of 2N, whose weights it starts from.

    At one of the N times a step of the student has to end where two of the teacher's do, which asks it for
    one value of x₀ (Salimans & Ho 2022, Alg. 2). Each fit halves the steps: its checkpoint is the teacher of
    the next. Without a teacher it is the diffusion model that begins the chain.

    Args:
        spec: What the data set publishes; the command line fills it in.
        teacher: Checkpoint of a diffusion run with the same process, prediction and backbone; null for the
            first.
        num_steps: N, one evaluation each.
        spacing: p of the times t_max (i/N)^p; by default 1, as in the paper, and 2 for points.
        process: How data becomes noise; see `DiffusionModel`.
        parametrisation: What the network predicts; v by default. Noise and score do not determine x₀ where
            there is no signal.
        weighting: W of the error of x₀; by default max(SNR, 1) with a teacher.
        sampling: How it is sampled; by default by DDIM in those N steps with a teacher.
        **kwargs: See `DiffusionModel`.

    Raises:
        UsageError: The prediction cannot be distilled, or there is no step.
    """

    family = "progressive-distillation"
    title = "Progressive distillation"
    equation = "min E max(SNR, 1) ‖D(z_t, t; θ) − x̃‖², DDIM(z_t, x̃, t → q) = two DDIM steps of the teacher"
    reference = "Salimans & Ho 2022, Progressive Distillation for Fast Sampling of Diffusion Models, Alg. 2"

    def __init__(
        self,
        spec: Spec,
        teacher: str | None = None,
        num_steps: int = 4,
        spacing: float | None = None,
        process: Process | None = None,
        parametrisation: Parametrisation | None = None,
        weighting: Weighting | None = None,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> None:
        if num_steps < 1:
            raise UsageError(f"num_steps={num_steps} samples nothing", "set model.num_steps to 1 or more")
        predicts = parametrisation or VelocityPrediction()
        if isinstance(predicts, NoisePrediction | ScorePrediction):
            raise UsageError(
                f"a prediction of the {predicts.name} cannot be distilled: without signal it leaves x₀ open",
                "take VelocityPrediction, DataPrediction or EDMPreconditioning, for the teacher too",
            )
        taught = teacher is not None
        super().__init__(
            spec,
            process,
            predicts,
            weighting or (TruncatedSNRWeighting() if taught else None),
            sampling=sampling,
            **kwargs,
        )
        self.teacher, self.num_steps = teacher, num_steps
        self.spacing = spacing or (2.0 if len(self.shape) == 1 else 1.0)
        if taught and sampling is None:
            places = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
            self.sampling = Sampling(DDIM(), ExplicitGrid(self.time(places).tolist()), num_steps)
        self._two: tuple[DiffusionModel] | None = None

    def time(self, place: Tensor) -> Tensor:
        """The time t_max u^p of a place u from 0, the data, to 1."""
        return self.process.t_max * place**self.spacing

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The error of x₀ at one of the N times; three evaluations, two of them the teacher's."""
        if self.teacher is None:
            return super().objective(x, y, stage)
        teacher = self._frozen().to(x.device)
        step = torch.randint(1, self.num_steps + 1, (len(x),), device=x.device).double()
        t, m, q = (self.time((step - back) / self.num_steps) for back in (0.0, 0.5, 1.0))
        denoiser = self._learning()
        z, _ = denoiser.target(x, torch.randn_like(x), t)
        with torch.no_grad():
            target = one_step_target(teacher.denoiser(), self.process, z, t, m, q)
        alpha, sigma = denoiser.levels(x, t)
        found = convert(denoiser(z, t), z, self.parametrisation, DataPrediction(), alpha, sigma)
        _, out = self.parametrisation.coefficients(alpha, sigma)
        weights = self.weighting.of_output(t, self.process, self.parametrisation).to(x.dtype)
        # the weighting is told as that of the output, whose error is that of x₀ by its coefficient
        errors = ((found - target) / out).square().flatten(1).mean(dim=1)
        how = f"one step against two of the teacher, {self.num_steps} steps"
        account = SolveStats(3, vjps=int(stage == "train"), solver=how)
        return Outcome({"loss": (weights * errors).mean()}, len(x), solves=[account])

    def setup(self, stage: str) -> None:
        """Begin a fit at the teacher's weights; those of a resumed fit replace them."""
        super().setup(stage)
        if stage == "fit" and self.teacher is not None:
            self.begin_at(self._frozen().trained.state_dict())

    def _frozen(self) -> DiffusionModel:
        """The teacher, read once.

        Raises:
            UsageError: It cannot teach this model.
        """
        if self._two is None:
            assert self.teacher is not None
            teacher = diffusion_teacher(self.teacher, self.shape, encoder=self.encoder)
            for name in ("process", "parametrisation"):
                own, other = getattr(self, name), getattr(teacher, name)
                if type(own) is not type(other):
                    raise UsageError(
                        f"{name} is {type(own).__name__}, the teacher's {type(other).__name__}",
                        f"set model.{name} to the teacher's",
                    )
            # in a tuple, because a module in an attribute would be trained and saved
            self._two = (teacher,)
        return self._two[0]


def one_step_target(
    teacher: Denoising, process: Process, z: Tensor, t: Tensor, m: Tensor, q: Tensor
) -> Tensor:
    """x̃ with which one DDIM step from t ends where two of the teacher's, t → m → q, do.

    x̃ = (z_q − r z_t)/(α_q − r α_t), r = σ_q/σ_t (Salimans & Ho 2022, Alg. 2).

    Args:
        teacher: The denoiser.
        process: Its process.
        z: States z_t, shape (batch, …).
        t: Times, shape (batch,), float64.
        m: Earlier times.
        q: Still earlier ones; 0 is the data.
    """
    shape = (-1, *[1] * (z.ndim - 1))

    def levels(time: Tensor) -> list[Tensor]:
        return [part.to(z.dtype).view(shape) for part in process.levels(time)]

    now = z
    for a, b in ((t, m), (m, q)):
        (alpha, sigma), (alpha_b, sigma_b) = levels(a), levels(b)
        x = convert(teacher(now, a), now, teacher.parametrisation, DataPrediction(), alpha, sigma)
        now = alpha_b * x + sigma_b / sigma * (now - alpha * x)
    (alpha, sigma), (alpha_q, sigma_q) = levels(t), levels(q)
    ratio = sigma_q / sigma
    return (now - ratio * z) / (alpha_q - ratio * alpha)
