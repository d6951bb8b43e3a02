"""The page of every group: what it is, how its seeds went, what it drew, how it was configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice

import yaml
from markupsafe import Markup

from integrand.comparison.measures import COSTS, Metric
from integrand.comparison.results import Comparison, Part, Row
from integrand.comparison.statistics.estimates import Estimate
from integrand.comparison.tables import formatting
from integrand.comparison.tables.table import Cell, Column, Table
from integrand.record import RunRecord

from .cards import cards
from .commands import run_command
from .equations import mathml
from .identity import Identity
from .page import FamilyPart, FamilyView
from .part_figures import seed_curve
from .pictures import Album
from .wording import enumeration, minus

MOST_SECTIONS = 100
"""Sections that keep a page below its 10 MB whatever they hold."""


def family_views(comparison: Comparison, ids: Mapping[str, Identity], album: Album) -> tuple[FamilyView, ...]:
    """One per group, in the order of `ids`; with very many groups only the best, the tables have all."""
    ids = dict(islice(ids.items(), MOST_SECTIONS))
    metric = comparison.metric
    rows = [(part, row) for part in comparison.parts for row in part.rows if row.label in ids]
    typical = {id(row): typical_run(row, metric) for _, row in rows}
    pictures = album.collect(list(typical.values()))
    views = []
    for label, identity in ids.items():
        own = [(part, row) for part, row in rows if row.label == label]
        runs = [run for _, row in own for run in row.group.runs]
        card = cards().get(runs[0].family)
        parts = tuple(
            _part(part, row, identity, metric, typical[id(row)], *pictures[typical[id(row)].run_id], number)
            for number, (part, row) in enumerate(own)
        )
        equation = mathml(card.equation) if card and card.equation else Markup("")
        views.append(FamilyView(identity, card, equation, _solver(runs), parts))
    return tuple(views)


def typical_run(row: Row, metric: Metric) -> RunRecord:
    """The run whose quality is nearest to the group's median: neither the best nor the worst picture."""
    return min(
        row.group.runs,
        key=lambda run: (abs((metric.of(run) or 0.0) - row.quality.median), run.seed or 0, run.run_id),
    )


def _part(
    part: Part,
    row: Row,
    identity: Identity,
    metric: Metric,
    run: RunRecord,
    pictures: tuple,  # type: ignore[type-arg]
    left_out: int,
    number: int,
) -> FamilyPart:
    key = f"{identity.anchor}-{number + 1}"
    curve = row.curves.get("quality")
    unit = " %" if metric.percent else ""
    return FamilyPart(
        part.data.title,
        f"{minus(formatting.quality(row.quality, metric.scale))}{unit}",
        _seeds(f"{key}-seeds", row, metric),
        seed_curve(f"{key}-curve", metric, curve, identity, part.data.title) if curve else None,
        run.run_name or run.run_id[:8],
        pictures,
        left_out,
        yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=100) if run.config else "",
        run_command(run),
    )


def _seeds(key: str, row: Row, metric: Metric) -> Table:
    """Every run of the group."""
    shown = [cost for cost in COSTS if row.costs.get(cost.key)]
    rows = tuple(
        (
            Cell("?" if run.seed is None else str(run.seed), run.seed),
            Cell(value(metric.of(run), metric.scale), metric.of(run)),
            *(single_cost(cost.key, cost.of(run)) for cost in shown),
        )
        for run in row.group.runs
    )
    columns = (Column("seed"), Column(metric.label), *(Column(cost.label) for cost in shown))
    return Table(key, f"Seeds of {row.label}", columns, rows)


def value(quality: float | None, scale: float) -> str:
    """One run's quality."""
    if quality is None:
        return formatting.MISSING
    return minus(f"{scale * quality:.2f}" if scale == 100 else f"{quality:.4g}")


def single_cost(key: str, found: float | None) -> Cell:
    """One run's cost."""
    if found is None:
        return Cell(formatting.MISSING)
    alone = Estimate(found, None, None, 1, None, found, found, "")
    return Cell(formatting.cost(key, alone), found)


def _solver(runs: list[RunRecord]) -> str:
    """The solvers and gradients of the runs."""
    found = Counter(
        f"{run.solver}{f', gradients by {run.gradient}' if run.gradient else ''}"
        for run in runs
        if run.solver
    )
    return enumeration([text for text, _ in found.most_common(3)])
