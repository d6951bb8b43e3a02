"""What a comparison says: plain frozen data that tables, exports, figures and reports are made of.

Nothing here computes. Qualities and costs stand in their own units; `Metric.scale` makes them percents for
display.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from integrand.record import RunRecord

from .measures import Metric
from .records.groups import DataKey, Group, LeftOut
from .statistics.estimates import Estimate, PairedDifference
from .statistics.probability import Improvement

Verdict = Literal["better", "worse", "tie", "untested"]


@dataclass(frozen=True)
class Difference:
    """Group `a` against group `b`, on the seeds that both have.

    Args:
        a: Label of the group.
        b: Label of the group that it is compared to.
        seeds: The common seeds.
        paired: Differences a - b; None where there is no common seed.
        p_t: Paired t test, Holm-corrected over `Part.tests`; None where there is no test.
        p_flip: Sign-flip test, Holm-corrected likewise.
        verdict: What is established about a: `better`, `worse`, `tie` (not told apart), or `untested` with
            fewer than two common seeds or outside the planned comparisons.
        improvement: P(a better than b) from all seeds of both, paired or not.
        sentence: The finding in words.
    """

    a: str
    b: str
    seeds: tuple[int, ...]
    paired: PairedDifference | None
    p_t: float | None
    p_flip: float | None
    verdict: Verdict
    improvement: Improvement
    sentence: str = ""


@dataclass(frozen=True)
class Curve:
    """A quantity over training, over the seeds of a group.

    Args:
        key: `quality`, `train_loss`, `nfe_forward` or `nfe_backward`.
        series: Name of the recorded series, such as `val/acc`.
        epochs: Epochs (from 1) at which at least two seeds, or the only one, have a value; at most 60.
        mean: Mean over the seeds at each epoch.
        low: Lower end of the pointwise interval at each epoch; None with one seed.
        high: Upper end likewise.
        seeds: Every seed's own values at `epochs`; None where a run had ended before, or records nothing.
        method: How the band was made.
    """

    key: str
    series: str
    epochs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    seeds: Mapping[str, tuple[float | None, ...]]
    method: str


@dataclass(frozen=True)
class RunReach:
    """When one run reached the target, or how long it tried.

    Args:
        run_id: The run.
        seed: Its seed.
        reached: Whether it did.
        epoch: Epoch (from 1) of the first validation at or beyond the target, or of the last one.
        seconds: Seconds since the run's start, then.
        evaluations: Evaluations of the field, forward and backward, until then; None where not recorded.
    """

    run_id: str
    seed: int | None
    reached: bool
    epoch: float
    seconds: float
    evaluations: float | None


@dataclass(frozen=True)
class Reach:
    """How a group got to the target quality; runs that never did are right-censored, not dropped.

    Args:
        runs: Every run with a recorded series.
        reached: How many reached it.
        seconds: Seconds by which at least half of all runs had reached it; None where fewer ever did.
        evaluations: Likewise of the evaluations.
        epochs: Likewise of the epochs.
    """

    runs: tuple[RunReach, ...]
    reached: int
    seconds: float | None
    evaluations: float | None
    epochs: float | None


@dataclass(frozen=True)
class Target:
    """The quality whose time is measured.

    Args:
        value: In the metric's own unit.
        series: The recorded series that is watched, such as `val/acc`.
        chosen: Whether the reader named it.
        reason: Where it comes from, in words.
    """

    value: float
    series: str
    chosen: bool
    reason: str


@dataclass(frozen=True)
class Row:
    """One group with everything that is said about it alone.

    Args:
        group: Its runs.
        quality: Mean, median and interquartile mean with intervals.
        costs: By `Cost.key`, for every cost of `quantities.COSTS`; None where no run recorded it.
        difference: To the part's reference; None for the reference itself.
        curves: By `Curve.key`; only what was recorded.
        reach: None where no validation series was recorded or there is no target.
    """

    group: Group
    quality: Estimate
    costs: Mapping[str, Estimate | None]
    difference: Difference | None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    reach: Reach | None = None

    @property
    def label(self) -> str:
        """Name of the group."""
        return self.group.label


@dataclass(frozen=True)
class Sensitivity:
    """Discretisation sensitivity: the same checkpoints evaluated with another solver than they trained with.

    Args:
        label: The group that trained.
        trained_with: Its solver.
        evaluated_with: The other solver.
        metric: The quality; of a validation where the comparison's own metric is one.
        seeds: Seeds of the checkpoints.
        paired: Evaluation less training solver, checkpoint by checkpoint; positive is larger, not better.
        p_t: Paired t test, Holm-corrected over the sensitivities of the part.
        p_flip: Sign-flip test likewise.
        verdict: What is established about evaluating with the other solver.
        nfe_trained: Evaluations per test batch with the training solver; None where not recorded.
        nfe_evaluated: Likewise with the other.
        sentence: The finding in words.
        runs: The evaluations, in the order of the pairs.
    """

    label: str
    trained_with: str
    evaluated_with: str
    metric: Metric
    seeds: tuple[int | None, ...]
    paired: PairedDifference
    p_t: float | None
    p_flip: float | None
    verdict: Verdict
    nfe_trained: Estimate | None
    nfe_evaluated: Estimate | None
    sentence: str = ""
    runs: tuple[RunRecord, ...] = ()


@dataclass(frozen=True)
class Part:
    """The groups that share their data, best first.

    Args:
        data: What they share.
        rows: One per group, best mean first.
        reference: Label of the group that `Row.difference` is taken to.
        chosen: Whether the reader named the reference; otherwise it is the best mean.
        pairs: Every pair of groups, the better mean as `a`; with very many groups only those with the
            reference.
        tests: How many tests Holm's correction covers, and which, in words.
        pareto: By `Cost.key`, labels of the groups that no other group beats in both, cheapest first.
        target: The target quality; None where no validation series was recorded.
        sensitivity: Evaluations of the same checkpoints with other solvers.
    """

    data: DataKey
    rows: tuple[Row, ...]
    reference: str
    chosen: bool
    pairs: tuple[Difference, ...] = ()
    tests: str = ""
    pareto: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    target: Target | None = None
    sensitivity: tuple[Sensitivity, ...] = ()

    def row(self, label: str) -> Row:
        """The row of a group."""
        return next(row for row in self.rows if row.label == label)


@dataclass(frozen=True)
class OverallRow:
    """One group over several data sets.

    Args:
        label: The group.
        n: Runs per data set, in the order of `Overall.data`.
        quality: Over all runs, the data sets weighing equally, intervals by stratified bootstrap; None where
            the metric has no common scale over data sets.
        improvement: P(group better than the reference), averaged over the data sets; None for the reference.
    """

    label: str
    n: tuple[int, ...]
    quality: Estimate | None
    improvement: Improvement | None


@dataclass(frozen=True)
class Overall:
    """The groups that every one of several data sets has; the data sets are the strata.

    Args:
        data: Names of the data sets.
        rows: Best first.
        reference: Label of the group that `improvement` is taken to.
        absent: Groups that are not in it, because some data set lacks them.
        note: What is averaged, in words.
    """

    data: tuple[str, ...]
    rows: tuple[OverallRow, ...]
    reference: str
    absent: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Comparison:
    """The answer to one `integrand compare`.

    Args:
        title: What was compared, such as the experiment.
        metric: The quality.
        parts: One per data set; runs on different data are never in one table.
        left_out: Runs that are in no mean, each with its reason.
        notes: What a reader must know to read the tables honestly.
        overall: Over the data sets, where there are several with common groups.
    """

    title: str
    metric: Metric
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    overall: Overall | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The findings in words: every group against its reference, then the evaluations at other solvers."""
        found = [row.difference.sentence for part in self.parts for row in part.rows if row.difference]
        return (*found, *(s.sentence for part in self.parts for s in part.sensitivity))
