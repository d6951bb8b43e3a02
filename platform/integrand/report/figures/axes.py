"""Scales, ticks and the frame of a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from integrand.figures.ranges import is_wide

from .svg import Size, element, join, number, text_width

TICK = 12.5
"""Size of tick labels in SVG units."""
ZERO_GAP = 0.12
"""Share of a logarithmic axis between the place of 0 and the smallest positive value."""

Kind = Literal["linear", "log", "log0"]


@dataclass(frozen=True)
class Scale:
    """Values onto pixels: linear, logarithmic, or logarithmic with a place for zero.

    Args:
        low: Value at `start`; of `log0` the smallest positive value shown.
        high: Value at `end`.
        start: Pixel of `low` (of zero for `log0`).
        end: Pixel of `high`.
        kind: `linear`, `log` or `log0`.
        whole: Whether only whole numbers make sense.
    """

    low: float
    high: float
    start: float
    end: float
    kind: Kind = "linear"
    whole: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; positions outside the range continue the scale."""
        if self.kind == "linear":
            return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)
        gap = ZERO_GAP if self.kind == "log0" else 0.0
        if value <= 0:
            return self.start
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * (gap + (1 - gap) * share)

    def inside(self, value: float) -> bool:
        """Whether the value lies in the range."""
        return self.low <= value <= self.high or (self.kind == "log0" and value == 0)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:
        """About `wanted` ticks as value and label."""
        if self.kind == "linear":
            return linear_ticks(self.low, self.high, wanted, self.whole)
        values = [0.0] if self.kind == "log0" else []
        for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            found = [v for v in _decades(self.low, self.high, steps) if self.low <= v <= self.high]
            if len(found) >= min(3, wanted):
                break
        keep = math.ceil(len(found) / max(1, wanted))
        return [(v, compact(v)) for v in values + found[::keep]]


def linear_ticks(low: float, high: float, wanted: int, whole: bool = False) -> list[tuple[float, str]]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten; of whole numbers at whole numbers only."""
    # a step may fall somewhat short of the wish: seven ticks read better than two
    raw = max((high - low) / max(1, wanted), 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= (1 if whole else 0.7) * raw)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    largest = max(abs(first * step), abs(last * step))
    values = [i * step for i in range(first, last + 1)]
    if largest >= 1e5:
        return [(v, compact(v)) for v in values]
    return [(v, f"{v:,.{places}f}".replace("-", "−")) for v in values]


def compact(value: float) -> str:
    """A tick of a logarithmic axis: 0.02, 300, 5k, 2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def cost_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """The scale of a cost: logarithmic where a linear one would crowd the cheap groups."""
    positive = [v for v in values if v > 0]
    if not positive:
        return Scale(-0.5, 1.0, start, end)
    low, high = min(positive), max(positive)
    if is_wide(positive):
        pad = (high / low) ** 0.09
        kind: Kind = "log0" if len(positive) < len(values) else "log"
        shift = 0.035 * (end - start) if kind == "log0" else 0.0
        return Scale(low if kind == "log0" else low / pad, high * pad, start + shift, end, kind)
    low = min(values)
    pad = 0.08 * (high - low) or 0.1 * high
    return Scale(max(low - pad, -pad), high + pad, start, end)


@dataclass(frozen=True)
class Frame:
    """A plot's place and scales.

    Args:
        size: The whole drawing.
        left: Left edge of the plot.
        x: Horizontal scale.
        y: Vertical scale.
        x_label: What x is.
        y_label: What y is, written above the axis.
    """

    size: Size
    left: float
    x: Scale
    y: Scale
    x_label: str
    y_label: str

    def draw(self) -> Markup:
        """Grid, ticks and labels."""
        left, right, top, bottom = self.left, self.x.end, self.y.end, self.y.start
        parts = [element("text", self.y_label, class_="axis-label", x=0, y=top - 14)]
        for value, label in self.y.ticks(5):
            y = self.y(value)
            parts.append(element("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
            parts.append(element("text", label, class_="tick", x=left - 8, y=y + 4, text_anchor="end"))
        parts.append(element("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
        for value, label in self.x.ticks(4 if self.size.narrow else 7):
            x = self.x(value)
            parts.append(element("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 5))
            parts.append(element("text", label, class_="tick", x=x, y=bottom + 20, text_anchor="middle"))
        middle = (left + right) / 2
        parts.append(
            element("text", self.x_label, class_="axis-label", x=middle, y=bottom + 42, text_anchor="middle")
        )
        return join(parts)


def left_margin(y: Scale) -> float:
    """Room for the tick labels of a vertical axis."""
    return 16 + max((text_width(label, TICK) for _, label in y.ticks(5)), default=0.0)


def figure(size: Size, label: str, *children: Markup, class_: str = "", **attributes: object) -> Markup:
    """The root element, named for those who do not see it."""
    view = f"0 0 {number(size.width)} {number(size.height)}"
    return element(
        "svg", *children, class_=f"plot {class_}".strip(), viewBox=view, role="group",
        aria_roledescription="figure", aria_label=label, **attributes,
    )  # fmt: skip


def responsive(draw: Callable[[Size], Markup], wide: Size, narrow: Size) -> Markup:
    """The drawing twice, for wide screens and for phones; CSS shows one of them."""
    return join(
        [
            element("div", draw(wide), class_="wide"),
            element("div", draw(narrow), class_="narrow"),
        ]
    )


def _decades(low: float, high: float, steps: Sequence[float]) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [m * 10.0**e for e in range(first, last + 1) for m in steps]
