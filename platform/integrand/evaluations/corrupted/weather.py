"""What stands between lens and object."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .randomness import Randomness
from .sampling import clouds, length, moved_along


def snow(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Streaks of flakes over a picture that whitens."""
    share, blend = ((0.05, 0.95), (0.08, 0.92), (0.11, 0.88), (0.14, 0.84), (0.17, 0.8))[severity - 1]
    flakes = (drawn.uniform[:, :1] < share).to(x) * (0.6 + 0.4 * torch.sigmoid(drawn.normal[:, :1]))
    angle = math.pi * (0.25 + 0.5 * drawn.few[:, 0])  # within 45° of the vertical
    streaks = 1.6 * moved_along(flakes, angle, length(1.0, x))
    white = torch.maximum(x, 0.5 * x + 0.5)
    return blend * x + (1 - blend) * white + streaks


def frost(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Crystals, made by thresholding clouds, over a picture that darkens."""
    image, ice = ((0.95, 0.2), (0.9, 0.3), (0.85, 0.4), (0.8, 0.45), (0.75, 0.5))[severity - 1]
    crystals = clouds(drawn.normal, 0.8)
    ridges = 1 - (2 * crystals - 1).abs()
    return image * x + ice * ridges.square()


def fog(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Clouds added, and the range kept."""
    strength, roughness = ((0.2, 0.33), (0.5, 0.33), (0.75, 0.4), (1.0, 0.5), (1.5, 0.57))[severity - 1]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + strength * clouds(drawn.normal, roughness)) * brightest / (brightest + strength)


def brightness(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """The value of hue, saturation and value raised; of grey ones the grey."""
    value = x.amax(1, keepdim=True)
    raised = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]).clamp(max=1)
    # black has neither hue nor saturation
    return torch.where(value > 0, x * raised / value.clamp(min=1e-6), raised)
