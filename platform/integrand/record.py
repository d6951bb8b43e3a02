"""The run record: one self-contained file from which any comparison can be rebuilt.

`record.json` is written by the tracking side and read by the comparison side; neither imports the other, and
this module imports neither torch nor MLflow.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .moved import current_evaluation

SCHEMA = 1


@dataclass
class RunRecord:
    """Everything a table, figure or report says about one run.

    Args:
        run_id: MLflow run id.
        run_name: MLflow run name.
        experiment: MLflow experiment name.
        status: FINISHED, FAILED, KILLED or RUNNING, as MLflow spells them.
        started: Start of the run, seconds since the epoch.
        ended: End of the run, seconds since the epoch; None while it runs.
        error: `{"type", "message"}` of what ended a failed run, else None.
        family: Slug of the family, such as `neural-ode`.
        group: Group of the family, such as `continuous`.
        task: What was asked, such as `classification`.
        model_class: Class name of the LightningModule.
        solver: Short description of the solver, empty where there is none.
        gradient: Gradient mode of the solver, empty where there is none.
        data: `{"name", "digest", "spec", "n_train", "n_val", "n_test"}`, and `inferred` where scales and
            columns were.
        seed: The seed of the run.
        suite: Name of the suite that the run belongs to, empty outside one.
        run_key: Digest that identifies the cell of a suite, empty outside one.
        stopped: `{"by": "time" | "nfe" | "pruner", "reason", "limit"}` of a run that was ended before its
            last epoch because a budget was used up or a sweep gave it up; empty where it ran to its end.
        evaluates: `{"run_id", "epoch"}` of the checkpoint that the last validation, test or prediction was
            made with: another run's where this run trained nothing, its own after `--test_after_fit`; else
            empty.
        evaluation: `{"name", "settings"}` of a run that `integrand evaluate` recorded; empty for others.
        config_digest: sha256 of the resolved config without seed, paths, names and run ids: runs that differ
            only by seed share it.
        config: The resolved configuration.
        checkpoints: By run id, what the runs are called whose checkpoints the configuration names, a
            teacher's say: the arm of a suite, else the family. Filled in by whoever reads many records.
        monitor: `{"name": "val/acc", "mode": "max"}`: the metric that chose the best checkpoint.
        metrics: Flat last, `best/…` and `final/…` values by MLflow metric name.
        quantities: What the run's own metrics are, by name, as `integrand.quantities.declare` was told.
        history: Series by metric name; each point is `[step, epoch, seconds since start, value]`.
        cost: Flat cost values by name without the `cost/` prefix (parameters, seconds_per_epoch, …).
        provenance: Git commit and dirty flag, versions, device, determinism flags, lock digest.
        figures: Artifact paths of the figures.
        schema: Version of this layout.
    """

    run_id: str
    run_name: str = ""
    experiment: str = ""
    status: str = "RUNNING"
    started: float = 0.0
    ended: float | None = None
    error: dict[str, str] | None = None
    family: str = ""
    group: str = ""
    task: str = ""
    model_class: str = ""
    solver: str = ""
    gradient: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    suite: str = ""
    run_key: str = ""
    stopped: dict[str, str] = field(default_factory=dict)
    evaluates: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)
    monitor: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    quantities: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[list[float]]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    figures: list[str] = field(default_factory=list)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The record as strict JSON: NaN and infinity become null, which every parser reads."""
        return json.dumps(_finite(asdict(self)), indent=1, sort_keys=True, allow_nan=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """Read a record; unknown keys of a newer schema are ignored, missing ones take their defaults.

        Raises:
            ValueError: The text is not JSON, holds no run id, or something of another kind than it should.
        """
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError("not a run record: nested without end") from error
        if not isinstance(values, dict) or not values.get("run_id"):
            raise ValueError("not a run record: no run_id")
        for field_ in fields(cls):
            if field_.name in values and not _fits(values[field_.name], str(field_.type)):
                raise ValueError(f"not a run record: {field_.name} is no {field_.type}")
        values["task"] = _RENAMED.get(values.get("task", ""), values.get("task", ""))
        if "name" in (found := values.get("evaluation") or {}):
            found["name"] = current_evaluation(found["name"])
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read `record.json` at `path`."""
        return cls.from_json(path.read_text(encoding="utf-8"))


_RENAMED = {"image-classification": "classification", "image-generation": "generation"}
"""Tasks as earlier versions called them."""


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "dict": (dict,), "list": (list,),
    "None": (type(None),),
}  # fmt: skip


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value read from JSON is what an annotation of `RunRecord` says; null stands for NaN."""
    if annotation == "Any":
        return True
    head, _, inner = annotation.partition("[")
    if inner and not inner.endswith("]"):  # `dict[…] | None`
        return value is None or _fits(value, annotation.rpartition(" | ")[0])
    if not inner:
        kinds = [kind for name in annotation.split(" | ") for kind in _KINDS[name]]
        return isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool))
    parts = inner.removesuffix("]")
    if head == "dict":
        child = parts.partition(", ")[2]
        return isinstance(value, dict) and all(_fits_or_null(x, child) for x in value.values())
    return isinstance(value, list) and all(_fits_or_null(x, parts) for x in value)


def _fits_or_null(value: Any, annotation: str) -> bool:
    return (value is None and annotation == "float") or _fits(value, annotation)


def _finite(value: Any) -> Any:
    """`value` with every non-finite float replaced by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
