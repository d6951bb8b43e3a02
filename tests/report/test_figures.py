"""Scales, ticks and what the drawings put where."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest

from integrand.report.figures.axes import Scale, cost_scale, linear_ticks
from integrand.report.figures.curves import Line, curves, value_scale
from integrand.report.figures.forest import Line as Difference
from integrand.report.figures.forest import difference_range, forest
from integrand.report.figures.scatter import Point, _side_by_side, quality_range, scatter
from integrand.report.figures.svg import element, path
from integrand.report.identity import identities

NAMES = identities(["a", "b", "c"])


def point(label, x, y, half=1.0, front=False):
    low, high = (None, None) if half is None else (y - half, y + half)
    return Point(NAMES[label], x, y, low, high, [(x, y)], f"{label}: text", front)


def drawings(markup):
    """The SVG elements, the wide one first."""
    root = ET.fromstring(f"<root>{re.sub('<script.*?</script>', '', str(markup))}</root>")
    return list(root.iter("svg"))


def at(mark):
    """Where a marker is."""
    (found,) = [p for p in mark.iter("path") if (p.get("class") or "").startswith("marker")]
    return tuple(map(float, re.match(r"translate\(([-\d.]+),([-\d.]+)\)", found.get("transform")).groups()))


def test_scales_map_their_ends():
    linear = Scale(10, 20, 100, 200)
    assert (linear(10), linear(15), linear(20)) == (100, 150, 200)
    log = Scale(1, 100, 0, 200, "log")
    assert (log(1), log(10), log(100)) == pytest.approx((0, 100, 200))
    with_zero = Scale(1, 100, 0, 200, "log0")
    assert with_zero(0) == 0 < with_zero(1) < with_zero(10) < with_zero(100) == 200


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-4.2, 5.9, ["−4", "−2", "0", "2", "4"]),
        (0, 18000, ["0", "5,000", "10,000", "15,000"]),
        (0, 4e6, ["0", "1M", "2M", "3M", "4M"]),
    ],
)
def test_ticks_are_round_numbers(low, high, labels):
    assert [label for _, label in linear_ticks(low, high, 5)] == labels


def test_epochs_have_whole_ticks():
    assert [label for _, label in linear_ticks(1, 4, 7, whole=True)] == ["1", "2", "3", "4"]


def test_costs_are_logarithmic_only_where_they_span_decades():
    assert cost_scale([1, 2, 10], 0, 100).kind == "linear"
    assert cost_scale([1, 2, 100], 0, 100).kind == "log"
    assert cost_scale([0, 2, 100], 0, 100).kind == "log0"
    scale = cost_scale([0, 0, 0], 0, 100)
    assert math.isfinite(scale(0))


def test_better_is_higher_and_dearer_further_right():
    points = [point("a", 1, 70), point("b", 5, 80), point("c", 9, 90)]
    for drawing in drawings(scatter(points, "NFE", "accuracy", "alt", larger=True)):
        marks = {
            m.get("data-group"): at(m) for m in drawing.iter("g") if m.get("class", "").startswith("mark")
        }
        xs, ys = zip(*(marks[label] for label in "abc"), strict=True)
        assert list(xs) == sorted(xs)
        assert list(ys) == sorted(ys, reverse=True)
        # equal steps in value are equal steps on paper; coordinates are rounded to 0.1
        assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
        assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
        width, height = map(float, drawing.get("viewBox").split()[2:])
        assert all(0 < x < width and 0 < y < height for x, y in marks.values())


def test_front_runs_through_its_groups_only():
    points = [point("a", 1, 70, front=True), point("b", 5, 60), point("c", 9, 90, front=True)]
    drawing = drawings(scatter(points, "NFE", "accuracy", "alt", larger=True))[0]
    (front,) = [p for p in drawing.iter("path") if p.get("class") == "front"]
    marks = {m.get("data-group"): at(m) for m in drawing.iter("g") if m.get("class", "").startswith("mark")}
    corners = [tuple(map(float, c.split(","))) for c in front.get("d").lstrip("M").split("L")]
    assert marks["a"] in corners
    assert marks["c"] in corners
    assert (marks["c"][0], marks["a"][1]) in corners  # a step, not a slope: nothing can be bought in between
    assert marks["b"] not in corners


def test_one_wide_interval_does_not_flatten_the_rest():
    """With two seeds an interval may be 200 points wide; the groups must stay apart."""
    low, high = quality_range([point("a", 1, 70, 200), point("b", 2, 80, 1)])
    assert (low, high) == (pytest.approx(60 - 1.8), pytest.approx(90 + 1.8))


def test_equal_costs_stand_side_by_side():
    moved = _side_by_side([50.0, 50.0, 52.0, 200.0])
    assert moved[3] == 200.0
    assert all(b - a >= 10 for a, b in itertools.pairwise(sorted(moved[:3])))
    assert sum(moved[:3]) / 3 == pytest.approx(152 / 3)


def test_forest_cuts_long_intervals_with_an_arrow():
    lines = [
        Difference(NAMES["a"], -1.0, -2.0, 0.5, "−1.0 ± 1.5", "a: text", False),
        Difference(NAMES["b"], -3.0, -400.0, 394.0, "−3 ± 397", "b: text", False),
        Difference(NAMES["c"], -2.0, None, None, "−2.0", "c: text", True),
    ]
    low, high = difference_range(lines)
    assert -12 < low < -3
    assert 0 < high < 8
    drawing = drawings(forest(lines, "difference", "alt"))[0]
    marks = {m.get("data-group"): m for m in drawing.iter("g") if m.get("class", "").startswith("mark")}
    paths = {
        label: [p.get("d") for p in m.iter("path") if p.get("class") == "interval"]
        for label, m in marks.items()
    }
    assert "v8" in paths["a"][0]
    assert "v8" not in paths["b"][0]
    assert paths["c"] == []
    hollow = {
        label: "hollow" in next(p.get("class") for p in m.iter("path") if "marker" in p.get("class"))
        for label, m in marks.items()
    }
    assert hollow == {"a": True, "b": True, "c": False}
    (zero,) = [line for line in drawing.iter("line") if line.get("class") == "zero"]
    assert at(marks["a"])[0] < float(zero.get("x1"))


def test_curves_draw_mean_and_band_and_carry_their_numbers():
    line = Line(NAMES["a"], (1, 2, 3), [1.0, 2.0, 3.0], [0.5, None, 2.5], [1.5, None, 3.5], ["1", "2", "<3"])
    markup = str(curves([line], "epoch", "loss", "alt"))
    drawing = drawings(markup)[0]
    (mean,) = [p.get("d") for p in drawing.iter("path") if p.get("class") == "line"]
    xs = [float(c.split(",")[0]) for c in mean.lstrip("M").split("L")]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    (band,) = [p.get("d") for p in drawing.iter("path") if p.get("class") == "band"]
    assert band.count(",") == 4  # two epochs have a band, with two edges each
    assert r"\u003c3" in markup  # no text can end the data block
    x = Scale(*map(float, drawing.get("data-x").split()))
    assert [x(1), x(2), x(3)] == pytest.approx(xs, abs=0.06)


def test_losses_over_decades_are_logarithmic_and_counts_start_at_zero():
    def line(values):
        return Line(NAMES["a"], (1, 2), values, [None] * 2, [None] * 2, ["", ""])

    assert value_scale([line([100.0, 0.1])], 100, 0).kind == "log"
    scale = value_scale([line([0.0, 26.0])], 100, 0)
    assert (scale.kind, scale.low) == ("linear", 0.0)


def test_markup_is_escaped():
    text = str(element("text", "<b>", aria_label='"x"', hidden=None))
    assert text == '<text aria-label="&#34;x&#34;">&lt;b&gt;</text>'
    assert path([(1.04, -0.01), (2.0, 3.25)]) == "M1,0L2,3.2"


def test_35_groups_look_different_as_points_and_as_lines():
    ids = identities(str(i) for i in range(35)).values()
    assert len({(i.colour, i.marker) for i in ids}) == 35
    assert len({(i.colour, i.dash) for i in ids}) == 35
