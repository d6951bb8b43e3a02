"""`integrand suite run | plan | status | stop | sweep`: many experiments over seeds, resumable."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TrackingError, UsageError
from .launchers import add_run_options, check_options, make_launcher, store_note
from .suite_options import load_spec, suite_parser
from .suite_tables import counts, make_console, print_note, print_reasons, state_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..suites.cells import Cell
    from ..suites.spec import SuiteSpec
    from ..suites.states import CellState
    from ..suites.store import StoredCell

_USAGE = """usage: integrand suite {run,plan,status,stop,sweep} SUITE [options]

  run     run every cell of a suite that has no finished run yet
  plan    print what would run, and how long it may take
  status  print where every cell stands; --watch keeps it up to date
  stop    end what runs of it, on this machine or in SLURM
  sweep   search hyper-parameters: every trial an ordinary run

SUITE is a suite file, or the name of a packaged one: integrand suite run quickstart
integrand suite COMMAND --help lists the options."""

WATCH_SECONDS = 2.0


def run(argv: Sequence[str]) -> int:
    """Run `integrand suite` with the words after it.

    Returns:
        0 where every cell is finished (for `run`), 1 where not, 128 + n after signal n.

    Raises:
        UsageError: The command, an option or the suite file is wrong, or the suite is already running.
        TrackingError: The store or the folder of logs cannot be used.
    """
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "plan": _plan,
        "status": _status,
        "stop": _stop,
        "sweep": _sweep,
    }
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if argv else 2
    if argv[0] not in commands:
        from ..suggest import did_you_mean

        raise UsageError(
            f"unknown suite command {argv[0]!r}{did_you_mean(argv[0], commands)}",
            "integrand suite run, plan, status, stop or sweep SUITE",
        )
    return commands[argv[0]](list(argv[1:]))


def _cells(spec: SuiteSpec) -> list[Cell]:
    from ..suites.cells import expand

    if spec.sweep:
        raise UsageError(f"{spec.name} is a sweep", "integrand suite sweep SUITE runs it")
    return expand(spec)


def _run(argv: list[str]) -> int:
    """`suite run`."""
    parser = suite_parser(
        "run", "Run every cell of a suite that has no finished run yet; safe to stop and to repeat."
    )
    add_run_options(parser)
    args = parser.parse_args(argv)
    check_options(args)
    spec = load_spec(args)
    cells = _cells(spec)
    from ..config_files import find
    from ..suites.journal import Journal
    from ..suites.parents import ParentRuns
    from ..suites.runner import run_suite
    from ..suites.store import stored_cells

    suite, console = spec.name, make_console()
    launcher, jobs = make_launcher(args, Journal.of(suite).folder.absolute(), len(cells), leave=True)
    print_note(console, store_note(args.launcher))
    try:
        Journal.of(suite).keep_file(find(args.suite, "suite"))
        result = run_suite(
            suite,
            cells,
            launcher,
            jobs,
            lambda: stored_cells(suite, create=True),
            Journal.of(suite),
            console,
            budget=spec.budget,
            parents=lambda: ParentRuns(suite, cells),
        )
    except OSError as error:
        raise TrackingError(
            f"cannot write {error.filename}: {error.strerror}", "set INTEGRAND_RUNS to a writable folder"
        ) from error
    if failed := sum(s.state == "failed" for s in result.states):
        console.print(f"[red]{failed} failed[/red]")
    print_reasons(console, result.states, Journal.of(suite))
    finished = sum(s.state == "finished" for s in result.states)
    over = sum(s.state == "over budget" for s in result.states)
    colour = "green" if result.complete else "yellow"
    more = f", {over} used up their budget" if over else ""
    console.print(f"[{colour}]{finished} of {len(cells)} cells are finished{more}[/{colour}]")
    if result.complete:
        console.print(f"compare them: integrand compare --experiment {suite}", soft_wrap=True)
        return 0
    name = shlex.quote(args.suite)
    engine = "" if args.launcher == "local" else f" --launcher {args.launcher}"
    console.print(f"go on with: integrand suite run {name}{engine}", soft_wrap=True)
    if any(s.state == "queued" for s in result.states) or (args.launcher == "slurm" and launcher.stop_signal):
        console.print(f"end the jobs with: integrand suite stop {name}", soft_wrap=True)
    return 128 + launcher.stop_signal if launcher.stop_signal else 1


def _plan(argv: list[str]) -> int:
    """`suite plan`."""
    parser = suite_parser("plan", "Print what suite run would run and how long it may take; runs nothing.")
    parser.add_argument(
        "--commands", action="store_true", help="print the command of every cell to run instead"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="estimate for N runs at a time")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} runs nothing", "take at least 1")
    spec = load_spec(args)
    cells = _cells(spec)
    from ..suites import engines
    from ..suites.estimate import in_words
    from ..suites.journal import Journal
    from ..suites.states import DONE, cell_states, estimated_seconds, expected_times, stale_note
    from ..suites.store import stored_cells

    suite = spec.name
    stored, journal = stored_cells(suite), Journal.of(suite)
    states = cell_states(cells, stored, journal, spec.budget, engines.held(journal.folder))
    todo = [s.cell for s in states if s.state not in (*DONE, "running", "queued")]
    if args.commands:
        _print_commands(todo, cells, stored, spec)
        return 0
    console = make_console()
    title = f"suite {suite}: would run {len(todo)} of {len(cells)} cells"
    console.print(state_table(title, states, expected_times(cells, journal, stored)))
    print_note(console, stale_note(cells, stored))
    if todo:
        seconds = estimated_seconds(todo, journal, stored)
        console.print(f"computing time, one run after another: {in_words(seconds)}")
        if args.jobs > 1 and seconds is not None:
            console.print(f"at {args.jobs} at a time on cores of their own: {in_words(seconds / args.jobs)}")
    return 0


def _print_commands(
    todo: Sequence[Cell], cells: Sequence[Cell], stored: Mapping[str, StoredCell], spec: SuiteSpec
) -> None:
    """The commands of the cells, those that need a teacher last."""
    from ..suites.arms import TEACHER
    from ..suites.cells import by_key
    from ..suites.teachers import teaching, waves

    known = by_key(cells)
    for cell in (cell for wave in waves(todo, known) for cell in wave):
        words, why = teaching(cell, known, stored, spec.budget)
        if why:
            print(f"# {why}")
            words = (f"--{TEACHER}=best.ckpt",)
        print(shlex.join((*cell.command(spec.name, budget=spec.budget), *words)))


def _status(argv: list[str]) -> int:
    """`suite status`."""
    parser = suite_parser("status", "Print where every cell of a suite stands.")
    parser.add_argument("--watch", action="store_true", help="keep the table up to date until all is done")
    parser.add_argument("--json", action="store_true", help="for programs: one object per cell")
    args = parser.parse_args(argv)
    spec = load_spec(args)
    if spec.sweep:
        from .sweep import show_status

        return show_status(spec, as_json=args.json)
    cells = _cells(spec)
    from ..suites import engines
    from ..suites.journal import Journal
    from ..suites.states import cell_states, stale_note
    from ..suites.store import stored_cells

    suite, journal = spec.name, Journal.of(spec.name)

    def look() -> tuple[list[CellState], str]:
        stored, held = stored_cells(suite), engines.held(journal.folder)
        return cell_states(cells, stored, journal, spec.budget, held), stale_note(cells, stored)

    def table(states: Sequence[CellState]) -> RenderableType:
        finished = sum(s.state == "finished" for s in states)
        text = f"suite {suite}: {finished} of {len(cells)} cells finished ({counts(states)})"
        return state_table(text, states)

    states, note = look()
    if args.json:
        print(json.dumps({"suite": suite, "cells": [s.to_dict() for s in states]}, indent=1))
        return 0
    console = make_console()
    if args.watch:
        states = _watch(console, lambda: look()[0], table)
    if not (args.watch and console.is_terminal):
        console.print(table(states))
    print_note(console, note)
    print_reasons(console, states, journal)
    return 0


def _watch(
    console: Any,
    look: Callable[[], list[CellState]],
    table: Callable[[Sequence[CellState]], RenderableType],
) -> list[CellState]:
    """Look until nothing is left to do, or Ctrl-C; on no terminal, print a line at every change."""
    from contextlib import nullcontext

    from rich.live import Live

    from ..suites.states import DONE

    states, said = look(), ""
    live = Live(table(states), console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(table(states), refresh=True)
            elif (line := counts(states)) != said:
                said = line
                console.print(line)
            if all(s.state in DONE for s in states):
                return states
            try:
                time.sleep(WATCH_SECONDS)
                states = look()
            except KeyboardInterrupt:
                return states


def _stop(argv: list[str]) -> int:
    """`suite stop`."""
    from .suite_stop import run as run_stop

    return run_stop(argv)


def _sweep(argv: list[str]) -> int:
    """`suite sweep`."""
    from .sweep import run as run_sweep

    return run_sweep(argv)
