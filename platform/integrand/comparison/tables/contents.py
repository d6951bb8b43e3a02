"""The tables of a comparison: what stands in which cell."""

from __future__ import annotations

from collections.abc import Sequence

from ..measures import COSTS, PEAK_MEMORY, Cost, Metric
from ..results import Comparison, Difference, Overall, Part, Reach, Row
from ..statistics.bootstrap import BOOTSTRAP_FROM
from ..statistics.estimates import Interval
from ..statistics.verdicts import ALPHA
from . import formatting
from .table import Cell, Column, Table

MARKS = {"tie": "≈", "better": "▲", "worse": "▼", "untested": "?"}
LEGEND = f"★ reference, ≈ tie: not told apart from it (p ≥ {ALPHA:g}), ▼ worse, ▲ better, ? not tested"
DAGGER = "†"
"""Marks a cost by which its group is on the Pareto front."""


def part_tables(comparison: Comparison, part: Part) -> tuple[Table, ...]:
    """The tables of one data set; those without rows are left out."""
    metric = comparison.metric
    tables = (
        quality_table(metric, part),
        cost_table(part),
        difference_table(metric, part),
        pair_table(metric, part),
        reach_table(metric, part),
        sensitivity_table(metric, part),
    )
    return tuple(table for table in tables if table.rows)


def comparison_tables(comparison: Comparison) -> tuple[Table, ...]:
    """The tables that belong to no single data set: all of them together, and the runs in no mean."""
    tables = (overall_table(comparison), left_out_table(comparison))
    return tuple(table for table in tables if table.rows)


def quality_table(metric: Metric, part: Part) -> Table:
    """Mean, median and interquartile mean of every group."""
    columns = (
        Column("group", False),
        Column("n", title="runs that count"),
        Column(f"mean {metric.label}", title="mean ± half width of its 95 % interval"),
        Column("", False, "against the reference"),
        Column("median", title="with its 95 % interval"),
        Column("IQM", title="interquartile mean, with its 95 % interval"),
        Column("sd", title="standard deviation over the seeds"),
    )
    rows = []
    for row in part.rows:
        q, scale = row.quality, metric.scale
        rows.append(
            (
                Cell(row.label, row.label),
                Cell(str(q.n), q.n),
                Cell(formatting.quality(q, scale), q.mean),
                Cell(_mark(row), _mark(row)),
                Cell(_with(formatting.value(q.median, q, scale), q.median_interval, scale), q.median),
                Cell(_with(formatting.value(q.iqm, q, scale), q.iqm_interval, scale), q.iqm),
                Cell(formatting.MISSING if q.sd is None else formatting.number(scale * q.sd), q.sd),
            )
        )
    wanted = "smaller" if metric.mode == "min" else "larger"
    methods = "; ".join(sorted({row.quality.method for row in part.rows}, reverse=True))
    few = any(row.quality.n < BOOTSTRAP_FROM for row in part.rows)
    note = (
        f"{wanted} is better; mean ± half width of its interval ({methods}). "
        + (f"Median and IQM have intervals from {BOOTSTRAP_FROM} runs on (bootstrap). " if few else "")
        + LEGEND
    )
    return Table("quality", str(part.data), columns, tuple(rows), note, _reference_index(part))


def cost_table(part: Part, costs: Sequence[Cost] = COSTS) -> Table:
    """Mean costs of every group; a cost that no run recorded has no column."""
    recorded = [c for c in costs if any(row.costs[c.key] for row in part.rows)]
    columns = [Column("group", False), *(Column(c.label, title=c.axis) for c in recorded)]
    rows = []
    for row in part.rows:
        cells = [Cell(row.label, row.label)]
        for cost in recorded:
            cells.append(_cost_cell(part, row, cost))
        rows.append(tuple(cells))
    note = (
        "Means over the seeds. NFE and VJPs: evaluations and vector-Jacobian products per batch. "
        f"{DAGGER} on the Pareto front of quality against this cost: no group has a better mean for less."
    )
    kind = " ".join(_memory_kinds(part)) if PEAK_MEMORY in recorded else ""
    shown = tuple(rows) if recorded else ()
    return Table("costs", "Costs", tuple(columns), shown, f"{note} {kind}".rstrip(), _reference_index(part))


def _cost_cell(part: Part, row: Row, cost: Cost) -> Cell:
    """The mean cost of a group, marked where it is on the Pareto front."""
    value = row.costs[cost.key]
    text = formatting.cost(cost.key, value)
    if row.label in part.pareto.get(cost.key, ()):
        text += f" {DAGGER}"
    return Cell(text, value.mean if value else None)


def difference_table(metric: Metric, part: Part) -> Table:
    """Every group against the reference."""
    rows = [_difference_cells(row.difference, row.label, metric) for row in part.rows if row.difference]
    return Table(
        "differences",
        f"Differences to {_reference(part)}, paired by seed",
        (Column("group", False), *_difference_columns(metric)),
        tuple(rows),
        _difference_note(part),
    )


