"""A comparison as CSV files. Numbers are unscaled and unrounded."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from integrand.cells import cell
from integrand.record import RunRecord

from ..measures import COSTS
from ..results import Comparison, Difference, Part, Row, RunReach
from ..statistics.estimates import Estimate, Interval
from ..statistics.probability import Improvement

Fields = dict[str, object]
Ranged = Interval | Estimate | Improvement


def write_csv(comparison: Comparison, folder: Path) -> list[Path]:
    """Write a file each for groups, runs, pairs and curves, and for sensitivities and data sets if any.

    Returns:
        The files written: table.csv, runs.csv, pairs.csv, curves.csv, sensitivity.csv, overall.csv.
    """
    content: dict[str, list[Fields]] = {
        "table": [_group_fields(comparison, part, row) for part in comparison.parts for row in part.rows],
        "runs": _run_rows(comparison),
        "pairs": [
            {"data": part.data.title, "data_digest": part.data.digest} | _pair_fields(pair)
            for part in comparison.parts
            for pair in part.pairs
        ],
        "curves": _curve_rows(comparison),
        "sensitivity": _sensitivity_rows(comparison),
        "overall": _overall_rows(comparison),
    }
    paths = []
    for name, rows in content.items():
        if rows or name in ("table", "runs"):
            paths.append(folder / f"{name}.csv")
            write_rows(paths[-1], rows)
    return paths


def _group_fields(comparison: Comparison, part: Part, row: Row) -> Fields:
    """One group with its points, costs, time to target and difference to the reference."""
    q, d = row.quality, row.difference
    pairs = [(run.seed, comparison.metric.of(run)) for run in row.group.runs]
    out: Fields = {
        "data": part.data.title,
        "data_digest": part.data.digest,
        "group": row.label,
        "metric": comparison.metric.name,
        "mode": comparison.metric.mode,
        "n": q.n,
        "mean": q.mean,
        **_interval("ci", q),
        "sd": q.sd,
        "median": q.median,
        **_interval("median_ci", q.median_interval),
        "iqm": q.iqm,
        **_interval("iqm_ci", q.iqm_interval),
        "values": " ".join(f"{'?' if seed is None else seed}:{value!r}" for seed, value in pairs),
    }
    out |= _cost_fields(part, row) | _target_fields(part, row)
    difference = _pair_fields(d) if d else {}
    out |= {"reference": part.reference, **{k: v for k, v in difference.items() if k not in ("a", "b")}}
    return out | {"tests": part.tests, "verdict": d.verdict if d else "reference"}


def _ends(column: str, found: Ranged | None) -> Fields:
    """Both ends of an interval."""
    return {f"{column}_low": found.low if found else None, f"{column}_high": found.high if found else None}


def _interval(column: str, found: Ranged | None) -> Fields:
    """An interval and how it was made."""
    return _ends(column, found) | {f"{column}_method": found.method if found else None}


def _cost_fields(part: Part, row: Row) -> Fields:
    """Mean and spread of every cost, and whether the group is on its Pareto front."""
    out: Fields = {}
    for key, cost in row.costs.items():
        out[key] = cost.mean if cost else None
        out[f"{key}_sd"] = cost.sd if cost else None
        out[f"{key}_pareto"] = (row.label in part.pareto.get(key, ())) if cost else None
    return out


def _target_fields(part: Part, row: Row) -> Fields:
    """How the group got to the target; nothing where there is none."""
    if part.target is None:
        return {}
    reach = row.reach
    return {
        "target": part.target.value,
        "target_series": part.target.series,
        "target_reached": reach.reached if reach else None,
        "target_of": len(reach.runs) if reach else None,
        "target_epochs_of_half": reach.epochs if reach else None,
        "target_seconds_of_half": reach.seconds if reach else None,
        "target_evaluations_of_half": reach.evaluations if reach else None,
    }


def _pair_fields(d: Difference) -> Fields:
    """A difference a - b."""
    paired, chance = d.paired, d.improvement
    return {
        "a": d.a,
        "b": d.b,
        "common_seeds": " ".join(map(str, d.seeds)),
        "difference": paired.estimate.mean if paired else None,
        **_interval("difference_ci", paired.estimate if paired else None),
        "p_t": paired.p_t if paired else None,
        "p_t_holm": d.p_t,
        "p_sign_flip": paired.p_flip if paired else None,
        "p_sign_flip_holm": d.p_flip,
        "p_sign_flip_floor": paired.p_floor if paired else None,
        "p_better": chance.probability,
        **_interval("p_better_ci", chance),
        "p_better_ties": chance.ties,
        "verdict": d.verdict,
        "sentence": d.sentence,
    }


def _curve_rows(comparison: Comparison) -> list[Fields]:
    """One row per group, curve and epoch."""
    return [
        {
            "data": part.data.title,
            "group": row.label,
            "curve": key,
            "series": curve.series,
            "epoch": epoch,
            "mean": mean,
            "ci_low": low,
            "ci_high": high,
            "n": sum(values[i] is not None for values in curve.seeds.values()),
        }
        for part in comparison.parts
        for row in part.rows
        for key, curve in row.curves.items()
        for i, (epoch, mean, low, high) in enumerate(
            zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
        )
    ]


def _sensitivity_rows(comparison: Comparison) -> list[Fields]:
    return [
        {
            "data": part.data.title,
            "group": s.label,
            "trained_with": s.trained_with,
            "evaluated_with": s.evaluated_with,
            "seeds": " ".join("?" if seed is None else str(seed) for seed in s.seeds),
            "checkpoints": s.paired.estimate.n,
            "change": s.paired.estimate.mean,
            **_interval("change_ci", s.paired.estimate),
            "p_t": s.paired.p_t,
            "p_t_holm": s.p_t,
            "p_sign_flip": s.paired.p_flip,
            "p_sign_flip_holm": s.p_flip,
            "verdict": s.verdict,
            "nfe_trained": s.nfe_trained.mean if s.nfe_trained else None,
            "nfe_evaluated": s.nfe_evaluated.mean if s.nfe_evaluated else None,
            "sentence": s.sentence,
        }
        for part in comparison.parts
        for s in part.sensitivity
    ]


def _overall_rows(comparison: Comparison) -> list[Fields]:
    if comparison.overall is None:
        return []
    rows: list[Fields] = []
    for row in comparison.overall.rows:
        q, chance = row.quality, row.improvement
        rows.append(
            {
                "group": row.label,
                "data": "; ".join(comparison.overall.data),
                "n": " ".join(map(str, row.n)),
                "mean": q.mean if q else None,
                **_interval("ci", q),
                "iqm": q.iqm if q else None,
                **_ends("iqm_ci", q.iqm_interval if q else None),
                "reference": comparison.overall.reference,
                "p_better": chance.probability if chance else None,
                **_interval("p_better_ci", chance),
            }
        )
    return rows


def _run_rows(comparison: Comparison) -> list[Fields]:
    """Every run, first those that count."""
    rows: list[Fields] = [
        fields for part in comparison.parts for row in part.rows for fields in _counted_rows(comparison, row)
    ]
    for part in comparison.parts:
        for s in part.sensitivity:
            reason = f"evaluation with {s.evaluated_with} of a checkpoint trained with {s.trained_with}"
            for run in s.runs:
                head: Fields = {"group": s.label, "seed": run.seed, "counted": False, "reason": reason}
                rows.append(head | _run_fields(comparison, run))
    for item in comparison.left_out:
        fields: Fields = _run_fields(comparison, item.run) if item.run else {"status": "MISSING"}
        head = {"group": item.label, "seed": item.seed, "counted": False, "reason": item.reason}
        rows.append(head | fields)
    return rows


def _counted_rows(comparison: Comparison, row: Row) -> list[Fields]:
    """The runs of a group, with the time to the target."""
    reached = {found.run_id: found for found in row.reach.runs} if row.reach else {}
    return [
        {"group": row.label, "seed": run.seed, "counted": True, "reason": ""}
        | _run_fields(comparison, run)
        | _reach_fields(reached.get(run.run_id))
        for run in row.group.runs
    ]


def _reach_fields(found: RunReach | None) -> Fields:
    """When the run reached the target."""
    if found is None:
        return {}
    return {
        "target_reached": found.reached,
        "target_epoch": found.epoch,
        "target_seconds": found.seconds,
        "target_evaluations": found.evaluations,
    }


def _run_fields(comparison: Comparison, run: RunRecord) -> Fields:
    fields: Fields = {
        "status": run.status,
        "run_id": run.run_id,
        "run_name": run.run_name,
        "experiment": run.experiment,
        "suite": run.suite,
        "run_key": run.run_key,
        "config_digest": run.config_digest,
        "data": run.data.get("name"),
        "data_digest": run.data.get("digest"),
        "solver": run.solver,
        "gradient": run.gradient,
        comparison.metric.name: comparison.metric.of(run),
    }
    return fields | {cost.key: cost.of(run) for cost in COSTS}


def write_rows(path: Path, rows: Sequence[Fields]) -> None:
    """The columns are those of all rows in order of appearance; None is an empty field."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
