"""Where run records come from: an MLflow store, or a folder of `record.json` files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integrand.errors import TrackingError, UsageError
from integrand.record import RunRecord

from .checkpoints import name_checkpoints
from .filters import as_group, nothing_evaluated, only, slim
from .groups import Expected
from .relative import EVALUATION, add_relative_errors
from .store import BESIDE, RECORD, load_mlflow
from .traces import Traces


@dataclass(frozen=True)
class Selection:
    """Which runs are wanted.

    Args:
        experiment: Name of an MLflow experiment or suite, or several names; with `records`, only their
            records.
        records: Folder of `record.json` files; None reads the tracking store.
        runs: Only these runs, each a run id or the beginning of one.
        filter: MLflow search expression.
        tracking_uri: The store; None takes the default one.
        evaluation: What `integrand evaluate` recorded under this name, instead of the runs themselves.
    """

    experiment: str | tuple[str, ...] | None = None
    records: Path | None = None
    runs: tuple[str, ...] = ()
    filter: str = ""
    tracking_uri: str | None = None
    evaluation: str | None = None

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names, none where all are meant."""
        return (self.experiment,) if isinstance(self.experiment, str) else self.experiment or ()

    @property
    def title(self) -> str:
        """What the selection is called."""
        name = "+".join(self.experiments) or (self.records.resolve().name if self.records else "selection")
        return f"{name}-{self.evaluation}" if self.evaluation else name


@dataclass(frozen=True)
class Loaded:
    """Runs and what goes with them.

    Args:
        records: The runs, without their series.
        traces: Their series.
        expected: Runs that the suite planned, where a whole suite was asked for.
    """

    records: list[RunRecord]
    traces: Traces = field(default_factory=Traces)
    expected: list[Expected] = field(default_factory=list)


def load(selection: Selection) -> Loaded:
    """The selected runs.

    Raises:
        UsageError: The selection is empty, contradicts itself or names runs that do not exist.
        TrackingError: The store cannot be read, or a file is no record.
    """
    s = selection
    _check(s)
    traces = Traces()
    if s.records is None:
        records = load_mlflow(s.experiments, s.runs, s.filter, s.tracking_uri, traces, s.evaluation)
    else:
        records = load_folder(s.records, s.runs, traces)
        if s.experiments:
            records = [r for r in records if r.experiment in s.experiments]
        records = _evaluated(records, s.evaluation)
    if s.evaluation == EVALUATION:
        add_relative_errors(records)
    expected: list[Expected] = []
    if not (s.runs or s.filter or s.records or s.evaluation):
        suites = Path("integrand-runs") / "suites"
        plans = [load_expected(suites / name / "plan.json") for name in s.experiments]
        # beside a plan, runs of an experiment without one would count as unplanned
        expected = [cell for plan in plans for cell in plan] if all(plans) else []
    return Loaded(records, traces, expected)


def _check(s: Selection) -> None:
    """Check that a selection names runs and does not contradict itself.

    Raises:
        UsageError: It names none, or contradicts itself.
    """
    if not (s.experiment or s.records or s.runs or s.filter):
        raise UsageError(
            "which runs?", "name them with --experiment NAME, --records DIR, --runs ID or --filter EXPR"
        )
    if s.records and (s.filter or s.tracking_uri):
        raise UsageError(
            "--filter and --tracking-uri belong to an MLflow store, not to --records", "leave them out"
        )


def _evaluated(records: Sequence[RunRecord], evaluation: str | None) -> list[RunRecord]:
    """The records of an evaluation, or those that belong among the runs themselves.

    Raises:
        UsageError: There are none of that evaluation.
    """
    if evaluation is None:
        return [r for r in records if r.evaluation.get("name") in (None, BESIDE)]
    found = [r for r in records if r.evaluation.get("name") == evaluation]
    if not found:
        raise nothing_evaluated(evaluation)
    return [as_group(r) for r in found]


def load_folder(folder: Path, run_ids: Sequence[str] = (), traces: Traces | None = None) -> list[RunRecord]:
    """Every record in a folder: files called `record.json` at any depth, and `*.json` directly in it.

    Args:
        folder: Where to look.
        run_ids: Only these runs, each a run id or the beginning of one.
        traces: Takes up the series of every run; the records are left without them.

    Raises:
        UsageError: The folder does not exist, holds no record, or lacks one of `run_ids`.
        TrackingError: A file called `record.json` is not a record.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", "give --records the folder that holds the record.json files"
        )
    records: dict[str, RunRecord] = {}
    for path in sorted({*folder.rglob(RECORD), *folder.glob("*.json")}):
        try:
            record = RunRecord.read(path)
        except (ValueError, TypeError) as error:
            if path.name == RECORD:
                raise TrackingError(
                    f"{path} is not a run record: {error}", "remove the file or write it again"
                ) from error
            continue  # some other JSON file that lies in the folder
        known = records.get(record.run_id)
        # a copy made while the run was going on gives way to the one made at its end
        if known is None or (record.ended or 0.0) >= (known.ended or 0.0):
            records[record.run_id] = slim(record, traces)
    if not records:
        raise UsageError(f"{folder} holds no run record", f"records are files called {RECORD}")
    name_checkpoints(records.values(), records.get)
    return only(list(records.values()), run_ids)


def load_expected(plan: Path) -> list[Expected]:
    """The runs that a suite planned, from the plan it left; none where it left no plan."""
    if not plan.is_file():
        return []
    try:
        cells = json.loads(plan.read_text(encoding="utf-8"))["cells"]
        return [Expected(cell["key"], cell["experiment"], cell["seed"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise TrackingError(
            f"{plan} is not the plan of a suite", "remove it; suite run writes it again"
        ) from error
