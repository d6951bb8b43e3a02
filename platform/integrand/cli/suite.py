"""`integrand suite run | plan | status`: many experiments over seeds, as one thing that can be resumed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TrackingError, UsageError
from .parser import Parser

if TYPE_CHECKING:
    from rich.console import Console

    from ..suites.runner import CellState

_USAGE = """usage: integrand suite {run,plan,status} SUITE [options]

  run     run every cell of a suite that has no finished run yet
  plan    print what would run, and how long it may take
  status  print where every cell stands

SUITE is a suite file, or the name of a packaged one: integrand suite run quickstart
integrand suite COMMAND --help lists the options."""

_STYLES = {"finished": "green", "failed": "red", "running": "cyan", "stopped": "yellow", "waiting": "dim"}


def run(argv: Sequence[str]) -> int:
    """Run `integrand suite` with the words after it.

    Returns:
        0 where every cell is finished (for `run`), 1 where not, 128 + n after signal n.

    Raises:
        UsageError: The command, an option or the suite file is wrong, or the suite is already running.
        TrackingError: The store or the folder of logs cannot be used.
    """
    commands = {"run": _run, "plan": _plan, "status": _status}
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if argv else 2
    if argv[0] not in commands:
        from .suggest import did_you_mean

        raise UsageError(
            f"unknown suite command {argv[0]!r}{did_you_mean(argv[0], commands)}",
            "integrand suite run, plan or status SUITE",
        )
    return commands[argv[0]](list(argv[1:]))


def _parser(command: str, description: str) -> Parser:
    parser = Parser(prog=f"integrand suite {command}", description=description)
    parser.add_argument("suite", metavar="SUITE", help="suite file, or name of a packaged suite")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    return parser


def _run(argv: list[str]) -> int:
    """`suite run`."""
    parser = _parser(
        "run", "Run every cell of a suite that has no finished run yet; safe to stop and to repeat."
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time, default: one per GPU or core")
    parser.add_argument(
        "--retries", type=int, default=1, metavar="K", help="new tries after a kill, default: 1"
    )
    parser.add_argument("--launcher", choices=("local",), default="local", help="engine that runs the cells")
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} runs nothing", "take at least 1")
    if args.retries < 0:
        raise UsageError(f"--retries {args.retries} is negative", "take 0 for no second try")
    suite, cells = _load(args)
    from ..suites import resources
    from ..suites.journal import Journal
    from ..suites.local import LocalLauncher
    from ..suites.runner import run_suite
    from ..suites.store import stored_cells

    jobs = args.jobs or resources.default_jobs(len(resources.devices()), resources.cores())
    jobs = min(jobs, len(cells))
    console = _console()
    launcher = LocalLauncher(jobs, args.retries)
    try:
        result = run_suite(
            suite, cells, launcher, jobs, lambda: stored_cells(suite, create=True), Journal.of(suite), console
        )
    except OSError as error:
        raise TrackingError(
            f"cannot write {error.filename}: {error.strerror}", "set INTEGRAND_RUNS to a writable folder"
        ) from error
    finished = sum(s.state == "finished" for s in result.states)
    failed = [s for s in result.states if s.state == "failed"]
    if failed:
        console.print(f"[red]{len(failed)} failed[/red]")
        _print_failed(console, failed, Journal.of(suite))
    colour = "green" if result.complete else "yellow"
    console.print(f"[{colour}]{finished} of {len(cells)} cells are finished[/{colour}]")
    if result.complete:
        console.print(f"compare them: integrand compare --experiment {suite}", soft_wrap=True)
        return 0
    console.print(f"go on with: integrand suite run {shlex.quote(args.suite)}", soft_wrap=True)
    return 128 + launcher.stop_signal if launcher.stop_signal else 1


def _plan(argv: list[str]) -> int:
    """`suite plan`."""
    parser = _parser("plan", "Print what suite run would run and how long it may take; runs nothing.")
    parser.add_argument(
        "--commands", action="store_true", help="print the command of every cell to run instead"
    )
    args = parser.parse_args(argv)
    suite, cells = _load(args)
    from ..suites.estimate import in_words
    from ..suites.journal import Journal
    from ..suites.runner import cell_states, estimated_seconds, stale_note
    from ..suites.store import stored_cells

    stored, journal = stored_cells(suite), Journal.of(suite)
    states = cell_states(cells, stored, journal)
    todo = [s.cell for s in states if s.state not in ("finished", "running")]
    if args.commands:
        for cell in todo:
            print(shlex.join(cell.command(suite)))
        return 0
    console = _console()
    _print_table(console, f"suite {suite}: would run {len(todo)} of {len(cells)} cells", states)
    _print_note(console, stale_note(cells, stored))
    if todo:
        console.print(
            f"computing time, one run after another: {in_words(estimated_seconds(todo, journal, stored))}"
        )
    return 0


def _status(argv: list[str]) -> int:
    """`suite status`."""
    args = _parser("status", "Print where every cell of a suite stands.").parse_args(argv)
    suite, cells = _load(args)
    from ..suites.journal import Journal
    from ..suites.runner import cell_states, stale_note
    from ..suites.store import stored_cells

    journal = Journal.of(suite)
    stored = stored_cells(suite)
    states = cell_states(cells, stored, journal)
    finished = sum(s.state == "finished" for s in states)
    console = _console()
    _print_table(console, f"suite {suite}: {finished} of {len(cells)} cells finished", states)
    _print_note(console, stale_note(cells, stored))
    _print_failed(console, [s for s in states if s.state == "failed"], journal)
    return 0


def _load(args: Any) -> tuple[str, list[Any]]:
    """The name and the cells of the suite; children inherit the store through the environment."""
    from ..suites.cells import expand
    from ..suites.spec import read_suite

    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    spec = read_suite(args.suite)
    return spec.name, expand(spec)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # a log or a pipe has no width of its own
    return console if console.is_terminal else Console(highlight=False, width=140)


def _print_table(console: Console, title: str, states: Sequence[CellState]) -> None:
    """Experiments down, seeds across."""
    from rich.markup import escape
    from rich.table import Table

    seeds = list(dict.fromkeys(s.cell.seed for s in states))
    rows: dict[str, dict[int, CellState]] = {}
    for state in states:
        rows.setdefault(state.cell.experiment, {})[state.cell.seed] = state
    table = Table("experiment", *(f"seed {seed}" for seed in seeds), title=title, title_justify="left")
    for experiment, by_seed in rows.items():
        table.add_row(escape(experiment), *(_cell_text(by_seed.get(seed)) for seed in seeds))
    console.print(table)


def _print_note(console: Console, note: str) -> None:
    if note:
        console.print(f"[dim]{note}[/dim]", soft_wrap=True)


def _cell_text(state: CellState | None) -> str:
    if state is None:
        return ""
    seconds = f" {state.seconds:.0f} s" if state.state == "finished" and state.seconds is not None else ""
    return f"[{_STYLES[state.state]}]{state.state}{seconds}[/]"


def _print_failed(console: Console, failed: Sequence[CellState], journal: Any) -> None:
    from rich.markup import escape

    for state in failed:
        console.print(f"  {escape(state.cell.label)}: {escape(state.error)}", soft_wrap=True)
        console.print(f"    [dim]{escape(str(journal.log(state.cell)))}[/dim]", soft_wrap=True)
