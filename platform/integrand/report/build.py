"""From a comparison to the page's model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from integrand.comparison.measures import COSTS
from integrand.comparison.records.groups import LeftOut
from integrand.comparison.results import Comparison, Part
from integrand.comparison.tables.contents import comparison_tables, part_tables
from integrand.comparison.tables.table import Cell, Column, Table
from integrand.record import RunRecord
from integrand.version import __version__

from .commands import reproduction
from .families import family_views, single_cost, value
from .identity import Identity, identities
from .matrix import matrix
from .methods import methods
from .page import Page, PartView
from .part_figures import EVALUATIONS, TRAINING, cost_figures, curve_figures, difference_figure
from .pictures import Album, Locate, nowhere
from .provenance import environment
from .summary import findings, health
from .wording import minus, plural


def build_page(
    comparison: Comparison,
    locate: Locate = nowhere,
    command: Sequence[str] = (),
    now: datetime | None = None,
) -> Page:
    """The page of a comparison.

    Args:
        comparison: What is reported.
        locate: Finds the artifacts of a run.
        command: The words after `integrand report`.
        now: The time that the page says it was made; None takes the clock's.
    """
    runs = [run for part in comparison.parts for row in part.rows for run in row.group.runs]
    ids = identities(row.label for part in comparison.parts for row in part.rows)
    made = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    tables = {table.key: table for table in comparison_tables(comparison)}
    families = family_views(comparison, ids, Album(locate))
    return Page(
        title=comparison.title or "Comparison",
        subtitle=_subtitle(comparison, len(ids)),
        made=f"Made {made} with Integrand {__version__}",
        facts=_facts(comparison, runs, len(ids)),
        findings=findings(comparison),
        overall=tables.get("overall"),
        further=tuple(minus(s.sentence) for part in comparison.parts for s in part.sensitivity if s.sentence),
        health=health(comparison.left_out, len(runs)),
        parts=tuple(_part(number, part, comparison, ids) for number, part in enumerate(comparison.parts)),
        families=families,
        more_families=len(ids) - len(families),
        runs=_runs(comparison),
        left_out=_left_out(comparison.left_out) if comparison.left_out else None,
        environment=environment(runs),
        commands=reproduction(runs, command, comparison.title),
        notes=tuple(minus(note) for note in comparison.notes),
        methods=methods(comparison),
        identities=ids,
    )


def _subtitle(comparison: Comparison, groups: int) -> str:
    names = ", ".join(dict.fromkeys(part.data.title for part in comparison.parts))
    wanted = "smaller" if comparison.metric.mode == "min" else "larger"
    on = f" on {names}" if names else ""
    return f"{plural(groups, 'group')}{on}, compared by {comparison.metric.name}; {wanted} is better."


def _facts(comparison: Comparison, runs: Sequence[RunRecord], groups: int) -> tuple[tuple[str, str], ...]:
    """Headline numbers."""
    seeds = {run.seed for run in runs if run.seed is not None}
    hours = sum((run.ended - run.started) for run in runs if run.ended) / 3600
    time = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    lost = sum(item.kind in {"failed", "unusable", "missing"} for item in comparison.left_out)
    facts = [
        (f"{groups:,}", "group" if groups == 1 else "groups"),
        (f"{len(runs):,}", "run counted" if len(runs) == 1 else "runs counted"),
        (f"{len(seeds):,}", "seed" if len(seeds) == 1 else "seeds"),
        (time, "of training"),
        (f"{lost:,}", "failed or missing"),
    ]
    if len(comparison.parts) > 1:
        facts.insert(1, (f"{len(comparison.parts):,}", "data sets"))
    return tuple(facts)


def _part(number: int, part: Part, comparison: Comparison, ids: dict[str, Identity]) -> PartView:
    key = f"data-{number + 1}"
    tables = {table.key: table for table in part_tables(comparison, part)}
    table = tables.pop("differences", None)
    return PartView(
        key,
        str(part.data),
        part.data.title,
        tables,
        cost_figures(f"{key}-cost", comparison, part, ids),
        difference_figure(f"{key}-differences", comparison, part, ids, table) if table else None,
        matrix(part),
        curve_figures(f"{key}-curve", comparison, part, ids, TRAINING),
        curve_figures(f"{key}-curve", comparison, part, ids, EVALUATIONS),
    )


def _runs(comparison: Comparison) -> Table:
    """Every run that counts."""
    metric, parts = comparison.metric, comparison.parts
    several = len(parts) > 1
    shown = [cost for cost in COSTS if any(row.costs.get(cost.key) for part in parts for row in part.rows)]
    columns = (
        Column("group", False),
        *([Column("data", False)] if several else []),
        Column("seed"),
        Column(metric.label),
        *(Column(cost.label) for cost in shown),
        Column("started", False),
        Column("run", False),
    )
    rows = tuple(
        (
            Cell(row.label, row.label),
            *([Cell(part.data.title, part.data.title)] if several else []),
            Cell("?" if run.seed is None else str(run.seed), run.seed),
            Cell(value(metric.of(run), metric.scale), metric.of(run)),
            *(single_cost(cost.key, cost.of(run)) for cost in shown),
            Cell(_date(run.started), run.started),
            Cell(run.run_id[:8], run.run_id),
        )
        for part in parts
        for row in part.rows
        for run in row.group.runs
    )
    return Table("runs", "Runs in the means", columns, rows)


def _left_out(items: Sequence[LeftOut]) -> Table:
    """Runs that are in no mean, each with its reason."""
    rows = tuple(
        (
            Cell(item.label, item.label),
            Cell("?" if item.seed is None else str(item.seed), item.seed),
            Cell(item.kind, item.kind),
            Cell(item.reason, item.reason),
            Cell(item.run.run_id[:8] if item.run else "–", item.run.run_id if item.run else None),
        )
        for item in items
    )
    heads = ("group", "seed", "kind", "why", "run")
    columns = tuple(Column(head, numeric=head == "seed") for head in heads)
    return Table("left-out", "Runs in no mean", columns, rows)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else "–"
