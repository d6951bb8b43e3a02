"""Quality against a cost: every seed a point, every group its mean with interval, the Pareto front a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from integrand.figures.ranges import limits, padded

from ..identity import Identity
from .axes import Frame, Scale, cost_scale, figure, left_margin, responsive
from .svg import Size, element, join, marker, number, path, text_width

WIDE, NARROW = Size(860, 450), Size(360, 400, narrow=True)
LABEL = 13.0
APART = 11.0
"""Pixels between groups of equal cost."""


@dataclass(frozen=True)
class Point:
    """A group in the plane of cost and quality, in the units shown.

    Args:
        identity: How it looks.
        x: Mean cost.
        y: Mean quality.
        low: Lower end of the quality's interval; None without one.
        high: Upper end.
        seeds: Cost and quality of every run that has both.
        text: What hovering and screen readers say.
        front: Whether it is on the Pareto front.
    """

    identity: Identity
    x: float
    y: float
    low: float | None
    high: float | None
    seeds: Sequence[tuple[float, float]]
    text: str
    front: bool


def scatter(points: Sequence[Point], x_label: str, y_label: str, alt: str, larger: bool) -> Markup:
    """The figure in both sizes.

    Args:
        points: The groups.
        x_label: The cost.
        y_label: The quality.
        alt: The figure in words.
        larger: Whether larger quality is better, which decides how the front steps.
    """
    return responsive(lambda size: _draw(size, points, x_label, y_label, alt, larger), WIDE, NARROW)


def quality_range(points: Sequence[Point]) -> tuple[float, float]:
    """Room for every seed; see `limits`."""
    seeds = [y for p in points for _, y in p.seeds] + [p.y for p in points]
    return padded(*limits(seeds, [end for p in points for end in (p.low, p.high) if end is not None]))


def _draw(size: Size, points: Sequence[Point], x_label: str, y_label: str, alt: str, larger: bool) -> Markup:
    low, high = quality_range(points)
    y = Scale(low, high, size.height - 54, 34)
    left = left_margin(y)
    costs = [p.x for p in points] + [x for p in points for x, _ in p.seeds]
    x = cost_scale(costs, left, size.width - 10)
    frame = Frame(size, left, x, y, x_label, y_label)
    at = _side_by_side([x(p.x) for p in points])
    marks = [_mark(p, px, y, size) for p, px in zip(points, at, strict=True)]
    return figure(
        size, alt, frame.draw(), _front(points, at, y, x.end, larger), join(marks),
        _labels(points, at, y, frame), class_="scatter",
    )  # fmt: skip


def _mark(point: Point, px: float, y: Scale, size: Size) -> Markup:
    """One group: seeds small and pale, interval, mean."""
    top, bottom = y.end, y.start
    seeds = "".join(f"M{number(px)},{number(y(v))}h0" for _, v in point.seeds)
    parts = [element("path", class_="seeds", d=seeds)] if len(point.seeds) > 1 else []
    if point.low is not None and point.high is not None:
        y0, y1 = min(bottom, y(point.low)), max(top, y(point.high))
        caps = [(y0, point.low >= y.low), (y1, point.high <= y.high)]
        d = f"M{number(px)},{number(y0)}V{number(y1)}"
        # an end without cap is cut off by the frame
        d += "".join(f"M{number(px - 4)},{number(e)}h8" for e, whole in caps if whole)
        parts.append(element("path", class_="interval", d=d))
    parts.append(marker(point.identity.marker, px, y(point.y), 5.5 if size.narrow else 6.5))
    return element(
        "g", *parts, class_=f"mark {point.identity.colour}", data_group=point.identity.label,
        role="img", aria_label=point.text, tabindex="-1",
    )  # fmt: skip


def _front(points: Sequence[Point], at: Sequence[float], y: Scale, right: float, larger: bool) -> Markup:
    """Steps along the groups that no other group beats in both: what quality each cost can buy."""
    on = sorted(((px, p) for p, px in zip(points, at, strict=True) if p.front), key=lambda f: f[0])
    if not on:
        return Markup("")
    corners: list[tuple[float, float]] = []
    for px, point in on:
        if corners:
            corners.append((px, corners[-1][1]))
        corners.append((px, y(point.y)))
    corners.append((right, corners[-1][1]))
    return element("path", class_="front", d=path(corners))


def _side_by_side(at: Sequence[float]) -> list[float]:
    """The positions, moved apart where groups of (nearly) equal cost would cover each other."""
    order = sorted(range(len(at)), key=lambda i: at[i])
    moved = list(at)
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and at[order[end]] - at[order[end - 1]] < APART:
            continue
        cluster = order[start:end]
        if len(cluster) > 1:
            centre = sum(at[i] for i in cluster) / len(cluster)
            # a crowd is drawn closer, so that it does not walk across the axis
            step = min(APART, 120 / len(cluster))
            for place, i in enumerate(cluster):
                moved[i] = centre + step * (place - (len(cluster) - 1) / 2)
        start = end
    return moved


Box = tuple[float, float, float, float]


def _labels(points: Sequence[Point], at: Sequence[float], y: Scale, frame: Frame) -> Markup:
    """Names beside the means where there is room; a name without room is left to legend and hovering."""
    size = 11.5 if frame.size.narrow else LABEL
    taken: list[Box] = [(px - 8, y(p.y) - 8, px + 8, y(p.y) + 8) for p, px in zip(points, at, strict=True)]
    for point, px in zip(points, at, strict=True):
        if point.low is not None and point.high is not None:
            taken.append((px - 4, y(point.high), px + 4, y(point.low)))
        taken += [(px - 3, y(v) - 3, px + 3, y(v) + 3) for _, v in point.seeds[:20]]
    room = (frame.left, y.end - 6, frame.x.end + 8, y.start)
    parts = []
    for point, px in zip(points, at, strict=True):
        box = _place(point.identity.label, px, y(point.y), size, taken, room)
        if box is None:
            continue
        taken.append(box)
        parts.append(
            element("text", point.identity.label, class_="name", x=box[0], y=box[3] - 0.28 * size,
                    data_group=point.identity.label)
        )  # fmt: skip
    return join(parts)


def _place(text: str, x: float, y: float, size: float, taken: Sequence[Box], room: Box) -> Box | None:
    """The first place beside, above or below a point that is free."""
    width, half = text_width(text, size), 0.6 * size
    for dx, dy in ((12, 0), (-12 - width, 0), *((d, s * e) for e in (15, 24) for s in (-1, 1) for d in
                   (9, -9 - width, -width / 2))):  # fmt: skip
        box = (x + dx, y + dy - half, x + dx + width, y + dy + half)
        inside = box[0] >= room[0] and box[2] <= room[2] and box[1] >= room[1] and box[3] <= room[3]
        if inside and not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
