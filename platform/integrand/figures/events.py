"""Intensities of events, and whether time rescaled by them is that of a unit Poisson process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes
from .palette import COLOURS

Array = npt.NDArray[Any]


def intensity_figure(
    times: Array, came: Array, said: Array, true: Array | None, names: Sequence[str], stage: str
) -> Picture:
    """λ of each kind through one sequence, and its events as ticks below.

    Args:
        times: Times at which λ is known, shape (n,), never decreasing.
        came: Which kinds of event came then, shape (n, kinds), bool.
        said: λ as it arrives at each time and as it leaves, shape (n, 2, kinds).
        true: λ of the process that made the data, likewise; None where it is not known.
        names: Name of each kind.
        stage: `val` or `test`, for the description and the file name.
    """
    figure, axes = new_axes(7.0, 3.2)
    # an event is a jump: both values at one time
    t = np.repeat(times, 2)
    highest = max(np.nanmax(x) for x in (said, true) if x is not None)
    for k, name in enumerate(names):
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(t, said[..., k].flatten(), color=colour, linewidth=1.2, label=name)
        if true is not None:
            axes.plot(t, true[..., k].flatten(), "--", color=colour, linewidth=0.9)
        at = times[came[:, k]]
        axes.plot(at, np.full(len(at), -0.06 * (k + 1) * highest), "|", color=colour, markersize=7)
    axes.set_xlabel("time")
    axes.set_ylabel("intensity λ(t)")
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=7)
    dashed = ", and that of the process that made the data (dashed)" if true is not None else ""
    description = (
        f"Learned intensity of events (lines){dashed} through one {stage} sequence whose {int(came.sum())} "
        f"events are ticks below, for {', '.join(names)}."
    )
    return finish(figure, f"intensity_{stage}", description)


def rescaling_figure(observed: Array, expected: Array, distance: float, stage: str) -> Picture:
    """Quantiles of ∫λ dt between events against those of Exp(1).

    Args:
        observed: Integrals, increasing, shape (n,).
        expected: What a unit exponential has at the same share of all gaps, shape (n,).
        distance: Largest difference between both distribution functions.
        stage: `val` or `test`, for the description and the file name.
    """
    figure, axes = new_axes(3.6, 3.4)
    end = float(max(observed.max(), expected.max()))
    axes.plot([0, end], [0, end], color="0.6", linewidth=0.8)
    axes.plot(expected, observed, ".", color=COLOURS[0], markersize=3)
    axes.set_xlabel("unit exponential")
    axes.set_ylabel("∫λ dt between events")
    description = (
        f"Quantiles of the integrated intensity between events of all {stage} sequences against those of the "
        f"unit exponential, which they have where the intensity is right (line); the distribution functions "
        f"lie up to {distance:.3g} apart."
    )
    return finish(figure, f"rescaling_{stage}", description)
