"""Sorts runs: which are comparable, which belong together, and which stay out of the means and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from integrand.record import RunRecord

from ..measures import Metric
from .group_labels import GroupBy, group_labels, told_apart

Members = dict["DataKey", dict[str, list[RunRecord]]]
"""Runs by data, then by label."""


@dataclass(frozen=True)
class Group:
    """Runs that differ only by seed.

    Args:
        label: Name in tables and figures.
        runs: Finished runs with the metric, one per seed, in order of seed.
    """

    label: str
    runs: tuple[RunRecord, ...]

    def by_seed(self, metric: Metric) -> dict[int, float]:
        """The metric by seed; runs without a recorded seed cannot be paired and are not in it."""
        pairs = [(run.seed, metric.of(run)) for run in self.runs]
        return {seed: value for seed, value in pairs if seed is not None and value is not None}

    def values(self, metric: Metric) -> list[float]:
        """The metric of every run, in order of seed."""
        return [value for run in self.runs if (value := metric.of(run)) is not None]


@dataclass(frozen=True)
class LeftOut:
    """A run that is in no mean.

    Args:
        kind: `failed` (in any way not finished), `pruned` by a sweep, `unusable`, `missing`, `unplanned`,
            `evaluation` (of another run's checkpoint, without a counterpart) or `superseded`.
        run: The run; None for one that is missing.
        label: The group it belongs to.
        seed: Its seed.
        reason: Why it is left out, in words.
    """

    kind: str
    run: RunRecord | None
    label: str
    seed: int | None
    reason: str

    @property
    def order(self) -> tuple[int, str, bool, int, str]:
        """Where it stands in a list: what went wrong first, what was replaced last."""
        kinds = ("failed", "pruned", "unusable", "missing", "unplanned", "evaluation", "superseded")
        run_id = self.run.run_id if self.run else ""
        return kinds.index(self.kind), self.label, self.seed is None, self.seed or 0, run_id


@dataclass(frozen=True)
class DataKey:
    """What must be equal for two runs to be comparable: the data set, its content and its size.

    Args:
        name: The data set.
        digest: Of its content.
        sizes: Of its splits.
        options: Settings that tell it from others of its name in the same comparison.
    """

    name: str
    digest: str
    sizes: tuple[int | None, ...]
    options: str = field(default="", compare=False)

    @classmethod
    def of(cls, run: RunRecord) -> DataKey:
        """The key of a run's data."""
        sizes = tuple(run.data.get(f"n_{part}") for part in ("train", "val", "test"))
        return cls(str(run.data.get("name") or "unknown data"), str(run.data.get("digest") or ""), sizes)

    @property
    def title(self) -> str:
        """Name and options."""
        return f"{self.name} {self.options}".rstrip()

    def __str__(self) -> str:
        counts = "/".join("?" if n is None else f"{n:,}" for n in self.sizes)
        sizes = f"{counts} train/val/test, " if any(self.sizes) else ""
        digest = self.digest.removeprefix("sha256:")[:12]
        return f"{self.title} ({sizes}digest {digest or 'not recorded'})"


@dataclass
class Sorted:
    """Runs by data, then by group; evaluations of other runs' checkpoints; and what is in no mean."""

    parts: dict[DataKey, list[Group]] = field(default_factory=dict)
    evaluations: list[RunRecord] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Expected:
    """A run that a suite planned; it is missing until a record with its key exists."""

    run_key: str
    label: str
    seed: int | None


def sort_runs(
    records: Iterable[RunRecord], metric: Metric, by: GroupBy = "config", expected: Sequence[Expected] = ()
) -> Sorted:
    """Sort runs into comparable groups. The order of `records` does not matter.

    Of several finished runs with the same seed in a group the latest counts. Where a suite left its plan,
    runs with other keys, made by other code or from another configuration, do not count. Without a plan, a
    seed that some group of the same data has and another lacks is missing, unless it is already listed.
    """
    everything = sorted(records, key=lambda r: (r.started, r.run_id))
    runs = [run for run in everything if evaluated_run(run) is None]
    result = Sorted(evaluations=[run for run in everything if evaluated_run(run) is not None])
    members = _members(result, runs, metric, by, {e.run_key for e in expected})
    for key in sorted(members, key=lambda k: (-sum(map(len, members[k].values())), str(k))):
        result.parts[key] = [_group(result, label, own) for label, own in sorted(members[key].items())]
    _note_data(result)
    result.left_out += _missing(result, runs, expected)
    return result


def _members(
    result: Sorted, runs: Sequence[RunRecord], metric: Metric, by: GroupBy, planned: set[str]
) -> Members:
    """The runs that count, by data and label; the others are added to those left out."""
    data = _data(runs)
    label_of = {run.run_id: run.family or run.model_class or "unknown family" for run in runs}
    # runs that do not count must not make a family look as if it had several configurations
    counted_labels, notes = group_labels([r for r in runs if not _is_unplanned(r, planned)], by, data)
    label_of |= counted_labels
    result.notes += notes
    members: Members = defaultdict(lambda: defaultdict(list))
    for run in runs:
        label = label_of[run.run_id]
        if (why := _why_not(run, metric, planned)) is not None:
            kind, reason = why
            result.left_out.append(LeftOut(kind, run, label, run.seed, reason))
        else:
            members[data[run.run_id]][label].append(run)
    return members


def _data(runs: Sequence[RunRecord]) -> dict[str, DataKey]:
    """The data of every run by run id, told apart where a name is not enough."""
    keys = {run.run_id: DataKey.of(run) for run in runs}
    configs: dict[str, dict[DataKey, Mapping[str, Any]]] = defaultdict(dict)
    for run in runs:
        key = keys[run.run_id]
        configs[key.name].setdefault(key, run.config.get("data") or {})
    options = {key: words for alike in configs.values() for key, words in told_apart(alike).items()}
    return {run_id: replace(key, options=options[key]) for run_id, key in keys.items()}


def _is_unplanned(run: RunRecord, planned: set[str]) -> bool:
    """Whether a suite left its plan, and the run was made for another one."""
    return bool(planned and run.run_key and run.run_key not in planned)


def _why_not(run: RunRecord, metric: Metric, planned: set[str]) -> tuple[str, str] | None:
    """Kind and reason of leaving a run out, None for one that counts."""
    if _is_unplanned(run, planned):
        return "unplanned", (
            f"{run.status.lower()}, but not of the suite's latest plan: other code or configuration"
        )
    if run.status != "FINISHED":
        return "failed", _failure(run)
    if run.stopped.get("by") == "pruner":
        return "pruned", f"pruned: {run.stopped.get('reason') or 'the sweep gave it up'}"
    if metric.of(run) is None:
        kept = "is not finite" if metric.name in run.metrics else "was not recorded"
        return "unusable", f"finished, but {metric.name} {kept}"
    return None


def _group(result: Sorted, label: str, runs: Sequence[RunRecord]) -> Group:
    """The group of one label; its superseded runs and what a reader must know are added to the result."""
    kept, older = _latest_per_seed(runs)
    result.left_out += [
        LeftOut("superseded", r, label, r.seed, "superseded: a later finished run has the same seed")
        for r in older
    ]
    stopped = sum(bool(run.stopped) for run in kept)
    if stopped:
        early = f"{stopped} of {len(kept)} runs ended early"
        result.notes.append(f"{label}: {early} because their budget was used up")
    configs = len({r.config_digest for r in runs if r.config_digest})
    if configs > 1:
        result.notes.append(
            f"{label}: its runs have {configs} different configurations; --group-by config separates them"
        )
    return Group(label, kept)


def evaluated_run(run: RunRecord) -> str | None:
    """Id of the other run whose checkpoint this one evaluates; None for a run that trained.

    Such a run is no further seed: it would stand in for the run that it evaluates. The id is empty where the
    record, an older one or of a foreign checkpoint, does not name it.
    """
    if "parameters" in run.cost:
        return None
    source = str(run.evaluates.get("run_id") or "")
    if source:
        return source if source != run.run_id else None
    evaluated = any(name.startswith(("test/", "validate/")) for name in run.metrics)
    trained = run.history or any(name.startswith("train/") for name in run.metrics)
    return "" if run.evaluates or (evaluated and not trained) else None


def _latest_per_seed(runs: Sequence[RunRecord]) -> tuple[tuple[RunRecord, ...], list[RunRecord]]:
    """The runs that count, in order of seed, and the older ones of a seed. `runs` is in order of start."""
    latest = {run.seed: run for run in runs if run.seed is not None}
    kept = [run for run in runs if run.seed is None or latest[run.seed] is run]
    older = [run for run in runs if run.seed is not None and latest[run.seed] is not run]
    return tuple(sorted(kept, key=lambda r: (r.seed is None, r.seed or 0, r.run_id))), older


def _failure(run: RunRecord) -> str:
    """Why a run that did not finish is left out."""
    message = " ".join(str((run.error or {}).get("message", "")).split())
    kind = str((run.error or {}).get("type", ""))
    return f"{run.status.lower()}" + (f": {kind}: {message}".replace(": : ", ": ") if message or kind else "")


def _note_data(result: Sorted) -> None:
    """Say so where the runs do not share their data."""
    if len(result.parts) > 1:
        kinds = "; ".join(
            f"{key}: {sum(len(g.runs) for g in groups)} runs" for key, groups in result.parts.items()
        )
        result.notes.append(f"the runs do not share their data and are compared separately: {kinds}")
    for key in result.parts:
        if not key.digest:
            result.notes.append(
                f"{key.name}: no data digest recorded; whether the runs share it is not known"
            )


def _missing(result: Sorted, runs: Sequence[RunRecord], expected: Sequence[Expected]) -> list[LeftOut]:
    """Runs that the suite planned, or that other groups have, and that do not exist."""
    keys = {run.run_key for run in runs}
    if expected:
        return [
            LeftOut("missing", None, e.label, e.seed, "missing: planned by the suite, never recorded")
            for e in expected
            if e.run_key not in keys
        ]
    return _absent_seeds(result)


def _absent_seeds(result: Sorted) -> list[LeftOut]:
    """Seeds that some group of the same data has and another lacks, unless the run is already listed."""
    missing = []
    listed = {(item.label, item.seed) for item in result.left_out}
    for groups in result.parts.values():
        seeds = {run.seed for group in groups for run in group.runs if run.seed is not None}
        for group in groups:
            absent = sorted(seeds - {run.seed for run in group.runs})
            missing += [
                LeftOut("missing", None, group.label, seed, "missing: other groups have this seed")
                for seed in absent
                if (group.label, seed) not in listed
            ]
    return missing
