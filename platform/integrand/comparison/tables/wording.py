"""Findings in words, one sentence each; they claim what the tests established and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..measures import NFE_BACKWARD, NFE_FORWARD, SECONDS_PER_EPOCH, Metric
from ..statistics.estimates import Estimate
from . import formatting

if TYPE_CHECKING:
    from ..results import Difference, Sensitivity

Costs = Mapping[str, Estimate | None]
SAME = 0.02
"""Ratios of costs within this of 1 are called the same."""


def pair_sentence(found: Difference, metric: Metric, costs_a: Costs, costs_b: Costs) -> str:
    """Such as `A is better than B by 1.2 ± 0.4 points (…), at 2.3× the evaluations`.

    Args:
        found: The difference.
        metric: The quality.
        costs_a: Mean costs of `found.a`.
        costs_b: Mean costs of `found.b`.
    """
    a, b, paired = found.a, found.b, found.paired
    if paired is None:
        return f"{a} and {b} have no seed in common, so no difference between them is tested."
    n = paired.estimate.n
    if n < 2:
        return f"{a} and {b} share one seed only, so no difference between them is tested."
    if found.verdict == "untested":
        return f"{a} and {b} are not among the planned comparisons; their difference is not tested."
    chance = f"P({a} better) = {formatting.probability(found.improvement)}"
    evidence = f"{n} seeds, {_p(found.p_t, found.p_flip)}, {chance}"
    price = price_words(costs_a, costs_b)
    price = f", {price}" if price else ""
    if found.verdict == "tie":
        open_range = _signed(paired.estimate, metric)
        return f"No difference is established between {a} and {b} ({open_range}, {evidence}){price}."
    word = found.verdict
    return f"{a} is {word} than {b} by {_size(paired.estimate, metric)} ({evidence}){price}."


def sensitivity_sentence(found: Sensitivity) -> str:
    """Such as `Evaluated with X instead of Y, A loses 1.2 ± 0.4 points (…), at 0.5× the evaluations`."""
    estimate, metric = found.paired.estimate, found.metric
    head = f"Evaluated with {found.evaluated_with} instead of {found.trained_with}, {found.label}"
    checkpoints = f"{estimate.n} checkpoint{'s' if estimate.n > 1 else ''}"
    evidence = f"{checkpoints}, {_p(found.p_t, found.p_flip)}" if estimate.n > 1 else checkpoints
    price = ratio(found.nfe_evaluated, found.nfe_trained, "the evaluations per test batch")
    price = f", at {price}" if price else ""
    if found.verdict == "untested":
        change = formatting.difference(estimate, metric.scale)
        return f"{head} changes by {change} {_unit(metric)} ({evidence}; not tested){price}."
    if found.verdict == "tie":
        change = f"{_signed(estimate, metric)}, {evidence}"
        return f"{head} neither gains nor loses as far as is established ({change}){price}."
    verb = "gains" if found.verdict == "better" else "loses"
    return f"{head} {verb} {_size(estimate, metric)} ({evidence}){price}."


def price_words(a: Costs, b: Costs) -> str:
    """What A costs against B per training batch and epoch: `at 2.3× the evaluations and 1.8× the time`."""
    parts = [
        ratio(_evaluations(a), _evaluations(b), "the evaluations"),
        ratio(a.get(SECONDS_PER_EPOCH.key), b.get(SECONDS_PER_EPOCH.key), "the time per epoch"),
    ]
    known = [part for part in parts if part]
    return f"at {' and '.join(known)}" if known else ""


def ratio(a: Estimate | None, b: Estimate | None, what: str) -> str:
    """A cost in multiples of another, in words; empty where either is unknown or both are zero."""
    if a is None or b is None or (a.mean == 0 and b.mean == 0):
        return ""
    if b.mean == 0:
        return f"{formatting.number(a.mean)} evaluations against none" if "evaluations" in what else ""
    times = a.mean / b.mean
    if times == 0:
        return what.replace("the ", "no ", 1)
    return (
        what.replace("the ", "the same ", 1)
        if abs(times - 1) <= SAME
        else f"{formatting.times(times)} {what}"
    )


def _evaluations(costs: Costs) -> Estimate | None:
    """Forward and backward evaluations of a training batch together."""
    forward, backward = costs.get(NFE_FORWARD.key), costs.get(NFE_BACKWARD.key)
    if forward is None:
        return None
    return replace(forward, mean=forward.mean + (backward.mean if backward else 0.0))


def _size(value: Estimate, metric: Metric) -> str:
    """The amount of a difference without its sign."""
    shown = value if value.mean >= 0 else value.negated
    return f"{formatting.quality(shown, metric.scale)} {_unit(metric)}"


def _signed(value: Estimate, metric: Metric) -> str:
    return f"{formatting.difference(value, metric.scale)} {_unit(metric)}"


def _unit(metric: Metric) -> str:
    return "points" if metric.percent else f"in {metric.name}"


def _p(p_t: float | None, p_flip: float | None) -> str:
    """The p value that decided."""
    p = p_flip if p_t is None else p_t
    text = formatting.p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"
