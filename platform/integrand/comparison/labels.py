"""Puts names beside points so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

# (dx, dy) in points from the mark, horizontal and vertical alignment; the first free one is taken
_PLACES = [
    (dx * r, dy * r, ha, va)
    for r in (1.0, 1.8, 3.0, 4.5)
    for dx, dy, ha, va in (
        (9, 5, "left", "bottom"), (9, -5, "left", "top"),
        (-9, 5, "right", "bottom"), (-9, -5, "right", "top"),
        (0, 11, "center", "bottom"), (0, -11, "center", "top"),
    )
]  # fmt: skip


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, float, float, str]],
    points: Sequence[tuple[float, float]] = (),
) -> None:
    """Write each label next to its point, joined by a thin line where it stands further off.

    Args:
        axes: Axes whose limits are final.
        labels: Text, x, y in data coordinates, and colour of the joining line.
        points: Further points, in data coordinates, that labels should leave free.
    """
    figure = axes.figure
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # the layout engine moves the axes at the first drawing
    renderer = canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    marks = [_around(axes, x, y) for x, y in [*points, *((x, y) for _, x, y, _ in labels)]]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "color": "#222222"}
    taken: list[Bbox] = []
    for text, x, y, colour in sorted(labels, key=lambda item: -item[2]):
        best: tuple[float, int] | None = None
        note = axes.annotate(text, (x, y), (0, 0), **style)
        for index, (dx, dy, ha, va) in enumerate(_PLACES):
            _move(note, dx, dy, ha, va)
            box = note.get_window_extent(renderer)
            outside = box.width * box.height - _overlap(box, inside)
            hidden = sum(_overlap(box, other) for other in taken) * 3 + sum(_overlap(box, m) for m in marks)
            cost = 5 * outside + hidden + 10 * index
            if best is None or cost < best[0]:
                best = cost, index
        assert best is not None
        dx, dy, ha, va = _PLACES[best[1]]
        note.remove()
        line = {"arrowstyle": "-", "color": colour, "lw": 0.6} if best[1] >= 6 else None
        note = axes.annotate(text, (x, y), (0, 0), **style, zorder=4, arrowprops=line)
        _move(note, dx, dy, ha, va)
        taken.append(note.get_window_extent(renderer))


def _move(note: Any, dx: float, dy: float, ha: str, va: str) -> None:
    note.set_position((dx, dy))
    note.set_horizontalalignment(ha)
    note.set_verticalalignment(va)


def _around(axes: Axes, x: float, y: float) -> Bbox:
    """A box of a mark's size round a point."""
    px, py = axes.transData.transform((x, y))
    return Bbox.from_extents(px - 8, py - 8, px + 8, py + 8)


def _overlap(a: Bbox, b: Bbox) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))
