"""Samplers × evaluations: means over models that differ by seed, and paired tests against a baseline."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from integrand.errors import UsageError
from integrand.quantities import mode_of

from ..measures import Metric
from ..records.group_labels import group_labels
from ..records.groups import DataKey
from ..results import Verdict
from ..statistics.estimates import Estimate, PairedDifference, estimate, holm, paired_difference
from ..statistics.verdicts import verdict
from .load import SampleScore

NEAR = 0.10
"""A sampler has settled where its mean is within this share of its best one."""


@dataclass(frozen=True)
class Cell:
    """One sampler at one budget.

    Args:
        sampler: Its label.
        budget: Evaluations per sample that were allowed.
        values: Score by training seed; a mean over seeds of the samples where there are several.
        estimate: Of the values; None where every model failed.
        nfe: Mean of the evaluations spent.
        seconds: Mean time for all samples of a model.
        failed: Models with samples that were not finite; they have no score.
        paired: Differences to the baseline at the same budget; None for the baseline itself and where no
            model has both.
        p: Of the paired t test, Holm-corrected over the samplers at this budget.
        verdict: What that establishes.
    """

    sampler: str
    budget: int
    values: Mapping[int, float]
    estimate: Estimate | None
    nfe: float
    seconds: float
    failed: int
    paired: PairedDifference | None = None
    p: float | None = None
    verdict: Verdict = "untested"


@dataclass(frozen=True)
class SamplerPart:
    """One model, or several that differ by seed, all scored alike.

    Args:
        model: Its label.
        data: The data.
        n: Number of samples behind a score.
        models: Training seeds.
        floor: What data score against data, mean over the models.
        cells: By sampler and budget.
        samplers: Labels, best first by mean rank over the budgets.
        budgets: In ascending order.
        baseline: Sampler that differences are taken to.
    """

    model: str
    data: DataKey
    n: int
    models: tuple[int, ...]
    floor: float | None
    cells: Mapping[tuple[str, int], Cell]
    samplers: tuple[str, ...]
    budgets: tuple[int, ...]
    baseline: str

    def settles(self, sampler: str, metric: Metric) -> int | None:
        """The smallest budget whose mean is within `NEAR` of the sampler's best one; None without a score."""
        means = {
            b: c.estimate.mean for (s, b), c in self.cells.items() if s == sampler and c.estimate is not None
        }
        if not means:
            return None
        best = min(means.values()) if metric.mode == "min" else max(means.values())
        share = 1 + NEAR if metric.mode == "min" else 1 - NEAR
        return min(b for b, mean in means.items() if mean == best or metric.better(mean, share * best))


@dataclass(frozen=True)
class SamplerComparison:
    """Everything that was compared.

    Args:
        metric: The score.
        parts: By model and data.
        scores: What the means were made of.
        notes: What a reader must know.
    """

    metric: Metric
    parts: tuple[SamplerPart, ...]
    scores: tuple[SampleScore, ...]
    notes: tuple[str, ...] = field(default=())


def compare_samplers(
    scores: Sequence[SampleScore], metric: str | None = None, baseline: str | None = None
) -> SamplerComparison:
    """Compare samplers by model.

    Of several samplings of one model by the same sampler, budget and seed, and of several models of one
    configuration and training seed, the latest counts. Models that differ by seed alone are repetitions;
    their seeds pair the samplers.

    Args:
        scores: What was sampled.
        metric: Name of the score or its beginning, such as `FD`; the first that was recorded by default.
        baseline: Sampler that the others are tested against; `ddim`, or else the first by name.

    Raises:
        UsageError: No such score or sampler.
    """
    labels, notes = _models(scores)
    groups: dict[tuple[str, DataKey, str, int], list[SampleScore]] = defaultdict(list)
    for s in scores:
        name = _score_name(s, metric)
        if name:
            groups[labels[s.model.run_id], DataKey.of(s.model), name, s.n].append(s)
    if not groups:
        known = sorted({name for s in scores for name in s.scores})
        raise UsageError(f"no score is called {metric!r}", f"recorded are {', '.join(known)}")
    first = min(name for _, _, name, _ in groups)
    chosen = Metric(first.partition("-")[0], mode_of(first), percent=False)
    parts = []
    for (label, data, name, n), found in sorted(groups.items(), key=lambda item: str(item[0])):
        models = _latest_models(found)
        kept = _latest([s for s in found if s.model.run_id in models])
        title = f"{label}, {name}" if len({g[2] for g in groups}) > 1 else label
        parts.append(_part(title, data, name, n, kept, chosen, baseline))
        if superseded := len(found) - len(kept):
            notes.append(
                f"{label}: {superseded} samplings, or their models, were repeated later and do not count"
            )
    digests = {name for _, _, name, _ in groups}
    if len(digests) > 1:
        notes.append(f"scores of different names ({', '.join(sorted(digests))}) say nothing about each other")
    return SamplerComparison(chosen, tuple(parts), tuple(scores), tuple(notes))


def _models(scores: Iterable[SampleScore]) -> tuple[dict[str, str], list[str]]:
    """Label of every training run."""
    models = {s.model.run_id: s.model for s in scores}
    return group_labels(list(models.values()), "config", {k: DataKey.of(r) for k, r in models.items()})


