"""What was predicted against what was true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes
from .palette import COLOURS


def regression_figure(
    said: npt.NDArray[np.floating], true: npt.NDArray[np.floating], names: Sequence[str], stage: str
) -> Picture:
    """Predicted against true values, with the line on which both agree.

    Args:
        said: Predicted values, shape (samples, targets), in the units of the targets.
        true: True values, likewise.
        names: Name of each target.
        stage: `val` or `test`, for the description and the file name.
    """
    figure, axes = new_axes(4.4, 4.2)
    low, high = float(min(said.min(), true.min())), float(max(said.max(), true.max()))
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=0)
    parts = []
    for i, name in enumerate(names):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(true[:, i], said[:, i], ".", markersize=4, alpha=0.7, color=colour, label=name)
        error = float(np.sqrt(np.mean((said[:, i] - true[:, i]) ** 2)))
        parts.append(f"{name} with root mean squared error {error:.3g}")
    alone = f" {names[0]}" if len(names) == 1 else ""
    axes.set_xlabel(f"true{alone}")
    axes.set_ylabel(f"predicted{alone}")
    if len(names) > 1:
        axes.legend(fontsize=7)
    description = f"Predicted against true values of {len(true)} {stage} samples: {', '.join(parts)}."
    return finish(figure, f"predicted_{stage}", description)
