"""The tables of a sampler comparison."""

from __future__ import annotations

from ..measures import Metric
from ..tables.formatting import MISSING, number, p_value, quality
from ..tables.table import Cell as TableCell
from ..tables.table import Column, Table
from .cells import NEAR, Cell, SamplerPart

_MARKS = {"better": " ▲", "worse": " ▼"}


def quality_table(part: SamplerPart, metric: Metric) -> Table:
    """Samplers by budgets, best first."""
    columns = [Column("sampler", numeric=False)]
    columns += [Column(f"NFE {budget}") for budget in part.budgets]
    columns.append(Column("settles", title=f"smallest NFE within {NEAR:.0%} of the sampler's best"))
    rows = []
    for sampler in part.samplers:
        cells = [part.cells.get((sampler, budget)) for budget in part.budgets]
        settles = part.settles(sampler, metric)
        rows.append(
            (
                TableCell(sampler, sampler),
                *(_quality(cell) for cell in cells),
                TableCell(MISSING if settles is None else str(settles), settles),
            )
        )
    return Table(
        "samplers",
        f"{metric.name} of {part.n:,} samples, {part.model} on {part.data.name}",
        tuple(columns),
        tuple(rows),
        _note(part, metric),
        part.samplers.index(part.baseline),
    )


def difference_table(part: SamplerPart, metric: Metric) -> Table:
    """Paired differences to the baseline that are established."""
    columns = ("NFE", "sampler", f"{metric.name} minus {part.baseline}'s", "p")
    rows = []
    for (sampler, budget), cell in sorted(part.cells.items(), key=lambda item: (item[0][1], item[0][0])):
        if cell.verdict in _MARKS and cell.paired is not None:
            found = cell.paired.estimate
            texts = (str(budget), sampler, quality(found), p_value(cell.p))
            values = (budget, sampler, found.mean, cell.p)
            rows.append(tuple(TableCell(t, v) for t, v in zip(texts, values, strict=True)))
    return Table(
        "differences",
        f"Established differences to {part.baseline}",
        tuple(Column(head, numeric=head != "sampler") for head in columns),
        tuple(rows),
        "Paired by training seed; t test, Holm-corrected over the samplers of one NFE.",
    )


def _quality(cell: Cell | None) -> TableCell:
    if cell is None:
        return TableCell(MISSING)
    failed = f" ({cell.failed} failed)" if cell.failed else ""
    if cell.estimate is None:
        return TableCell(f"{cell.failed} failed")
    return TableCell(quality(cell.estimate) + _MARKS.get(cell.verdict, "") + failed, cell.estimate.mean)


def _note(part: SamplerPart, metric: Metric) -> str:
    smaller = "Smaller is better." if metric.mode == "min" else "Larger is better."
    floor = "" if part.floor is None else f" Data against data: {number(part.floor)}."
    if len(part.models) < 2:
        return f"{smaller}{floor} One model: no interval, and no test of differences."
    return (
        f"{smaller}{floor} Means of {len(part.models)} models ± half the 95 % interval (Student t). ▲ ▼: "
        f"better, worse than {part.baseline} at this NFE, established at 5 % (paired t test, Holm over the "
        f"samplers). "
        f"Settles: smallest NFE whose mean lies within {NEAR:.0%} of the sampler's best."
    )
