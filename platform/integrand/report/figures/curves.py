"""Series over training: a line per group, the mean over its seeds, in its band."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from integrand.figures.ranges import STEEP, is_wide, limits, padded

from ..identity import Identity
from .axes import Frame, Scale, figure, left_margin, responsive
from .svg import Size, element, join, path

WIDE, NARROW, SMALL = Size(860, 400), Size(360, 340, narrow=True), Size(360, 250, narrow=True)
MANY = 5
"""Lines beyond which bands are drawn paler, since they cover each other."""


@dataclass(frozen=True)
class Line:
    """A group's series, in the units shown.

    Args:
        identity: How it looks.
        xs: Places, increasing.
        mean: Mean over seeds.
        low: Lower edge of the band; None where there is none.
        high: Upper edge of the band.
        shown: Means with their intervals as text, for the cross-hair.
        seeds: Series of single seeds, drawn thin; only where a group stands alone.
    """

    identity: Identity
    xs: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    shown: Sequence[str]
    seeds: Sequence[Sequence[float | None]] = ()


def curves(lines: Sequence[Line], x_label: str, y_label: str, alt: str) -> Markup:
    """The figure in both sizes, with the numbers that the cross-hair reads."""
    drawn = responsive(lambda size: _draw(size, lines, x_label, y_label, alt), WIDE, NARROW)
    return join([drawn, _numbers(lines)])


def small_curve(line: Line, x_label: str, y_label: str, alt: str) -> Markup:
    """One group alone, small enough for phones."""
    drawn = element("div", _draw(SMALL, [line], x_label, y_label, alt), class_="small")
    return join([drawn, _numbers([line])])


def value_scale(lines: Sequence[Line], bottom: float, top: float) -> Scale:
    """Room for every mean, and for bands as far as they leave the means apart."""
    means = [v for line in lines for v in line.mean]
    seeds = [v for line in lines for seed in line.seeds for v in seed if v is not None]
    low, high = min(means + seeds), max(means + seeds)
    if low > 0 and is_wide([low, high], STEEP):
        return Scale(low / 1.15, high * 1.15, bottom, top, "log")
    ends = [v for line in lines for edge in (line.low, line.high) for v in edge if v is not None]
    bounds = padded(*limits([low, high], ends, 0.35))
    # counts and losses do not go below zero
    return Scale(0.0 if low >= 0 > bounds[0] else bounds[0], bounds[1], bottom, top)


def _draw(size: Size, lines: Sequence[Line], x_label: str, y_label: str, alt: str) -> Markup:
    y = value_scale(lines, size.height - 54, 34.0)
    left = left_margin(y)
    xs = [v for line in lines for v in line.xs]
    x0, x1 = (min(xs), max(xs)) if max(xs) > min(xs) else padded(min(xs), max(xs))
    x = Scale(x0, x1, left + 6, size.width - 12, whole=True)
    frame = Frame(size, left, x, y, x_label, y_label)
    drawn = [_band(line, x, y) for line in lines] + [_line(line, x, y) for line in lines]
    class_ = "curves many" if len(lines) > MANY else "curves"
    return figure(
        size, alt, frame.draw(), join(drawn), element("g", class_="crosshair"), class_=class_,
        data_x=_scale(x), data_y=_scale(y), data_log=y.kind == "log", tabindex="0",
    )  # fmt: skip


def _band(line: Line, x: Scale, y: Scale) -> Markup:
    """The interval, cut off at the frame."""
    edges = [(a, lo, hi) for a, lo, hi in zip(line.xs, line.low, line.high, strict=True)
             if lo is not None and hi is not None]  # fmt: skip
    if not edges:
        return Markup("")
    floor, ceiling = y.low, y.high
    upper = [(x(a), y(min(hi, ceiling))) for a, _, hi in edges]
    lower = [(x(a), y(max(lo, floor))) for a, lo, _ in reversed(edges)]
    band = element("path", class_="band", d=path(upper + lower, close=True))
    return element("g", band, class_=line.identity.colour, data_group=line.identity.label)


def _line(line: Line, x: Scale, y: Scale) -> Markup:
    """Single seeds thin, the mean in the group's own dash."""
    parts = []
    for seed in line.seeds:
        points = [(x(a), y(v)) for a, v in zip(line.xs, seed, strict=True) if v is not None]
        if len(points) > 1:
            parts.append(element("path", class_="seed", d=path(points)))
    points = [(x(a), y(v)) for a, v in zip(line.xs, line.mean, strict=True)]
    d = path(points) if len(points) > 1 else f"{path(points)}h0"
    parts.append(element("path", class_="line", d=d, stroke_dasharray=line.identity.dash or None))
    return element("g", *parts, class_=line.identity.colour, data_group=line.identity.label)


def _scale(scale: Scale) -> str:
    return " ".join(f"{v:.6g}" for v in (scale.low, scale.high, scale.start, scale.end))


def _numbers(lines: Sequence[Line]) -> Markup:
    """What the cross-hair says, as data that no browser runs."""
    values = [
        {"group": line.identity.label, "colour": line.identity.colour, "x": list(line.xs),
         "y": [float(f"{v:.4g}") for v in line.mean], "shown": list(line.shown)}
        for line in lines
    ]  # fmt: skip
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Markup('<script type="application/json" class="numbers">') + Markup(text) + Markup("</script>")
