"""Forecasts of series against what came true."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes, new_grid
from .palette import COLOURS

MOST_CHANNELS = 4
"""Channels of a figure."""

Shown = Mapping[str, Any]
"""One series: `times` (n,), `said` and `true` (n, channels), `given_times` (m,), `given` (m, channels), and
`draws` (draws, n, channels) or None."""


def forecast_figure(shown: Sequence[Shown], names: Sequence[str], stage: str) -> Picture:
    """True and predicted values over time: a column for each series, a row for each of the first channels.

    Args:
        shown: The series.
        names: Name of each channel.
        stage: `val` or `test`, for the description and the file name.
    """
    rows = min(len(names), MOST_CHANNELS)
    figure, grid = new_grid(rows, len(shown), 2.6 * len(shown) + 0.6, 1.5 * rows + 0.6)
    for column, one in enumerate(shown):
        for row in range(rows):
            axes, colour = grid[row, column], COLOURS[row % len(COLOURS)]
            if one["draws"] is not None and len(one["draws"]) > 1:
                low, high = np.nanquantile(one["draws"][..., row], [0.05, 0.95], axis=0)
                axes.fill_between(one["times"], low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(one["given_times"], one["given"][:, row], "o", color="0.2", markersize=2.5)
            axes.plot(one["times"], one["true"][:, row], ".", color="0.5", markersize=2.5)
            axes.plot(one["times"], one["said"][:, row], color=colour, linewidth=1.2)
            axes.set_ylim(*_limits(one["true"][:, row], one["given"][:, row]))
            if column == 0:
                axes.set_ylabel(names[row])
            if row == rows - 1:
                axes.set_xlabel("time")
    bands = any(one["draws"] is not None for one in shown)
    description = (
        f"Forecasts (lines{', bands of 90 %' if bands else ''}) of {len(shown)} {stage} series from the "
        f"observations given (large dots), against what was observed (small dots), for "
        f"{', '.join(names[:rows])}."
    )
    return finish(figure, f"forecast_{stage}", description)


def phase_figure(
    shown: Sequence[Shown],
    names: Sequence[str],
    stage: str,
    field: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.floating]] | None = None,
) -> Picture:
    """Trajectories in the plane of the first two channels, true ones grey.

    Args:
        shown: The series.
        names: Name of each channel.
        stage: `val` or `test`, for the description and the file name.
        field: The learned dx/dt of states (n, 2), drawn as arrows of equal length.
    """
    figure, axes = new_axes(4.4, 4.2)
    for i, one in enumerate(shown):
        axes.plot(one["true"][:, 0], one["true"][:, 1], ".", color="0.6", markersize=2.5)
        axes.plot(one["said"][:, 0], one["said"][:, 1], color=COLOURS[i % len(COLOURS)], linewidth=1.2)
        axes.plot(*one["given"][-1, :2], "o", color=COLOURS[i % len(COLOURS)], markersize=4)
    for limit, channel in ((axes.set_xlim, 0), (axes.set_ylim, 1)):
        limit(*_limits(*(one[part][:, channel] for one in shown for part in ("true", "given"))))
    if field is not None:
        _arrows(axes, field)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    arrows = " Arrows show the direction of the learned field." if field is not None else ""
    description = (
        f"Forecasts (lines) of {len(shown)} {stage} series from their last observation (dots), in the plane "
        f"of {names[0]} and {names[1]}, with what was observed in grey.{arrows}"
    )
    return finish(figure, f"phase_{stage}", description)


def horizon_figure(horizon: npt.NDArray[np.floating], error: npt.NDArray[np.floating], stage: str) -> Picture:
    """Root mean squared error against the time since the last observation given, both of shape (n,)."""
    figure, axes = new_axes(5.0, 3.2)
    axes.plot(horizon, error, color=COLOURS[0], linewidth=1.4)
    if error.min() > 0:
        axes.set_yscale("log")
    axes.set_xlabel("time since the last observation")
    axes.set_ylabel("root mean squared error")
    description = (
        f"Root mean squared error of {stage} forecasts, {error[0]:.3g} at {horizon[0]:.3g} after the last "
        f"observation and {error[-1]:.3g} at {horizon[-1]:.3g}."
    )
    return finish(figure, f"horizon_{stage}", description)


def energy_figure(
    times: Sequence[npt.NDArray[np.floating]],
    energies: Sequence[Sequence[npt.NDArray[np.floating]]],
    stage: str,
) -> Picture:
    """The energy of forecasts over time, and that of the truth dashed.

    Args:
        times: Times of each series, shape (n,).
        energies: Of each series that of the forecast and of the truth, shape (n,).
        stage: `val` or `test`, for the description and the file name.
    """
    figure, axes = new_axes(5.0, 3.2)
    drifts = []
    for i, (time, (said, true)) in enumerate(zip(times, energies, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(time, true, "--", color=colour, linewidth=0.9, alpha=0.7)
        axes.plot(time, said, color=colour, linewidth=1.2)
        drifts.append(abs(float(said[-1]) - float(true[-1])))
    axes.set_ylim(*_limits(*(true for _, true in energies), *(np.clip(s, *_limits(t)) for s, t in energies)))
    axes.set_xlabel("time")
    axes.set_ylabel("energy")
    description = (
        f"Energy along {len(times)} {stage} forecasts (lines) and of the true trajectories (dashed); at the "
        f"end they differ by {np.mean(drifts):.3g} on average."
    )
    return finish(figure, f"energy_{stage}", description)


def _arrows(axes: Any, field: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.floating]]) -> None:
    """The direction of a field on a grid over the axes as they are."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = np.meshgrid(np.linspace(left, right, 17)[1:-1], np.linspace(bottom, top, 17)[1:-1])
    rates = field(np.stack([x.ravel(), y.ravel()], axis=1))
    length = np.linalg.norm(rates, axis=1, keepdims=True)
    unit = rates / np.where(length > 0, length, 1.0)
    axes.quiver(x.ravel(), y.ravel(), unit[:, 0], unit[:, 1], color="0.8", width=0.003, zorder=0)


def _limits(*values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """A little more than the range of the finite values: a forecast that blows up hides nothing."""
    every = np.concatenate([v[np.isfinite(v)] for v in values])
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    room = 0.15 * (high - low) or 1.0
    return low - room, high + room
