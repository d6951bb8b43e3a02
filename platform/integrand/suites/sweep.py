"""Runs a sweep: every trial of a search is a cell, run and recorded like any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from integrand.errors import AlreadyRunning
from integrand.tracking.store import names, notes, runs

from . import study as studies
from .cells import Cell, expand
from .code import code_digest
from .journal import Journal
from .launcher import LOST_RETRIES, Launcher, Outcome, Task
from .parents import ParentRuns
from .runner import HANG_FACTOR, HANG_SECONDS
from .search import SearchSpec, read_search
from .spec import SuiteSpec
from .store import StoredCell, stored_cells

PRUNING = "integrand.suites.pruning.ReportTrial"
_SHOWN = 10
_BY_SIGNAL = 128
"""Exit codes above it are those of processes that a signal has ended."""

Find = Callable[[str], StoredCell | None]
"""Asks the tracking store for the run with a key."""


class Sweep:
    """The search over one experiment of a sweep file.

    Interrupted and killed trials stay open in the study; the next sweep goes on with them first, in the same
    runs. One that is killed again and again while its sweep goes on, as for want of memory, has failed.

    Args:
        spec: The sweep file, with one experiment.
        journal: Where logs and attempts go.
        console: Where progress is shown.
        create: Make the study if there is none.

    Raises:
        UsageError: The search makes no sense, or its study is of another configuration.
        TrackingError: Optuna's storage cannot be used.
    """

    def __init__(self, spec: SuiteSpec, journal: Journal, console: Console, create: bool = True) -> None:
        self.spec = spec
        self.search: SearchSpec = read_search(spec)
        self.journal = journal
        self.console = console
        (self.base,) = expand(spec)
        self.space = studies.distributions(self.search)
        self.name = f"{spec.name}/{self.base.experiment}"
        self.study = studies.open_study(self.name, self.search, self._base_digest(), code_digest(), create)
        self._cells: dict[str, tuple[int, Cell]] = {}
        self._parents: ParentRuns | None = None
        self._exhausted = False

    def run(self, launcher: Launcher, find: Find | None = None) -> bool:
        """Run trials until there are as many as wanted.

        Args:
            launcher: Runs the processes.
            find: Asks the tracking store; None asks the default one.

        Returns:
            Whether the search is complete; not so after an interrupt.
        """
        self._find = find or self._find_stored
        with self.journal.lock():
            done = len(studies.by_state(self.study, "complete", "pruned", "fail"))
            again = len(studies.by_state(self.study, "running"))
            text = f"sweep {self.name}: {done} of {self.search.n_trials} trials are done"
            text += f", {again} are gone on with" if again else ""
            if studies.codes(self.study) > 1:
                text += f"; they were made with {studies.codes(self.study)} versions of the code"
            self.console.print(text, soft_wrap=True)
            if done + again >= self.search.n_trials and not again:
                return True
            self._refuse_orphans()
            self._parents = ParentRuns(self.spec.name, [self.base])
            try:
                launcher.launch(self._tasks(), self)
            finally:
                self._describe()
            return self._is_done()

    def _is_done(self) -> bool:
        if studies.by_state(self.study, "running"):
            return False
        done = len(studies.by_state(self.study, "complete", "pruned", "fail"))
        return self._exhausted or done >= self.search.n_trials

    # ------------------------------------------------------------------ trials

    def _tasks(self) -> Iterator[Task]:
        """First what an earlier process left, then new trials; each made when a slot is free for it."""
        for frozen in studies.by_state(self.study, "running"):
            if set(frozen.params) != set(self.space):
                self._conclude(frozen.number, None, "its sweep died while it drew its parameters")
            elif task := self._task(frozen.number, frozen.params):
                yield task
        while not self._exhausted and len(self.study.get_trials(deepcopy=False)) < self.search.n_trials:
            trial = studies.ask(self.study, self.space)
            if task := self._task(trial.number, trial.params):
                yield task

    def _refuse_orphans(self) -> None:
        """A killed sweep leaves its processes: beside them the same trials must not run a second time.

        Raises:
            AlreadyRunning: A trial is still running.
        """
        for frozen in studies.by_state(self.study, "running"):
            found = self._find(self.cell(frozen.number, frozen.params).key) if frozen.params else None
            if found is not None and found.state == "running":
                raise AlreadyRunning(
                    f"trial {frozen.number} of a sweep that was killed still runs (run {found.run_id[:8]})",
                    "wait until it has ended, or end its process; it is gone on with then",
                )

    def _task(self, number: int, params: dict[str, Any]) -> Task | None:
        """The process of a trial; None where the store has its run already, whose value then counts."""
        cell = self.cell(number, params)
        self._cells[cell.key] = (number, cell)
        found = self._find(cell.key)
        if found is not None and found.state in ("finished", "over budget", "pruned"):
            self._conclude(number, found)
            return None
        seconds = self.spec.budget.seconds
        limit = None if seconds is None else HANG_FACTOR * seconds + HANG_SECONDS
        return Task(
            cell.key, f"trial {number}", self.command(number, params, cell), self.journal.log(cell), limit
        )

    def cell(self, number: int, params: dict[str, Any]) -> Cell:
        """The cell of a trial: equal parameters are the same computation, whichever trial draws them."""
        overrides = {**self.spec.variants[0], **params}
        (cell,) = expand(replace(self.spec, variants=(overrides,)))
        stem = self.base.name.removeprefix(f"s{cell.seed} ")
        return replace(cell, experiment=self.base.experiment, name=f"#{number} {stem}")

    def command(self, number: int, params: dict[str, Any], cell: Cell) -> tuple[str, ...]:
        """The command line of a trial."""
        tags = {names.SWEEP: self.name, names.TRIAL: str(number)}
        tags |= {f"{names.TRIAL_PARAM}{name}": str(value) for name, value in params.items()}
        parent = self._parents.of(cell) if self._parents else ""
        words = cell.command(self.spec.name, parent, self.spec.budget, tags)
        if self.search.pruner is None:
            return words
        option = "--trainer.callbacks"
        return (
            *words,
            *(f"{option}+={PRUNING}", f"{option}.study={self.name}", f"{option}.trial={number}"),
            f"{option}.monitor={self.search.monitor}",
        )

    # ------------------------------------------------------------------ observer of the launcher

    def started(self, task: Task, attempt: int) -> None:
        """See `Observer`."""
        number, _ = self._cells[task.key]
        params = ", ".join(f"{k.rpartition('.')[2]}={_short(v)}" for k, v in self._params(number).items())
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(f"started  {task.label}{again}: {escape(params)}")

    def retried(self, task: Task, error: str) -> None:
        """See `Observer`."""
        self._say(f"[yellow]retried[/yellow]  {task.label}: {escape(error)}")

    def tick(self) -> None:
        """See `Observer`."""

    def stopping(self, reason: str) -> None:
        """See `Observer`."""
        self._say(f"[yellow]{reason}: ending the running trials; once more kills them[/yellow]")

    def leaving(self, reason: str, what: str) -> None:
        """See `Observer`."""
        self._say(f"[yellow]{reason}: {escape(what)}[/yellow]")

    def ended(self, outcome: Outcome) -> None:
        """See `Observer`."""
        number, cell = self._cells[outcome.task.key]
        self.journal.append(cell, outcome)
        if outcome.state == "interrupted":
            self._say(f"[yellow]stopped[/yellow]  trial {number}")
            return
        found = self._find(cell.key)
        ended = found is not None and found.state in ("finished", "over budget", "pruned")
        if ended:
            self._conclude(number, found)
            return
        kills = self.journal.kills(cell.key)
        if _can_go_on(outcome) and kills <= LOST_RETRIES:
            self._say(f"[yellow]left open[/yellow]  trial {number}: {escape(outcome.error)}")
            return
        error = outcome.error or "ended well, but the store has no finished run of it"
        error += f"; it was killed {kills} times" if kills > LOST_RETRIES else ""
        self._conclude(number, replace(found, error=error) if found else None, error)

    def _conclude(self, number: int, run: StoredCell | None, error: str = "") -> None:
        """Tell the study how a trial ended."""
        trial = studies.live_trial(self.study, self.study.get_trials(deepcopy=False)[number])
        state, value, error = self._judged(run, error)
        if run is not None:
            trial.set_user_attr(studies.RUN_ID, run.run_id)
        if error:
            trial.set_user_attr(studies.ERROR, error)
        self._exhausted = studies.tell(self.study, number, value, state) or self._exhausted
        colour = {"complete": "green", "pruned": "magenta", "fail": "red"}[state]
        best = studies.best_trial(self.study)
        text = f"[{colour}]{state}[/{colour}] trial {number}"
        text += f": {self.search.metric} {value:.4g}" if value is not None else f": {escape(error)}"
        text += f"[dim]; best {best.value:.4g}, trial {best.number}[/dim]" if best else ""
        self._say(text)

    def _judged(self, run: StoredCell | None, error: str) -> tuple[str, float | None, str]:
        """Optuna's state of a trial, its value where it is complete, and else why it has none."""
        if run is None:
            return "fail", None, error
        if run.state == "pruned":
            return "pruned", None, run.error
        if error:
            return "fail", None, error
        value = run.metrics.get(self.search.metric)
        if value is not None:
            return "complete", value, ""
        known = ", ".join(sorted(n for n in run.metrics if n.startswith(("best/", "final/"))))
        return "fail", None, f"its run has no metric {self.search.metric}; it has {known or 'none'}"

    # ------------------------------------------------------------------ what is left in the end

    def write_best(self) -> Path | None:
        """Write the best trial's configuration for `integrand fit --config`; None where there is none."""
        best = studies.best_trial(self.study)
        if best is None or studies.RUN_ID not in best.user_attrs:
            return None
        run = runs.find_run(best.user_attrs[studies.RUN_ID])
        path = self.journal.folder / f"best-{self.base.experiment.replace('/', '-').replace(' ', '-')}.yaml"
        params = "".join(f"#   {name}: {value}\n" for name, value in best.params.items())
        head = (
            f"# integrand fit --config {path}\n"
            f"# trial {best.number} of sweep {self.name}: {self.search.metric} {best.value:.6g}, "
            f"run {run.run_id}\n{params}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + runs.config_path(run).read_text(encoding="utf-8"), encoding="utf-8")
        return path

    def _describe(self) -> None:
        """Show the best trials where MLflow shows the sweep."""
        if self._parents is None:
            return
        sign = -1 if self.search.direction == "maximize" else 1
        complete = sorted(studies.by_state(self.study, "complete"), key=lambda t: sign * t.value)
        lines = _table(complete[:_SHOWN], self._parents.experiment_id)
        found = {s: len(studies.by_state(self.study, s)) for s in ("complete", "pruned", "fail", "running")}
        first = f"Sweep of `{self.search.metric}` ({self.search.direction}): "
        first += ", ".join(f"{n} {state}" for state, n in found.items() if n)
        values = {f"basics/{state}_trials": float(n) for state, n in found.items()}
        if complete:
            values[names.QUALITY] = complete[0].value
        status = "FINISHED" if self._is_done() else "KILLED"
        self._parents.describe(self.base, "\n".join([first, "", *lines]), values, status)

    def _params(self, number: int) -> dict[str, Any]:
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def _find_stored(self, key: str) -> StoredCell | None:
        return stored_cells(self.spec.name, create=True, key=key).get(key)

    def _base_digest(self) -> str:
        """What all trials share; the key of the base cell would change with the code."""
        content = [
            self.base.source.content(),
            dict(self.base.overrides),
            self.base.args,
            self.base.seed,
        ]
        text = json.dumps([*content, self.search.metric], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def sweeps(spec: SuiteSpec, journal: Journal, console: Console, create: bool = True) -> Iterator[Sweep]:
    """One search per experiment of the file, so that each gets the same number of trials."""
    for experiment in spec.experiments:
        yield Sweep(replace(spec, experiments=(experiment,)), journal, console, create)


def _table(trials: Sequence[Any], experiment_id: str) -> list[str]:
    """A Markdown table of trials, with links to their runs."""
    lines = ["| trial | run | value | parameters |", "|---|---|---|---|"]
    for trial in trials:
        run_id = trial.user_attrs.get(studies.RUN_ID, "")
        link = notes.run_link(experiment_id, run_id, run_id[:8])
        params = ", ".join(f"`{k}: {_short(v)}`" for k, v in trial.params.items())
        lines.append(f"| {trial.number} | {link} | {trial.value:.4g} | {params} |")
    return lines


def _can_go_on(outcome: Outcome) -> bool:
    """Whether a trial has not failed by itself: it was killed, for want of memory say, or runs elsewhere."""
    code, limit = outcome.returncode, outcome.task.limit
    hung = limit is not None and outcome.seconds >= limit
    return (
        not hung and code is not None and (code < 0 or code > _BY_SIGNAL or code == AlreadyRunning.exit_code)
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
