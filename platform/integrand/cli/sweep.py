"""`integrand suite sweep`: a hyper-parameter search in which every trial is an ordinary run."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TrackingError
from .launchers import add_run_options, check_options, make_launcher
from .suite_options import load_spec, suite_parser
from .suite_tables import make_console

if TYPE_CHECKING:
    from ..suites.spec import SuiteSpec
    from ..suites.sweep import Sweep

_STYLES = {"complete": "green", "pruned": "magenta", "fail": "red", "running": "cyan"}


def run(argv: Sequence[str]) -> int:
    """Run `integrand suite sweep` with the words after it.

    Returns:
        0 where all trials are done and one of them is the best, 1 where not, 128 + n after signal n.

    Raises:
        UsageError: The file, an option or the search is wrong, or the sweep is already running.
        TrackingError: A store or the folder of logs cannot be used.
    """
    parser = suite_parser(
        "sweep", "Search hyper-parameters: every trial is an ordinary run; safe to stop and to repeat."
    )
    add_run_options(parser)
    parser.set_defaults(retries=0)
    parser.add_argument(
        "--trials", type=int, metavar="N", help="trials in the end; default: the file's n_trials"
    )
    args = parser.parse_args(argv)
    check_options(args)
    spec = load_spec(args)
    if args.trials is not None and spec.sweep:
        spec = _with_trials(spec, args.trials)
    from ..suites.journal import Journal
    from ..suites.search import read_search
    from ..suites.study import STORAGE_VARIABLE, storage_url
    from ..suites.sweep import sweeps

    search = read_search(spec)
    # for the trials: a URL may hold a password, and command lines are recorded
    os.environ[STORAGE_VARIABLE] = storage_url(search)
    folder = Journal.of(spec.name).folder.absolute()
    # a trial that nobody watches would never be told to the study
    launcher, _ = make_launcher(args, folder, search.n_trials, leave=False)
    console, complete = make_console(), True
    try:
        for sweep in sweeps(spec, Journal.of(spec.name), console):
            done = sweep.run(launcher)
            path = sweep.write_best()
            complete = complete and done and path is not None
            if path is not None:
                console.print(f"best trial's configuration: {path}", soft_wrap=True)
            if launcher.stop_signal:
                break
    except OSError as error:
        raise TrackingError(
            f"cannot write {error.filename}: {error.strerror}", "set INTEGRAND_RUNS to a writable folder"
        ) from error
    if launcher.stop_signal or not complete:
        console.print(f"go on with: integrand suite sweep {shlex.quote(args.suite)}", soft_wrap=True)
    if launcher.stop_signal:
        return 128 + launcher.stop_signal
    return 0 if complete else 1


def show_status(spec: SuiteSpec, as_json: bool) -> int:
    """`suite status` of a sweep.

    Args:
        spec: The sweep file.
        as_json: For programs.
    """
    from ..suites.journal import Journal
    from ..suites.sweep import sweeps

    console = make_console()
    found = [(s, _trials(s)) for s in sweeps(spec, Journal.of(spec.name), console, create=False)]
    if as_json:
        print(json.dumps({"sweep": spec.name, "studies": {s.name: trials for s, trials in found}}, indent=1))
        return 0
    for sweep, trials in found:
        done = sum(t["state"] != "running" for t in trials)
        console.print(f"sweep {sweep.name}: {done} of {sweep.search.n_trials} trials done", soft_wrap=True)
        if trials:
            console.print(_table(sweep, trials))
    return 0


def _trials(sweep: Sweep) -> list[dict[str, Any]]:
    from ..suites import study as studies

    if sweep.study is None:
        return []
    return [
        {
            "trial": t.number,
            "state": t.state.name.lower(),
            "value": t.value if t.state.name == "COMPLETE" else None,
            "params": dict(t.params),
            "run_id": t.user_attrs.get(studies.RUN_ID, ""),
            "error": t.user_attrs.get(studies.ERROR, ""),
        }
        for t in sweep.study.get_trials(deepcopy=False)
    ]


def _table(sweep: Sweep, trials: Sequence[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    options = list(sweep.search.space)
    table = Table("trial", "state", sweep.search.metric, *(escape(o) for o in options), "run", "error")
    for trial in trials:
        value = trial["value"]
        params = (_text(trial["params"].get(option)) for option in options)
        table.add_row(
            str(trial["trial"]),
            f"[{_STYLES.get(trial['state'], 'dim')}]{trial['state']}[/]",
            "" if value is None else f"{value:.4g}",
            *(escape(p) for p in params),
            trial["run_id"][:8],
            escape(trial["error"]),
        )
    return table


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_trials(spec: SuiteSpec, trials: int) -> SuiteSpec:
    from dataclasses import replace

    return replace(spec, sweep={**spec.sweep, "n_trials": trials})
