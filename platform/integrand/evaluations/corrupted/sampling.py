"""Images between their pixels: shifts, zooms, displacements and smoothing of a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def length(pixels: float, x: Tensor) -> float:
    """A length given for 32×32 images, in pixels of these: scaled to the side, at least by half."""
    return pixels * max(x.shape[-1] / 32, 0.5)


def displaced(x: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """The image at places shifted by (dy, dx) pixels, linearly between pixels, mirrored at the border.

    Args:
        x: Shape (n, C, H, W).
        dy: In pixels, broadcasts to (n, H, W).
        dx: Likewise.
    """
    n, _, height, width = x.shape
    rows = torch.arange(height, device=x.device).view(1, -1, 1) + dy
    columns = torch.arange(width, device=x.device).view(1, 1, -1) + dx
    grid = torch.stack(
        [
            ((2 * columns + 1) / width - 1).expand(n, height, width),
            ((2 * rows + 1) / height - 1).expand(n, height, width),
        ],
        dim=-1,
    )
    return F.grid_sample(x, grid.to(x), padding_mode="reflection", align_corners=False)


def moved_along(x: Tensor, angle: Tensor, sigma: float) -> Tensor:
    """The mean of x over shifts along an angle, weighed by a Gaussian.

    Args:
        x: Shape (n, C, H, W).
        angle: In radians, shape (n,).
        sigma: Deviation of the shift in pixels.
    """
    reach = math.ceil(3 * sigma)
    total, weights = torch.zeros_like(x), 0.0
    for step in range(-2 * reach, 2 * reach + 1):
        shift = step / 2  # half pixels
        weight = math.exp(-((shift / sigma) ** 2) / 2)
        dy, dx = shift * angle.sin()[:, None, None], shift * angle.cos()[:, None, None]
        total, weights = total + weight * displaced(x, dy, dx), weights + weight
    return total / weights


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """The image convolved with one kernel (k, k), k odd, continued by its border."""
    reach = len(kernel) // 2
    channels = x.shape[1]
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.to(x).expand(channels, 1, -1, -1), groups=channels)


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """The image convolved with a Gaussian of deviation sigma in pixels, 0 for none."""
    if sigma <= 0:
        return x
    line = torch.exp(-((_offsets(3 * sigma) / sigma) ** 2) / 2)
    kernel = torch.outer(line, line)
    return convolved(x, kernel / kernel.sum())


def disk(radius: float) -> Tensor:
    """The mean of linear interpolation over a disk, shape (k, k): smooth in the radius, sum 1."""
    line = torch.linspace(-radius, radius, 41)
    inside = torch.hypot(line[:, None], line[None, :]) <= radius
    offsets = _offsets(radius)
    tent = (1 - (line[:, None] - offsets).abs()).clamp(min=0)
    kernel = tent.T @ inside.to(tent) @ tent
    return kernel / kernel.sum()


def clouds(normal: Tensor, roughness: float) -> Tensor:
    """Smooth noise at every scale, amplitudes falling by `roughness` an octave; in [0, 1] for each image.

    Args:
        normal: Standard normal, shape (n, C, H, W); its first channel is used.
        roughness: 1 for equal amplitudes, smaller for smoother clouds.

    Returns:
        Shape (n, 1, H, W).
    """
    noise = normal[:, :1]
    total, side, amplitude = torch.zeros_like(noise), 2, 1.0
    while side <= noise.shape[-1]:
        coarse = noise[..., :side, :side]
        size = list(noise.shape[2:])
        total = total + amplitude * F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
        side, amplitude = 2 * side, amplitude * roughness
    low, high = total.amin((1, 2, 3), keepdim=True), total.amax((1, 2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)


def _offsets(reach: float) -> Tensor:
    """Whole pixels around 0, as far as `reach`, one at least."""
    whole = max(1, math.ceil(reach))
    return torch.arange(-whole, whole + 1, dtype=torch.float32)