def pair_table(metric: Metric, part: Part) -> Table:
    """Every pair of groups; empty with two groups, where the differences to the reference say it all."""
    found = part.pairs if len(part.rows) > 2 else ()
    rows = [(Cell(d.a, d.a), *_difference_cells(d, d.b, metric)) for d in found]
    columns = (Column("A", False), Column("B", False), *_difference_columns(metric))
    note = f"Difference A - B; marks say what is established about A. {_difference_note(part)}"
    return Table("pairs", "Every pair of groups", columns, tuple(rows), note)


def reach_table(metric: Metric, part: Part) -> Table:
    """Time, epochs and evaluations to the target."""
    target = part.target
    if target is None:
        return Table("reach", "Time to the target", (), ())
    columns = (
        Column("group", False),
        Column("reached", title="runs that reached it, of those with a recorded series"),
        Column("epochs", title="epoch by which half of the runs had reached it"),
        Column("time", title="time since the start of the run by which half had"),
        Column("evaluations", title="evaluations, forward and backward, by which half had"),
        Column("not reached", False, "seed and the epochs that it tried"),
    )
    rows = []
    for row in part.rows:
        if row.reach is not None:
            rows.append(_reach_cells(row.label, row.reach))
    value = formatting.number(metric.scale * target.value) + (" %" if metric.percent else "")
    note = (
        f"Target {value} of {target.series}, {target.reason}. Epochs, time since the start of the run "
        "(validation included) and evaluations by which at least half of all runs had reached it, those that "
        f"never did counted as the slowest; {formatting.MISSING} where fewer than half did."
    )
    return Table("reach", f"Time to {target.series} = {value}", columns, tuple(rows), note)


def _reach_cells(label: str, r: Reach) -> tuple[Cell, ...]:
    """How one group got to the target."""
    tried = [
        f"{'?' if x.seed is None else f'seed {x.seed}'}: > {formatting.number(x.epoch)}"
        for x in r.runs
        if not x.reached
    ]
    evaluations = None if r.evaluations is None else formatting.number(round(r.evaluations))
    return (
        Cell(label, label),
        Cell(f"{r.reached} of {len(r.runs)}", r.reached / len(r.runs)),
        Cell(formatting.MISSING if r.epochs is None else formatting.number(r.epochs), r.epochs),
        Cell(formatting.duration(r.seconds), r.seconds),
        Cell(evaluations or formatting.MISSING, r.evaluations),
        Cell(_some(tried), len(tried)),
    )


def sensitivity_table(metric: Metric, part: Part) -> Table:
    """The same checkpoints evaluated with other solvers."""
    unit = "points" if metric.percent else metric.name
    columns = (
        Column("group", False),
        Column("trained with", False),
        Column("evaluated with", False),
        Column("checkpoints"),
        Column(f"change ({unit}) ± 95 % CI", title="evaluation less training solver, same checkpoints"),
        Column("p, paired t (Holm)"),
        Column("p, sign flip (Holm)"),
        Column("", False),
        Column("NFE test", title="evaluations per test batch: training solver → evaluation solver"),
    )
    rows = []
    for s in part.sensitivity:
        nfe = [
            formatting.number(e.mean) if e else formatting.MISSING for e in (s.nfe_trained, s.nfe_evaluated)
        ]
        rows.append(
            (
                Cell(s.label, s.label),
                Cell(s.trained_with, s.trained_with),
                Cell(s.evaluated_with, s.evaluated_with),
                Cell(str(s.paired.estimate.n), s.paired.estimate.n),
                Cell(formatting.difference(s.paired.estimate, metric.scale), s.paired.estimate.mean),
                Cell(formatting.p_value(s.p_t), s.p_t),
                Cell(formatting.p_value(s.p_flip), s.p_flip),
                Cell(f"{MARKS[s.verdict]} {_established(s.verdict)}", s.verdict),
                Cell(" → ".join(nfe), s.nfe_evaluated.mean if s.nfe_evaluated else None),
            )
        )
    note = (
        "Discretisation sensitivity: a checkpoint's value with another solver less the run's own. "
        f"Intervals: {'; '.join(sorted({s.paired.estimate.method for s in part.sensitivity}))}; p corrected "
        "over the rows of this table."
    )
    return Table("sensitivity", "Evaluated with another solver", columns, tuple(rows), note)