def _score_name(score: SampleScore, wanted: str | None) -> str:
    """The full name, with the digest of what computed it; empty where this run lacks the score.

    A failed sampling has no scores, but it has floors.
    """
    names = list(score.floors)
    if wanted is None:
        return names[0] if names else ""
    exact = [n for n in names if n == wanted]
    return next(iter(exact or [n for n in names if n.partition("-")[0] == wanted]), "")


def _latest_models(scores: Iterable[SampleScore]) -> set[str]:
    """Of several training runs with one seed, the latest."""
    kept = {}
    for s in sorted(scores, key=lambda s: (s.model.started, s.model.run_id)):
        kept[s.model.seed] = s.model.run_id
    return set(kept.values())


def _latest(scores: Iterable[SampleScore]) -> list[SampleScore]:
    kept = {}
    for s in sorted(scores, key=lambda s: (s.started, s.run_id)):
        kept[s.model.run_id, s.sampler, s.setting, s.budget, s.seed] = s
    return list(kept.values())


def _part(
    label: str,
    data: DataKey,
    name: str,
    n: int,
    scores: Sequence[SampleScore],
    metric: Metric,
    baseline: str | None,
) -> SamplerPart:
    label_of = _sampler_labels(scores)
    found: dict[tuple[str, int], list[SampleScore]] = defaultdict(list)
    for s in scores:
        found[label_of[s.run_id], s.budget].append(s)
    cells = {key: _cell(*key, group, name) for key, group in found.items()}
    samplers = sorted({sampler for sampler, _ in cells})
    if baseline is not None and baseline not in samplers:
        raise UsageError(f"no sampler of {label} is called {baseline!r}", f"sampled by {', '.join(samplers)}")
    reference = baseline or ("ddim" if "ddim" in samplers else samplers[0])
    budgets = tuple(sorted({budget for _, budget in cells}))
    for budget in budgets:
        cells |= _tested([c for (_, b), c in cells.items() if b == budget], reference, metric)
    floors = [s.floors[name] for s in scores if name in s.floors]
    seeds = tuple(sorted({_seed(s) for s in scores}))
    ordered = tuple(sorted(samplers, key=lambda s: (_mean_rank(s, cells, budgets, metric), s)))
    floor = math.fsum(floors) / len(floors) if floors else None
    return SamplerPart(label, data, n, seeds, floor, cells, ordered, budgets, reference)


def _sampler_labels(scores: Sequence[SampleScore]) -> dict[str, str]:
    """By sampling run: the sampler, with its grid and guidance where one sampler had several of them."""
    settings: dict[str, set[str]] = defaultdict(set)
    for s in scores:
        settings[s.sampler].add(s.setting)
    return {
        s.run_id: f"{s.sampler} ({s.setting})" if len(settings[s.sampler]) > 1 and s.setting else s.sampler
        for s in scores
    }


def _seed(score: SampleScore) -> int:
    return -1 if score.model.seed is None else score.model.seed


def _cell(sampler: str, budget: int, scores: Sequence[SampleScore], name: str) -> Cell:
    by_seed: dict[int, list[float]] = defaultdict(list)
    for s in scores:
        if name in s.scores and math.isfinite(s.scores[name]):
            by_seed[_seed(s)].append(s.scores[name])
    # seeds of the samples are no repetitions of the model
    values = {seed: math.fsum(v) / len(v) for seed, v in sorted(by_seed.items())}
    return Cell(
        sampler,
        budget,
        values,
        estimate(list(values.values())) if values else None,
        math.fsum(s.nfe for s in scores) / len(scores),
        math.fsum(s.seconds for s in scores) / len(scores),
        sum(s.failed > 0 for s in scores),
    )


def _tested(cells: Sequence[Cell], baseline: str, metric: Metric) -> dict[tuple[str, int], Cell]:
    """The cells of one budget with their differences to the baseline."""
    reference = next((c for c in cells if c.sampler == baseline), None)
    if reference is None:
        return {}
    paired = {}
    for c in cells:
        common = sorted(c.values.keys() & reference.values.keys())
        if c.sampler != baseline and common:
            paired[c.sampler] = paired_difference(
                [c.values[s] for s in common], [reference.values[s] for s in common]
            )
    raw = {sampler: p.p_t for sampler, p in paired.items() if p.p_t is not None}
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    return {
        (c.sampler, c.budget): replace(
            c,
            paired=paired.get(c.sampler),
            p=corrected.get(c.sampler),
            verdict=verdict(paired.get(c.sampler), corrected.get(c.sampler), metric),
        )
        for c in cells
    }


def _mean_rank(
    sampler: str, cells: Mapping[tuple[str, int], Cell], budgets: Sequence[int], metric: Metric
) -> float:
    """Mean over the sampler's budgets of its place among those sampled there, from 0 best to 1 worst."""
    places = []
    for budget in budgets:
        means = {s: c.estimate.mean for (s, b), c in cells.items() if b == budget and c.estimate is not None}
        if sampler in means:
            ahead = sum(metric.better(m, means[sampler]) for m in means.values())
            places.append(ahead / max(1, len(means) - 1))
    return math.fsum(places) / len(places) if places else math.inf
