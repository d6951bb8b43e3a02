"""Every pair of groups: paired differences, tests corrected over all of them, probability of improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from ..measures import Metric
from ..records.groups import Group
from ..results import Difference, Verdict
from ..tables.wording import Costs, pair_sentence
from .estimates import PairedDifference, holm, paired_differences
from .probability import improvement
from .verdicts import verdict

Pair = tuple[str, str]
"""Labels of two groups."""

MAX_GROUPS = 40
"""Groups up to which every pair is compared, 780 pairs; beyond, only those with the reference."""


def compare_pairs(
    groups: Sequence[Group],
    reference: Group,
    planned: bool,
    metric: Metric,
    costs: Mapping[str, Costs],
) -> tuple[tuple[Difference, ...], str]:
    """All pairs, the earlier group as `a`, with p values that hold for all of them together.

    A reference that was named beforehand makes k - 1 planned comparisons, and Holm's correction covers those;
    the other pairs are described but not tested. A reference that is the best mean was chosen by the values
    that are tested: corrected over k - 1 tests only, ten equal groups would give a false finding in 10 % of
    the tables and forty in 19 to 25 %. Then the correction covers every pair, which holds for the chosen one
    too.

    Args:
        groups: Best first.
        reference: One of them.
        planned: Whether the reader named the reference.
        metric: The quality.
        costs: Mean costs by label.

    Returns:
        The pairs, and what the correction covers, in words.
    """
    values = {g.label: g.values(metric) for g in groups}
    by_seed = {g.label: g.by_seed(metric) for g in groups}
    chosen = _chosen([g.label for g in groups], reference.label)
    seeds = {(a, b): tuple(sorted(by_seed[a].keys() & by_seed[b].keys())) for a, b in chosen}
    paired = _paired(seeds, by_seed)
    tested = [pair for pair in paired if not planned or reference.label in pair]
    tests = _count(len(tested), len(groups), planned)
    p_t, p_flip = _corrected({pair: paired[pair] for pair in tested}, tests)
    found = []
    for pair in chosen:
        one = Difference(
            *pair,
            seeds[pair],
            paired.get(pair),
            p_t.get(pair),
            p_flip.get(pair),
            verdict(paired.get(pair), p_t.get(pair, p_flip.get(pair)), metric),
            improvement(values[pair[0]], values[pair[1]], metric.mode == "max"),
        )
        found.append(with_sentence(one, metric, costs))
    return tuple(found), _tests_in_words(tests, len(tested), planned, reference.label)


def _chosen(labels: Sequence[str], reference: str) -> list[Pair]:
    """The pairs that are compared."""
    everything = len(labels) <= MAX_GROUPS
    return [pair for pair in combinations(labels, 2) if everything or reference in pair]


def _paired(
    seeds: Mapping[Pair, Sequence[int]], by_seed: Mapping[str, Mapping[int, float]]
) -> dict[Pair, PairedDifference]:
    """The differences of the pairs that have common seeds."""
    common = [pair for pair, own in seeds.items() if own]
    rows = [[by_seed[a][s] - by_seed[b][s] for s in seeds[a, b]] for a, b in common]
    return dict(zip(common, paired_differences(rows), strict=True))


def _count(tested: int, groups: int, planned: bool) -> int:
    """Tests that the correction covers: also those not made, where the reference was chosen by its mean."""
    if planned or groups <= MAX_GROUPS:
        return tested
    return groups * (groups - 1) // 2


def with_sentence(found: Difference, metric: Metric, costs: Mapping[str, Costs]) -> Difference:
    """The difference with its finding in words."""
    return replace(found, sentence=pair_sentence(found, metric, costs[found.a], costs[found.b]))


def turned(found: Difference, metric: Metric, costs: Mapping[str, Costs]) -> Difference:
    """The same pair seen from the other group."""
    opposite: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
    other = replace(
        found,
        a=found.b,
        b=found.a,
        paired=found.paired.reversed if found.paired else None,
        verdict=opposite.get(found.verdict, found.verdict),
        improvement=found.improvement.reversed,
    )
    return with_sentence(other, metric, costs)


def _corrected(
    paired: Mapping[Pair, PairedDifference], tests: int
) -> tuple[dict[Pair, float], dict[Pair, float]]:
    """Holm's correction of both tests; Bonferroni's where more tests count than were made."""
    raw_t = {pair: p.p_t for pair, p in paired.items() if p.p_t is not None}
    raw_flip = {pair: p.p_flip for pair, p in paired.items()}
    if tests > len(paired):
        return (
            {pair: min(1.0, tests * p) for pair, p in raw_t.items()},
            {pair: min(1.0, tests * p) for pair, p in raw_flip.items()},
        )
    return tuple(dict(zip(raw, holm(list(raw.values())), strict=True)) for raw in (raw_t, raw_flip))  # type: ignore[return-value]  # two, as many as raw


def _tests_in_words(tests: int, made: int, planned: bool, reference: str) -> str:
    if not tests:
        return "no test"
    if planned:
        return f"Holm over the {tests} planned comparisons with {reference}"
    if tests > made:
        return f"Bonferroni over all {tests:,} pairs, since the reference was chosen by its mean"
    return (
        f"Holm over all {tests} pairs, since the reference was chosen by its mean"
        if tests > 1
        else "one test"
    )
