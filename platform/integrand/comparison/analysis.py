"""From sorted runs to what can be said about them: estimates, costs, paired differences and ties."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from integrand.errors import UsageError
from integrand.record import RunRecord

from .groups import DataKey, Expected, Group, GroupBy, sort_runs
from .probability import improvement
from .quantities import COSTS, Cost, Metric
from .results import Comparison, Difference, Part, Row, Verdict
from .statistics import Estimate, PairedDifference, estimate, holm, paired_difference

ALPHA = 0.05


def compare(
    records: Sequence[RunRecord],
    metric: Metric,
    by: GroupBy = "family",
    baseline: str | None = None,
    title: str = "",
    expected: Sequence[Expected] = (),
) -> Comparison:
    """Compare recorded runs; the order of `records` does not change the result.

    Args:
        records: The runs, finished or not.
        metric: The quality.
        by: What a group is.
        baseline: Label of the group to take differences to; None takes the best of each table.
        title: What is compared.
        expected: Runs that a suite planned.

    Raises:
        UsageError: There is no group `baseline`.
    """
    result = sort_runs(records, metric, by, expected)
    labels = sorted({group.label for groups in result.parts.values() for group in groups})
    if baseline is not None and baseline not in labels:
        close = difflib.get_close_matches(baseline, labels, n=3, cutoff=0.4) or labels
        raise UsageError(f"no group is called {baseline!r}", f"--baseline takes one of: {', '.join(close)}")
    parts = tuple(_part(data, groups, metric, baseline) for data, groups in result.parts.items())
    notes = [*result.notes, *_notes(parts, baseline)]
    left_out = sorted(result.left_out, key=lambda o: o.order)
    return Comparison(title, metric, parts, tuple(left_out), tuple(notes))


def _part(data: DataKey, groups: Sequence[Group], metric: Metric, baseline: str | None) -> Part:
    """One table."""
    sign = 1 if metric.mode == "min" else -1
    quality = {group.label: estimate(group.values(metric)) for group in groups}
    ordered = sorted(groups, key=lambda g: (sign * quality[g.label].mean, g.label))
    chosen = baseline is not None and baseline in quality
    reference = next(g for g in ordered if g.label == baseline) if chosen else ordered[0]
    differences = _differences([g for g in ordered if g is not reference], reference, metric)
    rows = tuple(
        Row(
            group,
            quality[group.label],
            {cost.key: _cost(group, cost) for cost in COSTS},
            differences.get(group.label),
        )
        for group in ordered
    )
    return Part(data, rows, reference.label, chosen)


def _differences(groups: Sequence[Group], reference: Group, metric: Metric) -> dict[str, Difference]:
    """Every group against the reference, the p values corrected over all of them."""
    theirs = reference.by_seed(metric)
    seeds: dict[str, tuple[int, ...]] = {}
    paired: dict[str, PairedDifference] = {}
    for group in groups:
        own = group.by_seed(metric)
        common = tuple(sorted(own.keys() & theirs.keys()))
        seeds[group.label] = common
        if common:
            paired[group.label] = paired_difference([own[s] for s in common], [theirs[s] for s in common])
    t_tested = {label: p.p_t for label, p in paired.items() if p.p_t is not None}
    corrected_t = dict(zip(t_tested, holm(list(t_tested.values())), strict=True))
    corrected_flip = dict(zip(paired, holm([p.p_flip for p in paired.values()]), strict=True))
    return {
        group.label: Difference(
            group.label,
            reference.label,
            seeds[group.label],
            paired.get(group.label),
            corrected_t.get(group.label),
            corrected_flip.get(group.label),
            _verdict(
                paired.get(group.label),
                corrected_t.get(group.label, corrected_flip.get(group.label)),
                metric,
            ),
            improvement(group.values(metric), reference.values(metric), metric.mode == "max"),
        )
        for group in groups
    }


def _verdict(paired: PairedDifference | None, p: float | None, metric: Metric) -> Verdict:
    """Better, worse or tie, by the t test or, where it says nothing, by the sign-flip test."""
    if paired is None or paired.estimate.n < 2 or p is None:
        return "untested"
    if p >= ALPHA:
        return "tie"
    return "better" if metric.better(paired.estimate.mean, 0.0) else "worse"


def _cost(group: Group, cost: Cost) -> Estimate | None:
    """The cost over the runs that recorded it."""
    values = [value for run in group.runs if (value := cost.of(run)) is not None]
    return estimate(values) if values else None


def _device(run: RunRecord) -> str:
    """The name of the run's device, empty where it is not recorded."""
    device = run.provenance.get("device")
    return str(device.get("name") or "") if isinstance(device, dict) else ""


def _notes(parts: Sequence[Part], baseline: str | None) -> list[str]:
    """How far the tests can be trusted."""
    notes = []
    for part in parts:
        if baseline is not None and not part.chosen:
            notes.append(
                f"{part.data.name}: has no runs of {baseline}; the reference is the best, {part.reference}"
            )
        devices = {_device(run) for row in part.rows for run in row.group.runs} - {""}
        if len(devices) > 1:
            notes.append(
                f"{part.data.name}: seconds come from different devices: {', '.join(sorted(devices))}"
            )
        pairs = [r.difference.paired for r in part.rows if r.difference and r.difference.paired]
        few = [p for p in pairs if p.estimate.n >= 2 and p.p_floor >= ALPHA]
        if few:
            n, floor = max(p.estimate.n for p in few), min(p.p_floor for p in few)
            notes.append(
                f"{part.data.name}: with {n} common seeds the exact sign-flip test cannot go below "
                f"p = {floor:g}, even uncorrected; the t test decides, and it assumes normal differences"
            )
        if any(r.quality.n == 1 for r in part.rows):
            notes.append(f"{part.data.name}: groups with one seed have no interval and no test")
    return notes
