"""Generated paths beside data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .drawing import Picture, finish, new_grid
from .palette import COLOURS

Array = npt.NDArray[Any]
MOST_CHANNELS = 4
"""Channels of a figure."""


def paths_figure(
    times: Array, paths: Sequence[Array], mean: Array, std: Array, names: Sequence[str], stage: str
) -> Picture:
    """Paths of data and samples side by side, and their means and deviations over time.

    Args:
        times: Shape (n,).
        paths: Samples and data, each (number, n, channels).
        mean: Of samples and of data at each time, shape (2, n, channels).
        std: Likewise.
        names: Name of each channel.
        stage: `val` or `test`, for the description and the file name.
    """
    rows = min(len(names), MOST_CHANNELS)
    figure, grid = new_grid(rows, 3, 9.0, 1.9 * rows + 0.6)
    titles = ("data", "generated", "mean ± deviation")
    for row in range(rows):
        for column, source in enumerate((1, 0)):
            axes = grid[row, column]
            axes.plot(times, paths[source][..., row].T, color=COLOURS[source], linewidth=0.6, alpha=0.6)
            if column:
                axes.set_ylim(*grid[row, 0].get_ylim())
        for source, line in ((1, "-"), (0, "--")):
            axes, colour = grid[row, 2], COLOURS[source]
            centre, spread = mean[source, :, row], std[source, :, row]
            axes.plot(times, centre, line, color=colour, linewidth=1.4)
            for side in (centre - spread, centre + spread):
                axes.plot(times, side, line, color=colour, linewidth=0.8)
        grid[row, 0].set_ylabel(names[row])
    for column, title in enumerate(titles):
        grid[0, column].set_title(title)
        grid[rows - 1, column].set_xlabel("time")
    description = (
        f"Paths of the {stage} data and generated ones, {len(paths[1])} and {len(paths[0])} of them, and "
        f"mean and deviation at each time of the data (solid) and of what was generated (dashed), for "
        f"{', '.join(names[:rows])}."
    )
    return finish(figure, f"paths_{stage}", description)
