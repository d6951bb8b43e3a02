"""A comparison as CSV: one file of groups, one of runs. Numbers are unscaled and unrounded."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from integrand.record import RunRecord

from .quantities import COSTS, MORE_COSTS
from .results import Comparison, Part, Row

Fields = dict[str, object]


def write_csv(comparison: Comparison, folder: Path) -> list[Path]:
    """Write table.csv (groups) and runs.csv (every run, counted or not).

    Returns:
        The files written.
    """
    groups = [_group_fields(comparison, part, row) for part in comparison.parts for row in part.rows]
    paths = [folder / "table.csv", folder / "runs.csv"]
    _write(paths[0], groups)
    _write(paths[1], _run_rows(comparison))
    return paths


def _group_fields(comparison: Comparison, part: Part, row: Row) -> Fields:
    """One group with its points, costs and difference to the reference."""
    q, d = row.quality, row.difference
    pairs = [(run.seed, comparison.metric.of(run)) for run in row.group.runs]
    out: Fields = {
        "data": part.data.name,
        "data_digest": part.data.digest,
        "group": row.label,
        "metric": comparison.metric.name,
        "mode": comparison.metric.mode,
        "n": q.n,
        "mean": q.mean,
        "ci_low": q.low,
        "ci_high": q.high,
        "ci_method": q.method,
        "sd": q.sd,
        "median": q.median,
        "iqm": q.iqm,
        "values": " ".join(f"{'?' if seed is None else seed}:{value!r}" for seed, value in pairs),
    }
    for key, cost in row.costs.items():
        out[key] = cost.mean if cost else None
        out[f"{key}_sd"] = cost.sd if cost else None
    paired = d.paired if d else None
    return out | {
        "reference": part.reference,
        "common_seeds": " ".join(map(str, d.seeds)) if d else None,
        "difference": paired.estimate.mean if paired else None,
        "difference_ci_low": paired.estimate.low if paired else None,
        "difference_ci_high": paired.estimate.high if paired else None,
        "p_t": paired.p_t if paired else None,
        "p_t_holm": d.p_t if d else None,
        "p_sign_flip": paired.p_flip if paired else None,
        "p_sign_flip_holm": d.p_flip if d else None,
        "p_sign_flip_floor": paired.p_floor if paired else None,
        "verdict": d.verdict if d else "reference",
    }


def _run_rows(comparison: Comparison) -> list[Fields]:
    """Every run, first those that count."""
    rows: list[Fields] = [
        {"group": row.label, "seed": run.seed, "counted": True, "reason": ""} | _run_fields(comparison, run)
        for part in comparison.parts
        for row in part.rows
        for run in row.group.runs
    ]
    for item in comparison.left_out:
        fields: Fields = _run_fields(comparison, item.run) if item.run else {"status": "MISSING"}
        head: Fields = {"group": item.label, "seed": item.seed, "counted": False, "reason": item.reason}
        rows.append(head | fields)
    return rows


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
    return fields | {cost.key: cost.of(run) for cost in (*COSTS, *MORE_COSTS)}


def _write(path: Path, rows: Sequence[Fields]) -> None:
    """The columns are those of all rows in order of appearance; None is an empty field."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
