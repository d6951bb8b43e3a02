"""How hidden states move through depth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes
from .palette import COLOURS


def trajectory_figure(
    states: npt.NDArray[np.floating], classes: npt.NDArray[np.integer] | None = None
) -> Picture | None:
    """Trajectories of some samples in the plane of their two main directions.

    Args:
        states: Hidden states, shape (n_t, samples, ...), in order of time.
        classes: Class of each sample, shape (samples,), for colours.
    """
    n_t, samples = states.shape[:2]
    flat = states.reshape(n_t * samples, -1).astype(np.float64)
    if n_t < 2 or not np.isfinite(flat).all():
        return None
    centred = flat - flat.mean(axis=0)
    # few points in many dimensions: the small Gram matrix has the same principal components
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values = np.maximum(values[::-1], 0)
    if values[0] <= 0:
        return None
    plane = (vectors[:, ::-1][:, :2] * np.sqrt(values[:2])).reshape(n_t, samples, -1)
    if plane.shape[-1] < 2:
        return None
    explained = float(values[:2].sum() / values.sum())
    figure, axes = new_axes(4.6, 4.2)
    for i in range(samples):
        colour = COLOURS[int(classes[i] if classes is not None else i) % len(COLOURS)]
        axes.plot(plane[:, i, 0], plane[:, i, 1], color=colour, linewidth=1, alpha=0.8)
        axes.plot(*plane[0, i], marker="o", color=colour, markersize=3, fillstyle="none")
        axes.plot(*plane[-1, i], marker="o", color=colour, markersize=4)
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    description = (
        f"Hidden states of {samples} samples from the beginning (ring) to the end (dot) of integration in "
        f"the plane of two principal components that holds {explained:.0%} of their variance"
        f"{'; colours are classes' if classes is not None else ''}."
    )
    return finish(figure, "trajectories", description)
