"""The matrix of probabilities of improvement, a table by nature."""

from __future__ import annotations

from integrand.comparison.results import Part
from integrand.comparison.statistics.probability import Improvement

from .page import Matrix, MatrixCell

LARGEST = 40
"""Groups beyond which nobody reads a matrix."""


def matrix(part: Part) -> Matrix | None:
    """P(row better than column) for every pair of groups; None where the pairs were not computed."""
    labels = [row.label for row in part.rows]
    known: dict[tuple[str, str], Improvement] = {}
    for pair in part.pairs:
        known[pair.a, pair.b] = pair.improvement
        known[pair.b, pair.a] = pair.improvement.reversed
    if len(labels) < 2 or len(labels) > LARGEST or len(known) < len(labels) * (len(labels) - 1):
        return None
    cells = tuple(tuple(_cell(a, b, known.get((a, b))) for b in labels) for a in labels)
    methods = sorted({found.method for found in known.values()})
    note = (
        "Share of pairs of runs, one of each group, in which the row's run is better, in per cent; ties "
        f"count half. Read across: a dark blue row wins. Intervals: {'; '.join(methods)}."
    )
    return Matrix(tuple(labels), cells, note)


def _cell(a: str, b: str, found: Improvement | None) -> MatrixCell:
    if found is None:
        return MatrixCell("", 0, "")
    p = found.probability
    between = (
        f", interval {100 * found.low:.0f} to {100 * found.high:.0f}"
        if found.low is not None and found.high is not None
        else ""
    )
    title = f"{a} better than {b}: {100 * p:.0f} %{between}"
    return MatrixCell(f"{100 * p:.0f}", round((p - 0.5) * 10), title)
