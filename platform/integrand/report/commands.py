"""The commands that made the runs, and those that make them again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from integrand.record import RunRecord

from .page import Command
from .provenance import commits

_OWN = {
    "--trainer.logger.experiment",
    "--trainer.logger.suite",
    "--trainer.logger.run_key",
    "--trainer.logger.run_id",
}
"""Options that a suite adds to name the run; by hand they would only mislabel it."""


def run_command(run: RunRecord) -> str:
    """What started a run, as one would type it; empty where that was not recorded."""
    words = [str(word) for word in run.provenance.get("command") or ()]
    if len(words) < 2:
        return ""
    kept, skip = ["integrand"], False
    for word in words[1:]:
        if skip or word in _OWN:
            skip = not skip
            continue
        if any(word.startswith(f"{own}=") for own in _OWN):
            continue
        kept.append(_portable(word))
    return shlex.join(kept)


def reproduction(
    runs: Sequence[RunRecord], report: Sequence[str], experiment: str | None
) -> tuple[Command, ...]:
    """The steps from nothing to this page.

    Args:
        runs: The runs that count.
        report: The words after `integrand report`.
        experiment: The MLflow experiment, where one was named.
    """
    words = [_portable(word) for word in report] or (["--experiment", experiment] if experiment else [])
    page = Command("This page", (shlex.join(["integrand", "report", *words]),))
    return (*_code_step(runs), *_runs_step(runs), page)


def _code_step(runs: Sequence[RunRecord]) -> list[Command]:
    """How to get the code; none where no run recorded its commit."""
    found = commits(runs)
    if not found:
        return []
    commit, dirty = found[0]
    also = []
    if dirty:
        also.append("the work tree had uncommitted changes; each run's provenance holds them as a diff")
    if len(found) > 1:
        also.append(f"{len(found) - 1} other states of the code made some of the runs")
    what = "The code" + (f" ({'; '.join(also)})" if also else "")
    return [Command(what, (f"git checkout {commit[:12]}", "pip install -e . -c constraints.txt"))]


def _runs_step(runs: Sequence[RunRecord]) -> list[Command]:
    """How to make the runs: by their suites, or else the first of them one by one."""
    suites = [name for name, _ in Counter(run.suite for run in runs if run.suite).most_common()]
    if suites:
        lines = tuple(shlex.join(["integrand", "suite", "run", name]) for name in suites)
        return [Command("The runs; finished ones are skipped", lines)]
    single = [text for run in runs[:3] if (text := run_command(run))]
    if not single:
        return []
    more = len(runs) - len(single)
    rest = (f"# … and {more} more; every family below shows its own",) if more > 0 else ()
    return [Command("The runs", (*single, *rest))]


def _portable(word: str) -> str:
    """A path inside the package or the repository from its `configs` on; other paths as they are."""
    path = PurePosixPath(word.partition("=")[2] or word)
    if path.is_absolute() and "configs" in path.parts and path.suffix in {".yaml", ".yml"}:
        short = "/".join(path.parts[len(path.parts) - path.parts[::-1].index("configs") - 1 :])
        head, equals, _ = word.partition("=")
        return f"{head}={short}" if equals else short
    return word
