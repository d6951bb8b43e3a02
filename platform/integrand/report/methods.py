"""How the numbers were made, for readers who do not know the program."""

from __future__ import annotations

from collections.abc import Sequence

from integrand.comparison.results import Comparison, Part

_DIFFERENCES = """Means of the differences over common seeds. Equal seeds share what the seed decides, such as
the order of the data, so pairing removes that part of the scatter."""
_TESTS = """Paired t test, which assumes normal differences, and exact sign-flip test, which assumes
only symmetric ones; both with Holm's correction, which keeps the chance of any false
finding at 5 %. The verdict follows the t test. An interval of a difference is of that
comparison alone, not corrected for several."""
_TIES = """These seeds cannot tell the two from each other. That is no proof of equality: the interval
of the difference says how large a difference is still possible."""
_REFERENCE = """The best mean was chosen by the same data that the tests use. To test a claim that was made
before, name the reference with --baseline."""
_PARETO = """Groups whose means no other group beats in quality and in that cost together. It says
nothing about whether the differences along it are established."""
_NFE = """Evaluations of the field or residual function per training batch, rejected steps included,
as the mean over the last epoch; discrete networks count theirs the same way."""
_TARGET = """Medians are Kaplan–Meier estimates: a run that never got there counts as still under way at
its end, it is not dropped."""


def methods(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Term and explanation, only of what is on the page."""
    parts = comparison.parts
    kinds = sorted({row.quality.method for part in parts for row in part.rows})
    found = [("Intervals", f"{'; '.join(kinds)}. One seed has no interval.")] if kinds else []
    found += _on_differences(parts)
    if any(part.pareto for part in parts):
        found.append(("Pareto front", _PARETO))
    found.append(("Evaluations (NFE)", _NFE))
    found += _on_target(parts)
    return tuple((term, " ".join(text.split())) for term, text in found)


def _on_differences(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """How groups are compared, where there are several."""
    several = [part for part in parts if len(part.rows) > 1]
    if not several:
        return []
    found = [("Differences", _DIFFERENCES), ("Tests", _TESTS), ("Not established", _TIES)]
    if any(not part.chosen for part in several):
        found.append(("Reference", _REFERENCE))
    return found


def _on_target(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """How the time to the target is measured, where there is a target."""
    reasons = "; ".join(dict.fromkeys(part.target.reason for part in parts if part.target))
    return [("Time to target", f"The target is {reasons}. {_TARGET}")] if reasons else []
