"""One corruption of a batch by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from integrand.errors import UsageError
from integrand.suggest import did_you_mean

from . import blur, digital, noise, weather
from .randomness import Randomness, randomness

Corruption = Callable[[Tensor, int, Randomness], Tensor]

KINDS: Mapping[str, Corruption] = {
    made.__name__: made
    for made in (
        *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise),
        *(blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
        *(weather.snow, weather.frost, weather.fog, weather.brightness),
        *(digital.contrast, digital.elastic_transform, digital.pixelate, digital.jpeg_compression),
    )
}
"""Every kind by name, in the order of Hendrycks and Dietterich (2019)."""
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: Tensor, kind: str, severity: int, seed: int = 0, first: int = 0) -> Tensor:
    """Corrupted images; image number i of a seed is the same whatever else is in the batch.

    Args:
        images: Pixels in [0, 1], shape (n, C, H, W), 8×8 or larger.
        kind: A name of `KINDS`.
        severity: 1 to 5.
        seed: Seed.
        first: Number of the first image.

    Returns:
        Pixels in [0, 1], likewise.

    Raises:
        UsageError: There is no such kind or severity, or the images are too small.
    """
    if kind not in KINDS:
        raise UsageError(
            f"there is no corruption {kind!r}{did_you_mean(kind, KINDS)}", f"choose from {', '.join(KINDS)}"
        )
    if severity not in SEVERITIES:
        raise UsageError(f"there is no severity {severity}", "choose from 1 to 5")
    if min(images.shape[2:]) < 8:
        raise UsageError(
            f"images of {images.shape[2]}×{images.shape[3]} pixels are too small to corrupt",
            "take 8×8 or larger",
        )
    drawn = randomness(kind, images.shape, seed, first)
    moved = Randomness(*(part.to(images) for part in (drawn.normal, drawn.uniform, drawn.few)))
    return KINDS[kind](images, severity, moved).clamp(0, 1)