def overall_table(comparison: Comparison) -> Table:
    """The groups over all data sets."""
    found, metric = comparison.overall, comparison.metric
    if found is None:
        return Table("overall", "", (), ())
    columns = [Column("group", False), Column("n", title="runs per data set")]
    if metric.percent:
        columns += [
            Column(f"mean {metric.label}"),
            Column("IQM", title="interquartile mean within each data set, averaged"),
        ]
    columns.append(Column(f"P(better than {found.reference})", title="averaged over the data sets"))
    rows = []
    for row in found.rows:
        cells = [Cell(row.label, row.label), Cell(" + ".join(map(str, row.n)), sum(row.n))]
        if (q := row.quality) is not None:
            iqm = _with(formatting.value(q.iqm, q, metric.scale), q.iqm_interval, metric.scale)
            cells += [Cell(formatting.quality(q, metric.scale), q.mean), Cell(iqm, q.iqm)]
        chance = row.improvement
        cells.append(
            Cell(formatting.probability(chance), chance.probability) if chance else Cell("★ reference")
        )
        rows.append(tuple(cells))
    title = f"Over {len(found.data)} data sets: {', '.join(found.data)}"
    return Table("overall", title, tuple(columns), tuple(rows), _overall_note(found), 0)


def _overall_note(found: Overall) -> str:
    """What is averaged, how the intervals are made, and which groups are not in the table."""
    methods = sorted({row.quality.method for row in found.rows if row.quality})
    methods += sorted({row.improvement.method for row in found.rows if row.improvement})
    absent = f" Not in all data sets: {', '.join(found.absent)}." if found.absent else ""
    return f"{found.note}; intervals: {'; '.join(methods)}.{absent}"


def left_out_table(comparison: Comparison) -> Table:
    """The runs that are in no mean, and why."""
    columns = (Column("group", False), Column("seed"), Column("run", False), Column("why", False))
    rows = []
    for item in comparison.left_out:
        name = "" if item.run is None else item.run.run_name or item.run.run_id
        rows.append(
            (
                Cell(item.label, item.label),
                Cell("?" if item.seed is None else str(item.seed), item.seed),
                Cell(name, name),
                Cell(item.reason, item.kind),
            )
        )
    return Table("left_out", "Runs that are in no mean", columns, tuple(rows))


def _difference_columns(metric: Metric) -> tuple[Column, ...]:
    unit = "Δ points" if metric.percent else "Δ"
    return (
        Column("seeds", title="seeds that both have"),
        Column(f"{unit} ± 95 % CI", title="mean paired difference"),
        Column("p, paired t (Holm)"),
        Column("p, sign flip (Holm)", title="exact up to 16 pairs"),
        Column("", False, "what is established"),
        Column("P(better)", title="probability of improvement with its 95 % interval"),
    )


def _difference_cells(found: Difference, label: str, metric: Metric) -> tuple[Cell, ...]:
    """One difference; the name of the group first."""
    chance = Cell(formatting.probability(found.improvement), found.improvement.probability)
    if found.paired is None:
        dash = Cell(formatting.MISSING)
        return (Cell(label, label), Cell("0", 0), dash, dash, dash, Cell("no common seed", ""), chance)
    estimate, flip = found.paired.estimate, formatting.p_value(found.p_flip)
    return (
        Cell(label, label),
        Cell(str(estimate.n), estimate.n),
        Cell(formatting.difference(estimate, metric.scale), estimate.mean),
        Cell(formatting.p_value(found.p_t), found.p_t),
        Cell(flip if found.paired.exact else f"{flip} (Monte Carlo)", found.p_flip),
        Cell(f"{MARKS[found.verdict]} {found.verdict}", found.verdict),
        chance,
    )


def _difference_note(part: Part) -> str:
    methods = sorted({d.paired.estimate.method for d in part.pairs if d.paired}, reverse=True)
    chance = part.pairs[0].improvement.method if part.pairs else ""
    return (
        f"Intervals of Δ: {'; '.join(methods) or 'none'}, each of its own. p: {part.tests}. "
        f"P(better): all pairs of runs, ties half; interval: {chance}."
    )


def _memory_kinds(part: Part) -> list[str]:
    names = {"resident_set": "the resident set", "cuda_allocated": "what PyTorch allocated on the GPU"}
    kinds = {str(r.provenance.get("peak_memory_kind", "")) for row in part.rows for r in row.group.runs}
    known = [names[kind] for kind in sorted(kinds) if kind in names]
    return [f"Peak memory: {' or '.join(known)}."] if known else []


def _mark(row: Row) -> str:
    return "★" if row.difference is None else MARKS[row.difference.verdict]


def _with(text: str, interval: Interval | None, scale: float) -> str:
    return text if interval is None else f"{text} {formatting.interval(interval, scale)}"


def _established(verdict: str) -> str:
    return {"better": "gains", "worse": "loses", "tie": "no change established"}.get(verdict, "not tested")


def _some(items: Sequence[str], most: int = 4) -> str:
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _reference(part: Part) -> str:
    return part.reference if part.chosen else f"{part.reference} (the best mean)"


def _reference_index(part: Part) -> int:
    return [row.label for row in part.rows].index(part.reference)
