"""`integrand suite stop`: ends what runs of a suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from ..errors import IntegrandError, UsageError
from .parser import Parser


def run(argv: Sequence[str]) -> int:
    """Cancel a suite's jobs in SLURM, and end the `suite run` or `sweep` of this machine as Ctrl-C does.

    Raises:
        UsageError: There is no such suite file.
        IntegrandError: SLURM does not cancel the jobs.
    """
    parser = Parser(
        prog="integrand suite stop",
        description="End what runs of a suite in order, so that suite run can go on: its jobs in SLURM, and "
        "the suite run or sweep of this machine with its cells.",
    )
    parser.add_argument("suite", metavar="SUITE", help="suite file, or name of a suite")
    args = parser.parse_args(argv)
    from ..suites import engines
    from ..suites.journal import Journal
    from ..suites.spec import read_suite

    try:
        name = read_suite(args.suite).name
    except UsageError:
        # its file may be elsewhere: a name is enough to find what runs
        name = args.suite
        if not Journal.of(name).folder.is_dir():
            raise
    journal = Journal.of(name)
    runner, held = journal.runner(), engines.held(journal.folder)
    if held:
        if problem := engines.cancel(journal.folder, list(held)):
            raise IntegrandError(f"SLURM does not cancel the jobs of {name}: {problem}", "try again")
        print(f"cancelled {len(held)} jobs of {name} in SLURM")
    if runner is not None:
        os.kill(runner, signal.SIGINT)
        print(f"told the process {runner}, which runs {name}, to end")
    if not held and runner is None:
        print(f"nothing of {name} runs on this machine or in SLURM")
    return 0
