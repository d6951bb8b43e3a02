"""Losses of processing and storage."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .randomness import Randomness
from .sampling import displaced, length, smoothed

# Annex K of ITU-T T.81, the tables that encoders scale by their quality
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # fmt: skip
# red, green, blue to luma and two chromas (JFIF 1.02)
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def contrast(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Nearer to the mean of each channel."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1] * (x - mean)


def elastic_transform(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """A smooth random displacement (Simard, Steinkraus and Platt 2003)."""
    noise = torch.stack([drawn.normal[:, 0], 2 * drawn.uniform[:, 0] - 1], dim=1)
    field = smoothed(noise, length(2.0, x))
    field = field / field.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)
    dy, dx = (length((0.6, 0.9, 1.2, 1.5, 1.9)[severity - 1], x) * field).unbind(1)
    return displaced(x, dy, dx)


def pixelate(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Fewer pixels, by the area that they cover: at least one fewer a side for each severity."""
    share = (0.85, 0.75, 0.65, 0.55, 0.45)[severity - 1]
    rows, columns = (_by_area(side, min(round(side * share), side - severity)).to(x) for side in x.shape[2:])
    return rows @ x @ columns.T


def _by_area(side: int, size: int) -> Tensor:
    """Means over `size` equal cells of a line, and of these over each pixel, shape (side, side)."""
    cells, pixels = torch.arange(size + 1.0) * side / size, torch.arange(side + 1.0)
    shared = torch.minimum(cells[1:, None], pixels[1:]) - torch.maximum(cells[:-1, None], pixels[:-1])
    shared = shared.clamp(min=0)
    return (shared / shared.sum(0)).T @ (shared / shared.sum(1, keepdim=True))


def jpeg_compression(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Baseline JPEG without subsampled chroma: cosine transform of 8×8 blocks, quantised."""
    quality = (80, 65, 58, 50, 40)[severity - 1]
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    levels = (255 * x).round()
    if x.shape[1] != 3:
        return (_quantised(levels - 128, _LUMA, scale) + 128) / 255
    turn = x.new_tensor(_YCC)
    parts = torch.einsum("ij,njhw->nihw", turn, levels)
    luma = _quantised(parts[:, :1] - 128, _LUMA, scale) + 128
    chroma = _quantised(parts[:, 1:], _CHROMA, scale)
    return torch.einsum("ij,njhw->nihw", turn.inverse(), torch.cat([luma, chroma], 1)) / 255


def _quantised(x: Tensor, table: tuple[tuple[int, ...], ...], scale: float) -> Tensor:
    """Blocks of a plane through the quantised cosine transform and back; levels around 0."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
    k, i = torch.arange(8.0).view(-1, 1), torch.arange(8.0)
    basis = (torch.cos(math.pi * k * (2 * i + 1) / 16) * torch.where(k == 0, math.sqrt(0.5), 1.0) / 2).to(x)
    steps = ((x.new_tensor(table) * scale + 50) / 100).floor().clamp(1, 255)
    coefficients = ((basis @ blocks @ basis.T) / steps).round() * steps
    back = (basis.T @ coefficients @ basis).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return back[..., :height, :width]
