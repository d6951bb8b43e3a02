"""Image to image: sampling that starts from noised data."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_counts

from .denoiser import Denoising
from .grids import ExplicitGrid, TimeGrid
from .processes import Process
from .random_numbers import Noise, Stream
from .result import SampleResult
from .samplers import Sampler
from .samplers.transfer import combine


def image_to_image(
    sampler: Sampler,
    denoiser: Denoising,
    process: Process,
    grid: TimeGrid,
    image: Tensor,
    strength: float,
    noise: Noise,
    *,
    steps: int,
    **options: Any,
) -> SampleResult:
    """The last part of a grid, from the image noised to where that part begins (Meng et al. 2022, SDEdit).

    Args:
        sampler: The sampler.
        denoiser: The model.
        process: Its process.
        grid: Where the steps of a whole run lie.
        image: Data to start from, shape (batch, ...), in the model's scale.
        strength: Share s of the steps that are taken, in (0, 1]; small ones keep more of the image. The
            whole part ⌊s · steps⌋ of them, one at least, as diffusers counts.
        noise: Random numbers of the start and of the sampler.
        steps: Steps of the whole run.
        **options: Of `Sampler.sample`: condition, guidance, constraint, trajectory.

    Raises:
        UsageError: The strength leaves (0, 1], or the number of steps counts nothing.
    """
    if not 0 < strength <= 1:
        raise UsageError(f"strength={strength:g} leaves (0, 1]", "1 starts from noise, 0.5 halfway")
    require_counts(steps=steps)
    taken = max(1, int(strength * steps))
    part = ExplicitGrid(grid.times(process, steps)[-taken - 1 :].tolist())
    start = process.node(part.values[0])
    x = combine(start.alpha, image, (start.sigma, noise.normals(0, Stream.PRIOR).to(image)))
    return sampler.sample(denoiser, process, part, x, noise, steps=taken, **options)
