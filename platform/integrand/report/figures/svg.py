"""Writes SVG elements; everything that is not markup already is escaped."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

CHARACTER = 0.53
"""Width of an average character of the page's sans serif, in units of its size."""


@dataclass(frozen=True)
class Size:
    """A drawing area in SVG units, which are CSS pixels where the figure stands at its natural size.

    Args:
        width: Width.
        height: Height.
        narrow: Whether it is the drawing for phones.
    """

    width: float
    height: float
    narrow: bool = False


def element(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. A trailing underscore is dropped from attribute names, others become hyphens.

    Attributes that are None or False are left out; True stands without a value.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(_text(value))}"')
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{' '.join(parts)}>{inner}</{tag}>")


def join(parts: list[Markup]) -> Markup:
    """The elements one after the other."""
    return Markup("".join(parts))


def number(value: float) -> str:
    """A coordinate: tenths of a pixel, without trailing zeros."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def path(points: list[tuple[float, float]], close: bool = False) -> str:
    """The `d` of a polyline."""
    text = "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return f"M{text}{'Z' if close else ''}" if points else ""


def marker(outline: str, x: float, y: float, radius: float, class_: str = "marker") -> Markup:
    """A marker's outline at a place."""
    return element(
        "path", class_=class_, d=outline, transform=f"translate({number(x)},{number(y)}) scale({radius:g})"
    )


def text_width(text: str, size: float) -> float:
    """About how wide a text is."""
    return CHARACTER * size * len(text)


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
