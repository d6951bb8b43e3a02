"""The result in words: what is established, what is not, by how many seeds and which method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from integrand.comparison.measures import COSTS, Cost, Metric
from integrand.comparison.records.groups import LeftOut
from integrand.comparison.results import Comparison, Difference, Part
from integrand.comparison.tables import formatting

from .page import Findings
from .wording import enumeration, minus, plural

NAMED = 8
"""Sentences of one kind before the rest is left to the tables."""


def findings(comparison: Comparison) -> tuple[Findings, ...]:
    """One per part."""
    return tuple(_findings(part, comparison.metric) for part in comparison.parts)


def _findings(part: Part, metric: Metric) -> Findings:
    kinds: dict[str, list[str]] = {"established": [], "open": [], "untested": []}
    for row in part.rows:
        found = row.difference
        if found is None:
            continue
        kind = {"better": "established", "worse": "established", "tie": "open"}.get(found.verdict, "untested")
        kinds[kind].append(minus(found.sentence or _sentence(found, metric)))
    return Findings(
        part.data.title,
        _lead(part, metric),
        _cut(kinds["established"]),
        _cut(kinds["open"]),
        _cut(kinds["untested"]),
        _fronts(part),
    )


def _lead(part: Part, metric: Metric) -> str:
    """Who has the best mean, from how many seeds, with what interval, and what it is compared by."""
    best = part.rows[0]
    value = minus(formatting.quality(best.quality, metric.scale))
    unit = " %" if metric.percent else ""
    wanted = "smallest" if metric.mode == "min" else "largest"
    text = (
        f"{best.label} has the {wanted} mean {metric.name}: {value}{unit} "
        f"({plural(best.quality.n, 'seed')}; {best.quality.method})."
    )
    if len(part.rows) == 1:
        return f"{text} It is the only group on these data, so there is nothing to compare it with."
    reference = "It is also the reference of the differences below"
    if part.reference != best.label:
        reference = f"The differences below are taken to {part.reference}"
    tests = f" ({part.tests})" if part.tests else ""
    return f"{text} {reference}: paired over equal seeds, Holm-corrected{tests}."


def _sentence(found: Difference, metric: Metric) -> str:
    """A difference in words, where the comparison has not written its own."""
    if found.paired is None:
        return f"{found.a} shares no seed with {found.b}."
    by = formatting.difference(found.paired.estimate, metric.scale)
    unit = " points" if metric.percent else ""
    names = {"better": "is better than", "worse": "is worse than", "tie": "is not told apart from"}
    verb = names.get(found.verdict, "was not tested against")
    return f"{found.a} {verb} {found.b}: {by}{unit} over {plural(found.paired.estimate.n, 'seed')}."


def _fronts(part: Part) -> tuple[str, ...]:
    """Who is on the Pareto fronts; costs with the same front share a sentence."""
    costs: dict[tuple[str, ...], list[str]] = {}
    for cost in COSTS:
        front = part.pareto.get(cost.key, ())
        if front and differs(part, cost):
            costs.setdefault(front, []).append(cost.label)
    return tuple(_front(front, names, part) for front, names in costs.items())


def _front(front: Sequence[str], names: Sequence[str], part: Part) -> str:
    if len(front) == 1:
        return f"{front[0]} has both the best mean quality and the best {enumeration(names)}."
    if len(front) == len(part.rows) > 2:
        return f"Every group is on the Pareto front against {enumeration(names)}: more buys better means."
    if len(front) > NAMED:
        return (
            f"{len(front)} of {len(part.rows)} groups are on the Pareto front against {enumeration(names)}."
        )
    return f"Along the Pareto front against {enumeration(names)}: {' → '.join(front)}."


def differs(part: Part, cost: Cost) -> bool:
    """Whether a cost tells any groups of the part apart."""
    means = {found.mean for row in part.rows if (found := row.costs.get(cost.key))}
    return len(means) > 1


def _cut(sentences: Sequence[str]) -> tuple[str, ...]:
    """The first sentences; how many more there are."""
    more = len(sentences) - NAMED
    if more <= 1:
        return tuple(sentences)
    return (*sentences[:NAMED], f"… and {more} more, in the table of differences.")


def health(left_out: Sequence[LeftOut], counted: int) -> str:
    """How many runs count and what became of the others, in one sentence."""
    head = f"{plural(counted, 'run')} {'counts' if counted == 1 else 'count'}."
    if not left_out:
        return f"{head} None failed, none is missing."
    names = {
        "failed": "did not finish",
        "unusable": "finished without the metric",
        "missing": "missing",
        "unplanned": "not of the latest plan",
        "superseded": "superseded by a later run of the same seed",
    }
    kinds = Counter(item.kind for item in left_out)
    parts = [f"{kinds[kind]:,} {text}" for kind, text in names.items() if kinds[kind]]
    return f"{head} In no mean: {enumeration(parts)}; each is listed with its reason."
