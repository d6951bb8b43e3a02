"""What a generative model makes, beside the data it was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes, new_grid
from .palette import COLOURS

Arrays = Mapping[str, npt.NDArray[Any]]


def generated_figures(arrays: Arrays, stage: str) -> Iterator[Picture]:
    """Every figure that the arrays of a generative module allow.

    Args:
        arrays: As `GenerativeModule.pictures` returns them: `samples` and `data` (n, …), `paths` (n_t, n, …),
            `log_density` (side, side) with its `extent`, `score` at `score_points` (m, 2) with its
            `score_level`.
        stage: `val` or `test`: whose data it is; part of the file names.
    """
    data = arrays.get("data")
    yield from _beside(arrays.get("samples"), data, stage)
    if "log_density" in arrays:
        yield _density(arrays["log_density"], arrays["extent"], stage)
    if "score" in arrays and data is not None:
        yield _score(arrays, data, stage)
    paths = arrays.get("paths")
    if paths is not None and paths.ndim == 3 and paths.shape[2] == 2:
        yield _paths(paths, stage)


def _beside(samples: npt.NDArray[Any] | None, data: npt.NDArray[Any] | None, stage: str) -> Iterator[Picture]:
    """Samples beside the data, where they are points of a plane or images."""
    if samples is None or data is None or not len(samples) or not len(data):
        return
    if samples.ndim == 2 and samples.shape[1] == 2:
        yield _points(samples, data, stage)
    elif samples.ndim == 4:
        yield _images(samples, data, stage)


def _points(samples: npt.NDArray[Any], data: npt.NDArray[Any], stage: str) -> Picture:
    """Scatter plots side by side on the same axes, those of the data."""
    figure, ((left, right),) = new_grid(1, 2, 7.6, 3.9)
    reach = 1.15 * float(np.abs(data).max())
    for axes, x, title, colour in (
        (left, data, f"{stage} data", COLOURS[0]),
        (right, samples, "samples", COLOURS[1]),
    ):
        axes.scatter(x[:, 0], x[:, 1], s=3, alpha=0.5, color=colour, linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    outside = int((np.abs(samples) > reach).any(axis=1).sum())
    text = f"{len(data)} points of the {stage} data beside {len(samples)} samples of the model"
    return finish(figure, f"samples_{stage}", f"{text}; {outside} samples lie outside the axes.")


def _images(samples: npt.NDArray[Any], data: npt.NDArray[Any], stage: str) -> Picture:
    """Grids of 8 × 8 images, on the grey scale of the data."""
    figure, ((left, right),) = new_grid(1, 2, 7.6, 3.9)
    low, high = float(data.min()), float(data.max())
    for axes, x, title in ((left, data[:64], f"{stage} data"), (right, samples[:64], "samples")):
        scaled = np.clip((x - low) / (high - low if high > low else 1.0), 0, 1)
        axes.imshow(_grid(scaled), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    text = f"{min(64, len(data))} images of the {stage} data beside {min(64, len(samples))} samples."
    return finish(figure, f"samples_{stage}", text)


def _grid(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images (n, channels, height, width) as one, eight in a row with a line between."""
    n, channels, height, width = images.shape
    rows = -(-n // 8)
    sheet = np.ones((channels, rows * (height + 1) - 1, 8 * (width + 1) - 1))
    for i, image in enumerate(images):
        top, left = (i // 8) * (height + 1), (i % 8) * (width + 1)
        sheet[:, top : top + height, left : left + width] = image
    return sheet[0] if channels == 1 else np.moveaxis(sheet, 0, -1)


def _density(log_density: npt.NDArray[Any], extent: npt.NDArray[Any], stage: str) -> Picture:
    """The density as a heat map."""
    figure, axes = new_axes(4.6, 4.0)
    axes.grid(visible=False)
    density = np.exp(log_density)
    image = axes.imshow(density, origin="lower", extent=tuple(extent), cmap="magma", vmin=0)
    figure.colorbar(image, ax=axes, shrink=0.85, label="density p(x) of the model")
    cell = (extent[1] - extent[0]) * (extent[3] - extent[2]) / (density.shape[0] - 1) / (density.shape[1] - 1)
    text = f"Density of the model on a grid around the {stage} data: {density.sum() * cell:.3f} of its mass."
    return finish(figure, f"density_{stage}", text)


def _score(arrays: Arrays, data: npt.NDArray[Any], stage: str) -> Picture:
    """Arrows along the score, their length in colour: drawn to scale the far ones would cover the rest."""
    points, score = arrays["score_points"], arrays["score"]
    side = math.isqrt(len(points))
    spacing = float(np.ptp(points[:, 0])) / (side - 1)
    length = np.linalg.norm(score, axis=1)
    arrows = 0.8 * spacing * score / np.maximum(length, 1e-12)[:, None]
    figure, axes = new_axes(5.2, 4.2)
    axes.scatter(data[:, 0], data[:, 1], s=3, color="#BBBBBB", linewidths=0, zorder=1)
    field = axes.quiver(
        *points.T, *arrows.T, length, angles="xy", scale_units="xy", scale=1, cmap="viridis", pivot="mid"
    )
    figure.colorbar(field, ax=axes, shrink=0.85, label="distance to the predicted data")
    axes.set_aspect("equal")
    text = (
        f"Score of the model at noise {float(arrays['score_level']):.2g} (σ/α): each arrow points to the "
        f"data predicted behind a noisy point, its colour the distance; dots are {stage} data."
    )
    return finish(figure, f"score_{stage}", text)


def _paths(paths: npt.NDArray[Any], stage: str) -> Picture:
    """Trajectories from noise to samples."""
    figure, axes = new_axes(4.4, 4.2)
    for i in range(paths.shape[1]):
        axes.plot(paths[:, i, 0], paths[:, i, 1], color=COLOURS[0], linewidth=0.8, alpha=0.5)
    axes.scatter(*paths[0].T, s=9, facecolors="none", edgecolors=COLOURS[6], linewidths=0.7, label="noise")
    axes.scatter(*paths[-1].T, s=9, color=COLOURS[1], zorder=3, label="samples")
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    length = np.linalg.norm(np.diff(paths, axis=0), axis=2).sum(axis=0)
    chord = np.linalg.norm(paths[-1] - paths[0], axis=1)
    ratio = float(length.sum() / max(float(chord.sum()), 1e-12))
    text = (
        f"Paths of {paths.shape[1]} samples from noise (rings) to data (dots), together {ratio:.2f} times as "
        "long as the straight lines between their ends."
    )
    return finish(figure, f"paths_{stage}", text)
