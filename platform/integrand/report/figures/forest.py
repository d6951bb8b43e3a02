"""Paired differences as a forest plot: a line per comparison, zero as the line of no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from integrand.figures.ranges import padded

from ..identity import Identity
from .axes import Scale, figure, responsive
from .svg import Size, element, join, marker, number, text_width

ROW = 28.0


@dataclass(frozen=True)
class Line:
    """One group's difference to the reference, in the units shown.

    Args:
        identity: How it looks.
        mean: Mean difference.
        low: Lower end of its interval; None with one common seed.
        high: Upper end.
        shown: The difference as text.
        text: What hovering and screen readers say.
        established: Whether the corrected test tells it from zero.
    """

    identity: Identity
    mean: float
    low: float | None
    high: float | None
    shown: str
    text: str
    established: bool


def forest(lines: Sequence[Line], x_label: str, alt: str) -> Markup:
    """The figure in both sizes."""
    height = ROW * len(lines) + 74
    wide = Size(860, height)
    narrow = Size(360, height + 18 * len(lines), narrow=True)
    return responsive(lambda size: _draw(size, lines, x_label, alt), wide, narrow)


def difference_range(lines: Sequence[Line]) -> tuple[float, float]:
    """Zero, every mean, and the intervals unless one is more than three times as wide as all the means."""
    means = [line.mean for line in lines] + [0.0]
    ends = [end for line in lines for end in (line.low, line.high) if end is not None] + means
    span = (max(means) - min(means)) or max(abs(e) for e in ends) or 1.0
    return padded(max(min(ends), min(means) - 1.5 * span), min(max(ends), max(means) + 1.5 * span), 0.04)


def _draw(size: Size, lines: Sequence[Line], x_label: str, alt: str) -> Markup:
    names = max(text_width(line.identity.label, 13.5) for line in lines)
    values = max(text_width(line.shown, 13.0) for line in lines)
    left = 6.0 if size.narrow else min(names, 0.36 * size.width) + 24
    row = ROW + 18 if size.narrow else ROW
    right = size.width - (8 if size.narrow else values + 22)
    low, high = difference_range(lines)
    x = Scale(low, high, left, right)
    bottom = size.height - 52
    parts = []
    for value, label in x.ticks(4 if size.narrow else 7):
        px = x(value)
        class_ = "zero" if value == 0 else "grid"
        parts.append(element("line", class_=class_, x1=px, x2=px, y1=8, y2=bottom))
        parts.append(element("text", label, class_="tick", x=px, y=bottom + 18, text_anchor="middle"))
    middle = (left + right) / 2
    parts.append(element("text", x_label, class_="axis-label", x=middle, y=bottom + 40, text_anchor="middle"))
    for index, line in enumerate(lines):
        y = 8 + row * index + (row / 2 if not size.narrow else 30)
        parts.append(_line(line, y, x, size, right))
    return figure(size, alt, join(parts), class_="forest")


def _line(line: Line, y: float, x: Scale, size: Size, right: float) -> Markup:
    parts = []
    if line.low is not None and line.high is not None:
        x0, x1 = max(x.start, x(line.low)), min(x.end, x(line.high))
        d = f"M{number(x0)},{number(y)}H{number(x1)}"
        # an end that the plot cuts off gets an arrow head instead of a cap
        for end, out, sign in ((x0, line.low < x.low, 1), (x1, line.high > x.high, -1)):
            d += (
                f"M{number(end + sign * 6)},{number(y - 4)}L{number(end)},{number(y)}l{sign * 6},4"
                if out
                else f"M{number(end)},{number(y - 4)}v8"
            )
        parts.append(element("path", class_="interval", d=d))
    class_ = "marker" if line.established else "marker hollow"
    parts.append(marker(line.identity.marker, x(line.mean), y, 6, class_))
    name_x, name_y = (6.0, y - 14) if size.narrow else (x.start - 16, y + 4.5)
    parts.append(
        element("text", line.identity.label, class_="name", x=name_x, y=name_y,
                text_anchor="start" if size.narrow else "end")
    )  # fmt: skip
    value_x, value_y = (size.width - 8, y - 14) if size.narrow else (size.width - 4, y + 4.5)
    parts.append(element("text", line.shown, class_="value", x=value_x, y=value_y, text_anchor="end"))
    return element(
        "g", *parts, class_=f"mark {line.identity.colour}", data_group=line.identity.label,
        role="img", aria_label=line.text, tabindex="-1",
    )  # fmt: skip
