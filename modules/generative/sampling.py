"""How a diffusion model is sampled: sampler, time grid, budget, guidance."""

from __future__ import annotations

from integrand.diffusion import (
    EDM,
    VE,
    DataConstraint,
    DPMSolverPPMultistep,
    EDMGrid,
    KarrasGrid,
    Process,
    Sampler,
    TimeGrid,
    UniformGrid,
)
from integrand.errors import UsageError


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
        if nfe is not None and nfe < 1:
            raise UsageError(f"nfe must be at least 1, got {nfe}", "ask for 1 evaluation or more")
        self.sampler: Sampler = sampler or DPMSolverPPMultistep(2)
        self.grid, self.nfe, self.guidance, self.constraint = grid, nfe, guidance, constraint

    @property
    def budget(self) -> int | None:
        """The budget that the sampler is given: none where it chooses its evaluations itself."""
        return None if self.sampler.evaluations(self.sampler.minimum_steps) is None else self.nfe

    def describe(self) -> str:
        """Such as `dpm-solver++ 2M`, with the guidance where there is one."""
        guided = "" if self.guidance is None else f" w={self.guidance:g}"
        return self.sampler.describe() + guided


def usual_grid(process: Process) -> TimeGrid:
    """The grid that the process is usually sampled on, its last step to the data.

    Karras's for variance-exploding processes, else uniform in time.
    """
    if isinstance(process, EDM):
        return EDMGrid(sigma_min=process.t_min, sigma_max=process.t_max)
    if isinstance(process, VE):
        return KarrasGrid(to_zero=True)
    return UniformGrid(to_zero=True)
