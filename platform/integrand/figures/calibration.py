"""Whether probabilities and intervals hold what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes, new_grid
from .palette import COLOURS, colour_and_marker


def reliability_figure(
    counts: npt.NDArray[np.floating],
    confidence: npt.NDArray[np.floating],
    accuracy: npt.NDArray[np.floating],
    name: str = "reliability",
) -> Picture:
    """Accuracy against confidence in bins of equal width, over how many predictions there are of each.

    Args:
        counts: Samples in each bin, shape (bins,).
        confidence: Their mean confidence, shape (bins,).
        accuracy: Share of them that is right, shape (bins,).
        name: File name.
    """
    figure, grid = new_grid(2, 1, 4.2, 5.0)
    above, below = grid[0, 0], grid[1, 0]
    bins = len(counts)
    filled = counts > 0
    centres, width = (np.arange(bins) + 0.5) / bins, 1 / bins
    above.bar(centres[filled], accuracy[filled], width * 0.94, color=COLOURS[0], label="accuracy")
    above.plot(confidence[filled], accuracy[filled], "o", color=COLOURS[1], markersize=4, label="mean")
    above.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle="--", label="as it says")
    above.set_ylabel("share that is right")
    above.set_ylim(0, 1)
    above.legend(frameon=False, fontsize=7)
    below.bar(centres, counts / counts.sum(), width * 0.94, color="0.6")
    below.set_ylabel("share of predictions")
    for axes in (above, below):
        axes.set_xlim(0, 1)
    below.set_xlabel("confidence, the probability of the predicted class")
    error = float((counts * np.abs(accuracy - confidence)).sum() / counts.sum())
    description = (
        f"Reliability of {int(counts.sum())} predictions in {bins} bins of equal width: mean confidence "
        f"{float((counts * confidence).sum() / counts.sum()):.3g}, share that is right "
        f"{float((counts * accuracy).sum() / counts.sum()):.3g}, expected calibration error {error:.3g}."
    )
    return finish(figure, name, description)


def coverage_figure(lines: Mapping[str, Mapping[float, float]], name: str = "coverage") -> Picture:
    """Share of truths inside central intervals against the share that they should hold.

    Args:
        lines: Observed by nominal share, by what predicts.
        name: File name.
    """
    figure, axes = new_axes(4.2, 4.0)
    axes.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle="--", label="as it says")
    said: list[str] = []
    for index, (label, points) in enumerate(lines.items()):
        colour, marker = colour_and_marker(index)
        axes.plot(list(points), list(points.values()), color=colour, marker=marker, markersize=4, label=label)
        said.append(f"{label} {_spelled(points)}")
    axes.set_xlabel("share that the central interval should hold")
    axes.set_ylabel("share of truths inside")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=7)
    return finish(figure, name, f"Share of truths inside central intervals: {'; '.join(said)}.")


def _spelled(points: Mapping[float, float]) -> str:
    pairs: Sequence[str] = [f"{seen:.3g} of {share:g}" for share, seen in points.items()]
    return ", ".join(pairs)
