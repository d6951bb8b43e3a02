"""Discretisation sensitivity: what a checkpoint loses or gains under another solver than it trained with."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from integrand.record import RunRecord

from ..measures import NFE_TEST, Metric
from ..records.groups import DataKey, Group, LeftOut, evaluated_run
from ..results import Sensitivity
from ..tables.wording import sensitivity_sentence
from .estimates import Estimate, PairedDifference, estimate, holm, paired_differences
from .verdicts import verdict

Pairs = dict[int | str, tuple[RunRecord, RunRecord]]
"""Evaluation and the run that trained, by checkpoint."""
Home = tuple[DataKey, Group, RunRecord]
"""A run that counts, and where it stands."""


def sensitivities(
    parts: Mapping[DataKey, Sequence[Group]], evaluations: Iterable[RunRecord], metric: Metric
) -> tuple[dict[DataKey, tuple[Sensitivity, ...]], list[LeftOut]]:
    """Pair each evaluation with the run whose checkpoint it is, and compare by group and solver.

    Of several evaluations of one run with the same solver the latest counts.

    Args:
        parts: The groups by data.
        evaluations: Runs that evaluate another run's checkpoint.
        metric: The quality; the parent's value is the one of its own test.

    Returns:
        Sensitivities by data, and the evaluations that have no counterpart, each with its reason.
    """
    home = _by_id(parts)
    left_out: list[LeftOut] = []
    pairs: dict[tuple[DataKey, str, str, str], Pairs] = defaultdict(dict)
    for run in sorted(evaluations, key=lambda r: (r.started, r.run_id)):
        found = home.get(evaluated_run(run) or "")
        reason = _unusable(run, found, metric)
        if found is None or reason:
            left_out.append(_unpaired(run, found, reason))
            continue
        data, group, source = found
        key = (data, group.label, source.solver or "its own", evaluation_name(run, source))
        pairs[key][_checkpoint(source)] = (run, source)
    result: dict[DataKey, tuple[Sensitivity, ...]] = {}
    for data in parts:
        mine = sorted((key for key in pairs if key[0] == data), key=lambda k: k[1:])
        result[data] = _tested([(*key[1:], pairs[key]) for key in mine], metric)
    return result, left_out


def _checkpoint(source: RunRecord) -> int | str:
    """What a checkpoint is called within its group: the seed, or the run where none is recorded."""
    return source.run_id if source.seed is None else source.seed


def _by_id(parts: Mapping[DataKey, Sequence[Group]]) -> dict[str, Home]:
    """Every run that counts by its id."""
    return {
        run.run_id: (data, group, run)
        for data, groups in parts.items()
        for group in groups
        for run in group.runs
    }


def _unpaired(run: RunRecord, found: Home | None, reason: str) -> LeftOut:
    label = found[1].label if found else run.family or run.model_class
    return LeftOut("evaluation", run, label, run.seed, f"evaluation of a checkpoint: {reason}")


def evaluation_name(run: RunRecord, source: RunRecord) -> str:
    """What the evaluation changed: the solver in words, or the settings that differ where those agree."""
    if run.solver != source.solver:
        return run.solver or "no solver"
    own, theirs = (_flat(r.config.get("model", {})) for r in (run, source))
    changed = sorted(key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key))
    settings = " ".join(f"{key.rpartition('.')[2]}={own.get(key)}" for key in changed[:4])
    return f"{run.solver or 'the same'} {settings}".strip() if changed else "the same solver again"


def counterpart(metric: Metric) -> str:
    """Where an evaluation of its own keeps the metric: a separate validation says `final/validate_…`."""
    return re.sub(r"^(best|final)/val_", "final/validate_", metric.name)


def _unusable(run: RunRecord, found: Home | None, metric: Metric) -> str:
    """Why an evaluation cannot be paired, empty where it can."""
    if run.status != "FINISHED":
        message = " ".join(str((run.error or {}).get("message", "")).split())
        return f"{run.status.lower()}{f': {message}' if message else ''}"
    if found is None:
        name = evaluated_run(run)
        if not name:
            return "its record does not say which run trained it"
        return f"the run {name[:8]} that trained it is not among those that count"
    data, _, source = found
    if DataKey.of(run) != data:
        return "on other data than it trained on"
    if replace(metric, name=counterpart(metric)).of(run) is None:
        return f"{counterpart(metric)} was not recorded"
    used, own = run.evaluates.get("epoch"), _own_epoch(source, metric)
    if used is not None and own is not None and used != own:
        return f"it used the checkpoint of epoch {used}, the run's own value is of epoch {own:g}"
    return ""


def _own_epoch(source: RunRecord, metric: Metric) -> float | None:
    """Epoch of the checkpoint that gave the run's own value."""
    if metric.name.startswith("best/"):
        return source.metrics.get("best/epoch")
    own = source.evaluates
    return own.get("epoch") if own.get("run_id") == source.run_id else source.metrics.get("best/epoch")


def _changes(pairs: Pairs, evaluated: Metric, metric: Metric) -> list[float]:
    """Evaluation less training solver, checkpoint by checkpoint."""
    values = [(evaluated.of(run), metric.of(source)) for run, source in pairs.values()]
    return [a - b for a, b in values if a is not None and b is not None]


def _corrected(paired: Sequence[PairedDifference]) -> tuple[dict[int, float], list[float]]:
    """Holm's correction of both tests: the t test by place, since it does not exist everywhere."""
    p_t = {i: p.p_t for i, p in enumerate(paired) if p.p_t is not None}
    return dict(zip(p_t, holm(list(p_t.values())), strict=True)), holm([p.p_flip for p in paired])


def _tested(found: Sequence[tuple[str, str, str, Pairs]], metric: Metric) -> tuple[Sensitivity, ...]:
    """The sensitivities of one part, their p values corrected over all of them."""
    evaluated = replace(metric, name=counterpart(metric))
    paired = paired_differences([_changes(pairs, evaluated, metric) for _, _, _, pairs in found])
    p_t, p_flip = _corrected(paired)
    result = []
    for i, (label, trained, other, pairs) in enumerate(found):
        seeds = tuple(sorted((s.seed for _, s in pairs.values()), key=lambda s: (s is None, s or 0)))
        one = Sensitivity(
            label,
            trained,
            other,
            metric,
            seeds,
            paired[i],
            p_t.get(i),
            p_flip[i],
            verdict(paired[i], p_t.get(i, p_flip[i]), metric),
            _nfe(source for _, source in pairs.values()),
            _nfe(run for run, _ in pairs.values()),
            runs=tuple(run for run, _ in pairs.values()),
        )
        result.append(replace(one, sentence=sensitivity_sentence(one)))
    return tuple(result)


def _nfe(runs: Iterable[RunRecord]) -> Estimate | None:
    values = [value for run in runs if (value := NFE_TEST.of(run)) is not None]
    return estimate(values) if values else None


def _flat(config: object, prefix: str = "") -> dict[str, str]:
    """Dotted settings; `class_path` and `init_args` carry no meaning of their own."""
    if not isinstance(config, Mapping):
        return {prefix: str(config)}
    flat: dict[str, str] = {}
    for key, value in config.items():
        inner = prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
        flat |= _flat(value, inner)
    return flat
