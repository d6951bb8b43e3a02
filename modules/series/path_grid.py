"""Series as paths on an even grid, where samples of models of paths lie."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.series import Series
from integrand.solvers import linear_control


def on_grid(x: Series, times: Tensor) -> Tensor:
    """Values at the times of a grid behind each first observation, no graph, read off straight lines.

    Behind its last observation a series stands still.

    Args:
        x: Series of a batch.
        times: The grid, from 0, shape (length,).

    Returns:
        Shape (batch, length, channels).
    """
    grid = x.times[:, :1] + times.to(x.times)
    values = x.values.masked_fill(~x.mask, torch.nan)
    # the path must reach the end of the grid
    knots = torch.cat((x.times, torch.maximum(x.times[:, -1:], grid[:, -1:])), dim=1)
    values = torch.cat((values, torch.full_like(values[:, -1:], torch.nan)), dim=1)
    return linear_control(values, knots).evaluate(grid).transpose(0, 1)
