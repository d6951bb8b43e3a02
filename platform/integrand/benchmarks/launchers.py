"""What an engine adds to a cell: `python -m integrand.benchmarks.launchers local slurm ray`.

Cells are an empty Python program, so that all of their time is the engine's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..suites.launcher import Launcher, Outcome, Task


class _Clock:
    """Notes when cells end."""

    def __init__(self) -> None:
        self.ended_at: list[float] = []

    def started(self, task: Task, attempt: int) -> None:
        """See `Observer`."""

    def retried(self, task: Task, error: str) -> None:
        """See `Observer`."""

    def ended(self, outcome: Outcome) -> None:
        """See `Observer`."""
        if outcome.state != "finished":
            raise SystemExit(f"a cell {outcome.state}: {outcome.error}")
        self.ended_at.append(time.monotonic())

    def tick(self) -> None:
        """See `Observer`."""

    def stopping(self, reason: str) -> None:
        """See `Observer`."""

    def leaving(self, reason: str, what: str) -> None:
        """See `Observer`."""


def engine(name: str, folder: Path, jobs: int) -> Launcher:
    """The launcher of that name.

    Args:
        name: `local`, `slurm` or `ray`.
        folder: Where it may write.
        jobs: Cells at a time.
    """
    if name == "slurm":
        from ..suites.slurm import SlurmLauncher
        from ..suites.slurm_script import SlurmOptions

        return SlurmLauncher(folder, SlurmOptions(), jobs, retries=0, poll=1.0)
    if name == "ray":
        from ..suites.ray_cluster import RayLauncher

        return RayLauncher(gpus=0.0, jobs=jobs, retries=0)
    from ..suites.local import LocalLauncher

    return LocalLauncher(jobs, retries=0, device_names=())


def measure(launcher: Launcher, folder: Path, cells: int) -> tuple[float, float]:
    """Seconds until one cell has ended, and seconds per cell of many.

    Args:
        launcher: The engine.
        folder: Where logs go.
        cells: How many are many.
    """
    found = []
    for count in (1, cells):
        command = (sys.executable, "-S", "-c", "pass")
        tasks = [
            Task(f"{count}-{i}", f"cell {i}", command, folder / f"{count}-{i}.log") for i in range(count)
        ]
        clock, begin = _Clock(), time.monotonic()
        launcher.launch(tasks, clock)
        found.append((max(clock.ended_at) - begin) / count)
    return found[0], found[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per engine."""
    parser = argparse.ArgumentParser(
        prog="python -m integrand.benchmarks.launchers", description="What an engine adds to a cell."
    )
    parser.add_argument("engines", nargs="+", choices=("local", "slurm", "ray"))
    parser.add_argument("--cells", type=int, default=16, metavar="N", help="cells of the second figure")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cells at a time")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="medians of so many")
    args = parser.parse_args(argv)
    print(f"engine  one cell  per cell of {args.cells}, {args.jobs} at a time")
    for name in args.engines:
        rows = []
        # on a shared disk: the nodes of a cluster must see it
        with tempfile.TemporaryDirectory(dir=".") as folder:
            launcher = engine(name, Path(folder).absolute(), args.jobs)
            for i in range(args.repeat):
                rows.append(measure(launcher, Path(folder).absolute() / str(i), args.cells))
        one, many = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:6}  {one:6.2f} s  {many:6.2f} s", flush=True)


if __name__ == "__main__":
    main()
