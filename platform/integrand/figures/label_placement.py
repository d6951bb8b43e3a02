"""Puts names beside points so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation, Transform
from numpy.typing import NDArray

# (dx, dy) in points from the mark, horizontal and vertical alignment, nearest first; the first free one is
# taken: left or right of the mark, then above or below, then further up or down with a line
_PLACES = [
    *((side * 11, 0, ha, "center") for side, ha in ((1, "left"), (-1, "right"))),
    *((side * 9, dy, ha, "center") for dy in (9, -9) for side, ha in ((1, "left"), (-1, "right"))),
    *((0, dy, "center", "center") for dy in (15, -15)),
    *(
        (side * dx, sign * dy, ha, "center")
        for dx, dy in ((12, 20), (12, 32), (26, 20), (26, 44), (26, 60), (44, 32), (44, 76))
        for sign in (1, -1)
        for side, ha in ((1, "left"), (-1, "right"))
    ),
]
_NEAR = 8
"""Places before this one need no line to the mark."""


class Mark(NamedTuple):
    """A point to label or to leave free.

    Args:
        x: In data coordinates.
        y: In data coordinates.
        shift: How far it is drawn to the right of that, in points.
        text: Its label; empty for a point that only must stay free.
        colour: Colour of the line from label to point.
    """

    x: float
    y: float
    shift: float = 0.0
    text: str = ""
    colour: str = "black"


def place_labels(axes: Axes, marks: Sequence[Mark]) -> None:
    """Write each label next to its point, joined by a thin line where it stands further off.

    Args:
        axes: Axes whose limits are final.
        marks: The points, with or without a label.
    """
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # the layout engine moves the axes at the first drawing
    renderer = canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    centres = {mark: shifted(axes, mark.shift).transform((mark.x, mark.y)) for mark in marks}
    boxes = np.array([(x - 7, y - 7, x + 7, y + 7) for x, y in centres.values()])
    taken = np.empty((0, 4))
    for mark in sorted((m for m in marks if m.text), key=lambda m: (-centres[m][1], centres[m][0])):
        note = axes.annotate(
            mark.text, (mark.x, mark.y), (0, 0), xycoords=shifted(axes, mark.shift),
            textcoords="offset points", fontsize=9, color="#222222", zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": mark.colour, "lw": 0.7, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip
        size = Text.get_window_extent(note, renderer)
        costs = []
        for index, place in enumerate(_PLACES):
            box = _box(centres[mark], place, size.width, size.height, axes.figure.dpi / 72)
            outside = box.width * box.height - _overlap(box, np.array([inside.extents]))
            hidden = 3 * _overlap(box, taken) + _overlap(box, boxes)
            costs.append(5 * outside + hidden + 12 * index)
        best = costs.index(min(costs))
        if note.arrow_patch is not None:
            note.arrow_patch.set_visible(best >= _NEAR)
        dx, dy, ha, va = _PLACES[best]
        note.set(position=(dx, dy), horizontalalignment=ha, verticalalignment=va)
        box = _box(centres[mark], _PLACES[best], size.width, size.height, axes.figure.dpi / 72)
        taken = np.vstack([taken, box.extents])


def shifted(axes: Axes, points: float) -> Transform:
    """The data coordinates of the axes, `points` further to the right."""
    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def _box(
    at: NDArray[np.float64], place: tuple[float, float, str, str], width: float, height: float, scale: float
) -> Bbox:
    """The box in pixels that a label of this size fills at a place beside a point.

    Drawing it at each place to ask for its box would take twenty times as long.
    """
    dx, dy, ha, _ = place
    x, y = at[0] + scale * dx, at[1] + scale * dy
    left = {"left": x, "right": x - width, "center": x - width / 2}[ha]
    return Bbox.from_bounds(left, y - height / 2, width, height)


def _overlap(box: Bbox, others: NDArray[np.float64]) -> float:
    """Area that a box shares with others, rows of left, bottom, right and top, in square pixels."""
    left, bottom, right, top = others.T
    width = np.minimum(box.x1, right) - np.maximum(box.x0, left)
    height = np.minimum(box.y1, top) - np.maximum(box.y0, bottom)
    return float(np.sum(np.clip(width, 0, None) * np.clip(height, 0, None)))
