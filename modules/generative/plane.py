"""Models of points in the plane on grids, for pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Arrays = dict[str, npt.NDArray[np.floating]]


def square(data: npt.NDArray[np.floating], side: int) -> tuple[Tensor, float]:
    """A square grid around the data, shape (side², 2), rows by the second coordinate, and half its width."""
    reach = 1.15 * float(np.abs(data).max())
    line = torch.linspace(-reach, reach, side)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2), reach


def density(log_prob: Callable[[Tensor], Tensor], data: npt.NDArray[np.floating], side: int = 101) -> Arrays:
    """`log_density`, log p on a grid around the data, shape (side, side), and its `extent`.

    Args:
        log_prob: From points, shape (n, 2), to log p, shape (n,).
        data: Shape (n, 2).
        side: Points along each axis.
    """
    grid, reach = square(data, side)
    values = log_prob(grid).reshape(side, side).float().cpu().numpy()
    return {"log_density": values, "extent": np.array([-reach, reach, -reach, reach])}


def directions(
    denoised: Callable[[Tensor], Tensor], data: npt.NDArray[np.floating], level: float, side: int = 23
) -> Arrays:
    """`score_points` of a grid around the data, shape (side², 2), and `score`, where each is drawn to.

    Args:
        denoised: The data that a model predicts behind points, both of shape (n, 2).
        data: Shape (n, 2).
        level: The noise on the points, which is kept as `score_level`.
        side: Points along each axis.
    """
    grid, _ = square(data, side)
    gap = denoised(grid).float().cpu() - grid
    return {"score_points": grid.numpy(), "score": gap.numpy(), "score_level": np.array(level)}
