"""How a diffusion model is sampled: sampler, time grid, budget, guidance."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.diffusion import (
    EDM,
    VE,
    BudgetError,
    DataConstraint,
    Denoising,
    DPMSolverPPMultistep,
    EDMGrid,
    GuidanceError,
    KarrasGrid,
    Noise,
    Process,
    QuadraticGrid,
    SampleNoise,
    Sampler,
    Stream,
    TimeGrid,
    UniformGrid,
    draw_prior,
    image_to_image,
)
from integrand.errors import UsageError
from integrand.solvers import SolveStats
from integrand.solvers.options import is_whole


class Sampling:
    """Settings of one way to sample.

    Args:
        sampler: The sampler; DPM-Solver++(2M) where not given.
        grid: Where its steps lie; `usual_grid` where not given.
        nfe: Network evaluations per sample at most; null where the sampler chooses them itself.
        guidance: Weight w of classifier-free guidance, out = null + w (conditional − null); null or 1 is the
            plain conditional model.
        constraint: What is done to the predicted x_0 on the way, such as `Clip`.

    Raises:
        UsageError: nfe is below 1.
    """

    def __init__(
        self,
        sampler: Sampler | None = None,
        grid: TimeGrid | None = None,
        nfe: int | None = 20,
        guidance: float | None = None,
        constraint: DataConstraint | None = None,
    ) -> None:
        if nfe is not None and not (is_whole(nfe) and nfe >= 1):
            raise UsageError(
                f"nfe is a whole number of at least 1, not {nfe}", "ask for 1 evaluation or more"
            )
        self.sampler: Sampler = sampler or DPMSolverPPMultistep(2)
        self.grid, self.nfe, self.guidance, self.constraint = grid, nfe, guidance, constraint

    @property
    def budget(self) -> int | None:
        """The budget that the sampler is given: none where it chooses its evaluations itself."""
        return None if self.sampler.evaluations(self.sampler.minimum_steps) is None else self.nfe

    def check(self, denoiser: Denoising, process: Process, grid: TimeGrid) -> None:
        """Refuse what does not fit a model, before anything is trained or sampled.

        Args:
            denoiser: The model.
            process: Its process.
            grid: The grid that is taken where the settings name none.

        Raises:
            IncompatibleError: The sampler does not apply to process or parametrisation.
            GuidanceError: The model knows no classes, or never saw them withheld.
            BudgetError: nfe is below the sampler's minimum.
        """
        self.sampler.check(denoiser, process)
        guided = self.guidance not in (None, 1)
        if self.guidance is not None and not denoiser.conditional:
            raise GuidanceError(
                f"guidance {self.guidance:g} was asked for, but the model is unconditional",
                "leave it out, or train with --model.conditional true",
            )
        if guided and getattr(denoiser, "null", None) is None:
            raise GuidanceError(
                "the model was trained without withheld classes", "train with model.label_dropout above 0"
            )
        if self.budget is None:
            return
        least = (2 if guided else 1) * self.sampler.minimum_nfe((self.grid or grid).to_zero)
        if self.budget < least:
            raise BudgetError(
                f"{self.sampler.describe()}{' with guidance' if guided else ''} needs at least NFE {least}, "
                f"not {self.budget}",
                f"set nfe to {least} or more",
            )

    def describe(self) -> str:
        """Such as `dpm-solver++ 2M`, with the guidance where there is one."""
        guided = "" if self.guidance is None else f" w={self.guidance:g}"
        return self.sampler.describe() + guided


class Editing(Sampling):
    """Sampling that starts from data noised part of the way; see `image_to_image`.

    Args:
        how: Sampler, grid and budget of a whole run, of which the last part is made.
        start: What to start from, as the network models it, shape of one sample.
        strength: Share of the steps that are taken, in (0, 1].
    """

    def __init__(self, how: Sampling, start: Tensor, strength: float) -> None:
        super().__init__(how.sampler, how.grid, how.nfe, how.guidance, how.constraint)
        self.start, self.strength = start, strength

    def describe(self) -> str:
        """Such as `ddim from an image, strength 0.5`."""
        return f"{super().describe()} from an image, strength {self.strength:g}"


def draw_samples(
    how: Sampling,
    denoiser: Denoising,
    process: Process,
    grid: TimeGrid,
    noise: Tensor,
    rows: range,
    seed: int,
    y: Tensor | None = None,
) -> tuple[Tensor, SolveStats]:
    """Samples of a denoiser, NaN where one failed on the way, and their account.

    Args:
        how: Sampler, budget, guidance and constraint.
        denoiser: The model.
        process: Its process.
        grid: Where the steps lie.
        noise: Standard normal, shape (batch, …).
        rows: Indices of these samples in the whole set.
        seed: Seed of the whole set.
        y: Condition of each sample.

    Raises:
        UsageError: The strength of an editing leaves (0, 1], or its sampler takes no fixed steps.
    """
    draws = Draws(noise, SampleNoise(seed, noise.shape, rows.start, noise.dtype, noise.device))
    options = {"condition": y, "guidance": how.guidance, "constraint": how.constraint}
    if isinstance(how, Editing):
        per_step = 2 if how.guidance not in (None, 1) else 1
        steps = how.sampler.steps_for((how.nfe or 20) // per_step, grid.to_zero)
        start = how.start.to(noise).expand_as(noise)
        result = image_to_image(
            how.sampler, denoiser, process, grid, start, how.strength, draws, steps=steps, **options
        )
    else:
        x = draw_prior(process, grid, draws)
        result = how.sampler.sample(denoiser, process, grid, x, draws, nfe=how.budget, **options)  # type: ignore[arg-type]
    x = result.x
    if result.failed is not None:
        x = x.masked_fill(result.failed.view(-1, *[1] * (x.ndim - 1)), torch.nan)
    return x, SolveStats(nfe_forward=result.nfe, solver=result.sampler)


def usual_grid(process: Process, points: bool = False) -> TimeGrid:
    """The grid that the process is usually sampled on, its last step to the data.

    EDM's own; for points in equal steps of √t, because their details are finer, beside their spread, than
    those of images; for images Karras's on VE, else uniform in time (docs/samplers.md has figures).

    Args:
        process: The process.
        points: Whether the data are points rather than images.
    """
    if isinstance(process, EDM):
        return EDMGrid(sigma_min=process.t_min, sigma_max=process.t_max)
    if points:
        return QuadraticGrid(to_zero=True)
    return KarrasGrid(to_zero=True) if isinstance(process, VE) else UniformGrid(to_zero=True)


class Draws:
    """Given numbers for the prior, and the samples' own for everything else.

    Args:
        prior: Standard normal, shape (batch, …).
        rest: Where the other streams come from.
    """

    def __init__(self, prior: Tensor, rest: Noise) -> None:
        self.prior, self.rest = prior, rest

    def normals(self, n: int, stream: Stream = Stream.STEP) -> Tensor:
        """See `Noise.normals`."""
        return self.prior if stream is Stream.PRIOR else self.rest.normals(n, stream)
