"""Loss of sharpness."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .randomness import Randomness
from .sampling import convolved, disk, displaced, length, moved_along, smoothed


def defocus_blur(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """The mean over a disk."""
    return convolved(x, disk(length((0.3, 0.5, 0.8, 1.1, 1.5)[severity - 1], x)))


def glass_blur(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Every pixel from a random place near it, then smoothed a little."""
    reach = length((0.6, 0.9, 1.2, 1.6, 2.0)[severity - 1], x)
    dy = reach * (2 * drawn.uniform[:, 0] - 1)
    dx = reach * torch.erf(drawn.normal[:, 0] / math.sqrt(2))  # uniform on [−1, 1] too
    return smoothed(displaced(x, dy, dx), length(0.4, x))


def motion_blur(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """The mean over a movement within 45° of the horizontal."""
    angle = math.pi / 4 * (2 * drawn.few[:, 0] - 1)
    return moved_along(x, angle, length((1.0, 1.5, 2.0, 2.5, 3.0)[severity - 1], x))


def zoom_blur(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """The mean over zooms from 1 up to a factor."""
    largest = (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1]
    factors = torch.arange(1.0, largest, 0.01).tolist()
    return torch.stack([_zoomed(x, factor) for factor in factors]).mean(0)


def _zoomed(x: Tensor, factor: float) -> Tensor:
    turn = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]).to(x).expand(len(x), -1, -1)
    grid = F.affine_grid(turn, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
