"""Parent runs: in MLflow's UI each cell of a suite stands above its seeds, with their means."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from integrand.errors import TrackingError
from integrand.tracking.processes import process
from integrand.tracking.store import names, notes
from integrand.tracking.store.opening import get_or_create_experiment, open_store
from integrand.tracking.store.uris import resolve_uri

from .cells import Cell
from .states import DONE, CellState

log = logging.getLogger(__name__)

_COPIED = (names.FAMILY, names.GROUP, names.TASK, names.DATA, names.SOLVER, names.GRADIENT, names.MODEL_CLASS)
_AVERAGED = ("basics/", "best/", "final/", "cost/", "solver/")
_ENDS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "running": "RUNNING"}


class ParentRuns:
    """One parent run per experiment and variant of a suite.

    They carry `role: suite-parent`, by which comparisons leave them out. Nothing that goes wrong here stops a
    suite: the runs themselves do not need their parents.

    Args:
        suite: Name of the suite and of its MLflow experiment.
        cells: All its cells.
        tracking_uri: The store; None takes the default.
    """

    def __init__(self, suite: str, cells: Sequence[Cell], tracking_uri: str | None = None) -> None:
        self._ids: dict[str, str] = {}
        self._client: Any = None
        self.experiment_id = ""
        self._suite = suite
        self._keys = {cell.key for cell in cells}
        self._guarded(lambda: self._open(cells, tracking_uri))

    def of(self, cell: Cell) -> str:
        """The run id of a cell's parent, empty where none could be made."""
        return self._ids.get(cell.experiment, "")

    def update(self, cell: Cell) -> None:
        """Take up what the runs of the cell's seeds have recorded."""
        if parent := self.of(cell):
            self._guarded(lambda: self._summarise(parent, self._children(cell.experiment)))

    def describe(self, cell: Cell, note: str, values: Mapping[str, float], status: str) -> None:
        """Say by other means than the mean of its runs what a parent stands for, and end it.

        Args:
            cell: A cell under it.
            note: Its description.
            values: Its metrics.
            status: MLflow's status.
        """
        if parent := self.of(cell):
            self._guarded(lambda: self._describe(parent, note, values, status))

    def _describe(self, parent: str, note: str, values: Mapping[str, float], status: str) -> None:
        for name, value in values.items():
            self._client.log_metric(parent, name, value)
        self._client.set_tag(parent, names.NOTE, note)
        self._client.set_tag(parent, names.STATUS, status.lower())
        if status != "RUNNING":
            self._client.set_terminated(parent, status)

    def close(self, states: Sequence[CellState]) -> None:
        """Give every parent the status that its cells have together."""
        for experiment, parent in self._ids.items():
            own = [s for s in states if s.cell.experiment == experiment]
            self._guarded(partial(self._close, parent, own))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except TrackingError:
            raise
        except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
            log.warning("the parent runs in MLflow are not up to date (%s)", error)

    def _open(self, cells: Sequence[Cell], tracking_uri: str | None) -> None:
        uri = resolve_uri(tracking_uri)
        client = self._client = open_store(uri)
        experiment = get_or_create_experiment(client, uri, self._suite, Path("mlartifacts"))
        self.experiment_id = experiment.experiment_id
        if names.NOTE not in experiment.tags:
            client.set_experiment_tag(self.experiment_id, names.NOTE, _suite_note(self._suite))
        known = {
            run.data.tags.get(names.CELL, ""): run for run in self._search(f"role = '{names.ROLE_PARENT}'")
        }
        # MLflow lists the newest first, and the first of the suite belongs there
        for experiment_name in dict.fromkeys(c.experiment for c in reversed(cells)):
            run = known.get(experiment_name)
            if run is None:
                self._ids[experiment_name] = self._create(
                    next(c for c in cells if c.experiment == experiment_name)
                )
            else:
                self._ids[experiment_name] = run.info.run_id
                for key, value in {**process.identity(), names.STATUS: "running"}.items():
                    client.set_tag(run.info.run_id, key, value)
                client.update_run(run.info.run_id, status="RUNNING")

    def _create(self, cell: Cell) -> str:
        name = cell.name.removeprefix(f"s{cell.seed} ") or cell.experiment
        tags = {
            names.ROLE: names.ROLE_PARENT,
            names.SUITE: self._suite,
            names.CELL: cell.experiment,
            names.STATUS: "running",
            # lets a later process see that the suite's died
            **process.identity(),
        }
        run = self._client.create_run(self.experiment_id, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _search(self, condition: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], f"tags.{condition}", max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _children(self, experiment: str) -> list[Any]:
        """Its runs by today's code: of those with one key the newest finished one, else the newest."""
        quoted = experiment.replace("'", "")
        chosen: dict[str, Any] = {}
        for run in sorted(self._search(f"{names.CELL} = '{quoted}'"), key=lambda r: r.info.start_time):
            key = run.data.tags.get(names.RUN_KEY)
            if key in self._keys and (run.info.status == "FINISHED" or key not in chosen):
                chosen[key] = run
        return sorted(chosen.values(), key=lambda r: int(r.data.tags.get(names.SEED) or 0))

    def _summarise(self, parent: str, children: Sequence[Any]) -> None:
        from mlflow.entities import Metric, RunTag

        children = [run for run in children if run.data.tags.get(names.PARENT_RUN) == parent]
        finished = [run for run in children if run.info.status == "FINISHED"]
        now = int(time.time() * 1000)
        values = {"basics/seeds": float(len(finished)), **means(run.data.metrics for run in finished)}
        tags = {names.NOTE: self._note(children), **_copied(children)}
        self._client.log_batch(
            parent,
            metrics=[Metric(name, value, now, 0) for name, value in values.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _close(self, parent: str, states: Sequence[CellState]) -> None:
        state = _together(states)
        self._client.set_tag(parent, names.STATUS, "killed" if state == "stopped" else state)
        if state == "running":
            return
        self._client.set_terminated(parent, _ENDS[state])

    def _note(self, children: Sequence[Any]) -> str:
        rows = ["| seed | status | quality | NFE | training |", "|---|---|---|---|---|"]
        for run in children:
            tags, metrics = run.data.tags, run.data.metrics
            shown = [_number(metrics.get(name)) for name in (names.QUALITY, names.NFE)]
            seconds = f"{_number(metrics.get(names.COST))} s"
            seed = notes.run_link(self.experiment_id, run.info.run_id, tags.get(names.SEED, "?"))
            rows.append(f"| {seed} | {tags.get(names.STATUS, '')} | {' | '.join(shown)} | {seconds} |")
        report = notes.reports_link(self.experiment_id, "reports")
        report += f" (make one: `integrand report --experiment {self._suite}`)"
        return "\n".join(["Means over the finished seeds.", "", *rows, "", report])


def _copied(children: Sequence[Any]) -> dict[str, str]:
    """The tags that a parent takes over from its last child."""
    own = children[-1].data.tags if children else {}
    return {key: own[key] for key in _COPIED if key in own}


def _together(states: Sequence[CellState]) -> str:
    """The worst of the cells' states: a suite with a failed cell has failed."""
    ranks = {"queued": "running", "waiting": "stopped", **dict.fromkeys(DONE, "finished")}
    found = {ranks.get(s.state, s.state) for s in states}
    return next((s for s in ("running", "failed", "stopped") if s in found), "finished")


def means(metrics: Iterable[dict[str, float]]) -> dict[str, float]:
    """Mean over runs of every metric that all of them have and that says something about a whole run.

    Of the quality also the standard deviation over seeds, from two runs on.
    """
    runs = list(metrics)
    shared = set.intersection(*(set(run) for run in runs)) if runs else set()
    result = {name: fmean(run[name] for run in runs) for name in sorted(shared) if name.startswith(_AVERAGED)}
    if len(runs) > 1 and names.QUALITY in shared:
        result[f"{names.QUALITY}_std"] = stdev(run[names.QUALITY] for run in runs)
    return result


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _suite_note(suite: str) -> str:
    return "\n".join(
        [
            f"Suite **{suite}**: a run with children stands for one experiment, the children are its seeds.",
            "",
            f"- compare: `integrand compare --experiment {suite}`",
            f"- report: `integrand report --experiment {suite}`",
            f"- where it stands: `integrand suite status {suite}`",
            "",
            "Charts: `basics/quality` is the metric that chooses the best epoch, `basics/nfe` counts forward "
            "evaluations per batch, `basics/cost_seconds` is training so far. With `basics/total_nfe` as the "
            "x axis a chart of quality shows what an evaluation buys.",
        ]
    )
