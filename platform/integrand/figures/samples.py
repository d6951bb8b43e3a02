"""Pictures of samples: a grid of images, a scatter plot, or the same samples by several samplers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes, new_grid
from .palette import COLOURS

Array = npt.NDArray[Any]
_CELL = 56
"""Side of an image on the sheet, in pixels, at least."""


def sheet(images: Array, columns: int = 8) -> Picture:
    """Images in [0, 1], shape (n, channels, height, width), side by side; NaN is crossed out."""
    from PIL import Image

    n, channels, height, width = images.shape
    zoom = max(1, round(_CELL / height))
    rows = -(-n // columns)
    gap = 2
    canvas = np.full(
        (rows * (height * zoom + gap) + gap, columns * (width * zoom + gap) + gap, 3), 255, np.uint8
    )
    for i, image in enumerate(images):
        top = gap + (i // columns) * (height * zoom + gap)
        left = gap + (i % columns) * (width * zoom + gap)
        cell = _cell(image, channels, zoom)
        canvas[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="PNG")
    return Picture("samples", buffer.getvalue(), f"{n} samples.")


def _cell(image: Array, channels: int, zoom: int) -> npt.NDArray[np.uint8]:
    """One image as bytes, shape (height, width, 3), enlarged; a red cross where it is not finite."""
    failed = not np.isfinite(image).all()
    shown = np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    # of latents the first channels
    coloured = shown[:3] if channels >= 3 else np.repeat(shown[:1], 3, axis=0)
    cell = (coloured.transpose(1, 2, 0) * 255).round().astype(np.uint8)
    cell = cell.repeat(zoom, axis=0).repeat(zoom, axis=1)
    if failed:
        height, width = cell.shape[:2]
        along = np.arange(max(height, width))
        down, across = along * height // len(along), along * width // len(along)
        for columns in (across, width - 1 - across):
            cell[down, columns] = (213, 94, 0)
    return cell


def scatter(points: Array, data: Array | None = None) -> Picture:
    """Points of the plane, shape (n, 2), over data points where there are some."""
    figure, axes = new_axes(4.4, 4.4)
    text = _scatter(axes, points, data)
    axes.set_title(text, fontsize=9)
    return finish(figure, "samples", text)


def _scatter(axes: Any, points: Array, data: Array | None) -> str:
    """The points on axes that fit the data; how many there are, and how many are not seen."""
    axes.set_aspect("equal")
    shown = points[np.isfinite(points).all(axis=1)]
    size = 3 if len(points) > 300 else 9
    text = f"{len(points)} samples"
    outside = 0
    if data is not None:
        reach = 1.25 * float(np.abs(data).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.scatter(data[:, 0], data[:, 1], s=2, color="#C4C4C4", linewidths=0)
        outside = int((np.abs(shown) > reach).any(axis=1).sum())
        text += " over data (grey)"
    axes.scatter(shown[:, 0], shown[:, 1], s=size, alpha=0.6, color=COLOURS[1], linewidths=0)
    hidden = {"outside": outside, "not finite": len(points) - len(shown)}
    return ", ".join([text, *(f"{count} {what}" for what, count in hidden.items() if count)])


def side_by_side(
    images: Mapping[tuple[str, int], Array],
    samplers: Sequence[str],
    nfes: Sequence[int],
    data: Array | None = None,
) -> Picture:
    """The same samples by every sampler (rows) at every NFE (columns).

    Args:
        images: Images in [0, 1] by sampler and NFE, shape (n, channels, height, width), of which nine are
            shown; or points, shape (n, 2), of which all are.
        samplers: Rows.
        nfes: Columns.
        data: Data points behind points, shape (n, 2).
    """
    width, height = 1.5 + 1.45 * len(nfes), 0.35 + 1.45 * len(samplers)
    figure, grid = new_grid(len(samplers), len(nfes), width, height)
    for row, sampler in enumerate(samplers):
        for column, nfe in enumerate(nfes):
            axes = grid[row][column]
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.grid(visible=False)
            if row == 0:
                axes.set_title(f"NFE {nfe}", fontsize=9)
            if column == 0:
                axes.set_ylabel(sampler, fontsize=8, rotation=0, ha="right", va="center")
            found = images.get((sampler, nfe))
            if found is not None and found.ndim == 2:
                _scatter(axes, found, data)
            elif found is not None:
                axes.imshow(_mosaic(found[:9]), interpolation="nearest")
    names = ", ".join(samplers)
    return finish(figure, "side_by_side", f"The same samples by {names} at NFE {list(nfes)}.")


def _mosaic(images: Array) -> npt.NDArray[np.uint8]:
    """Nine images as three by three."""
    cells = [_cell(image, image.shape[0], 1) for image in images]
    height, width = cells[0].shape[:2]
    canvas = np.full((3 * height + 2, 3 * width + 2, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        top, left = (i // 3) * (height + 1), (i % 3) * (width + 1)
        canvas[top : top + height, left : left + width] = cell
    return canvas
