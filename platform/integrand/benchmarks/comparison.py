"""`integrand bench comparison`: how long a comparison of many recorded runs takes, on generated records."""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from integrand.errors import UsageError
from integrand.record import RunRecord

TARGET_SECONDS = 10.0
"""Wall time that 1,000 records may take; other numbers are held to the same time per record."""
TARGET_GIGABYTES = 2.0
"""Peak resident memory of 10,000 records or fewer."""
TARGET_REPORT_SECONDS = 30.0
"""Wall time that the report of 1,000 records may take; more records are held to the same time per record."""
TARGET_REPORT_MEGABYTES = 10.0
"""Size of its page, likewise."""
FAMILIES = 10
POINTS = 400
"""Points per series: forty epochs of ten recorded values."""
_SERIES = ("train/loss", "train/acc", "val/loss", "val/acc", "solver/nfe_forward", "solver/nfe_backward")


@dataclass(frozen=True)
class Measured:
    """One measured quantity and what it may be at most."""

    name: str
    value: float
    unit: str
    target: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value < self.target


Step = Callable[[Path, int, Path], list[Measured]]
"""Takes the folder of records, their number and a folder to write to; runs on the records of the whole
benchmark, one step after the other."""


def measure_compare(records: Path, runs: int, out: Path) -> list[Measured]:
    """`integrand compare --records`: time, and the peak memory of this process so far."""
    from integrand.comparison.analysis import compare_selected
    from integrand.comparison.files.write import write
    from integrand.comparison.records.load import Selection
    from integrand.comparison.tables.terminal import print_comparison

    start = time.perf_counter()
    comparison = compare_selected(Selection(None, records))
    print_comparison(comparison, Console(file=io.StringIO(), width=140))
    write(comparison, out)
    seconds = time.perf_counter() - start
    return [
        Measured("compare", seconds, "s", TARGET_SECONDS * max(1.0, runs / 1000)),
        Measured("memory", peak_gigabytes(), "GB", TARGET_GIGABYTES * max(1.0, runs / 10_000)),
    ]


def measure_report(records: Path, runs: int, out: Path) -> list[Measured]:
    """`integrand report --records`: time, and the size of the page."""
    from integrand.comparison.analysis import compare_selected
    from integrand.comparison.records.load import Selection
    from integrand.report.artifacts import in_folder
    from integrand.report.build import build_page
    from integrand.report.write import write

    start = time.perf_counter()
    comparison = compare_selected(Selection(None, records))
    runs_shown = [run.run_id for part in comparison.parts for row in part.rows for run in row.group.runs]
    page = build_page(comparison, in_folder(records, runs_shown), ["--records", str(records)])
    write(comparison, page, out)
    seconds = time.perf_counter() - start
    size = (out / "report.html").stat().st_size / 1e6
    return [
        Measured("report", seconds, "s", TARGET_REPORT_SECONDS * max(1.0, runs / 1000)),
        Measured("page", size, "MB", TARGET_REPORT_MEGABYTES * max(1.0, runs / 1000)),
    ]


STEPS: list[Step] = [measure_compare, measure_report]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        "--runs", type=int, default=1000, metavar="N", help="generated records (default: 1000)"
    )
    parser.add_argument(
        "--points", type=int, default=POINTS, metavar="N", help=f"points per series ({POINTS})"
    )


def run(args: argparse.Namespace) -> int:
    """Generate records, take every step of `STEPS` on them, and hold what it measured to its targets.

    Returns:
        0 where all targets are met, else 1.

    Raises:
        UsageError: A number is out of range.
    """
    if args.runs < 2 or args.points < 0:
        raise UsageError(f"--runs {args.runs} --points {args.points} is too few", "take at least two runs")
    with generated_records(args.runs, args.points) as folder:
        size = sum(path.stat().st_size for path in folder.rglob("record.json"))
        print(f"{args.runs:,} records, {size / 1e6:.0f} MB")
        met = True
        for number, step in enumerate(STEPS):
            for found in step(folder, args.runs, folder.parent / f"out-{number}"):
                met = met and found.met
                print(
                    f"{found.name:12} {found.value:8.2f} {found.unit:3} "
                    f"target < {found.target:g} {found.unit}   {'met' if found.met else 'MISSED'}"
                )
    return 0 if met else 1


@contextlib.contextmanager
def generated_records(runs: int, points: int = POINTS) -> Iterator[Path]:
    """A folder of generated records, removed afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "records"
        for index in range(runs):
            path = folder / f"{index:06d}" / "record.json"
            path.parent.mkdir(parents=True)
            path.write_text(generate_record(index, points).to_json(), encoding="utf-8")
        yield folder


def peak_gigabytes() -> float:
    """The largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes on Linux, bytes on macOS (getrusage(2))
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def generate_record(index: int, points: int = POINTS) -> RunRecord:
    """A made-up record of the shape that tracking writes; the same index gives the same record.

    One run in forty failed. Families differ by their mean accuracy and their NFE; curves rise to the run's
    accuracy. One run in twenty is an evaluation of an earlier one with another solver.
    """
    draw = np.random.default_rng(index)
    evaluation = index % 20 == 19 and index >= 20
    source = index - 20 if evaluation else index
    family, seed = source % FAMILIES, source // FAMILIES
    accuracy = 0.80 + 0.01 * family + draw.normal(0, 0.01)
    failed = bool(draw.random() < 1 / 40)
    nfe = float(6 * family)
    record = RunRecord(
        run_id=f"{index:032x}",
        run_name=f"family-{family}-s{seed}",
        experiment="generated",
        status="FAILED" if failed else "FINISHED",
        started=1.7e9 + index,
        ended=1.7e9 + index + 60,
        error={"type": "NonFiniteLossError", "message": "the loss became NaN at step 12"} if failed else None,
        family=f"family-{family}",
        group="continuous",
        task="classification",
        solver="dopri5 rtol=1e-3 atol=1e-3",
        data={"name": "generated", "digest": "sha256:0", "n_train": 6000, "n_val": 500, "n_test": 500},
        seed=seed,
        config_digest=f"{family:064x}",
        config={"model": {"class_path": f"Family{family}", "init_args": {"width": 16 + family}}},
        monitor={"name": "val/acc", "mode": "max"},
    )
    if evaluation:
        record.evaluates = {"run_id": f"{source:032x}", "epoch": 39}
        record.solver = "euler, 8 steps"
        record.metrics = {"final/test_acc": accuracy - 0.01, "test/acc": accuracy - 0.01}
        return record
    solver = {"solver/nfe_forward": nfe, "solver/nfe_backward": 0.0, "solver/vjps": nfe}
    if not failed:
        record.metrics = {
            "final/test_acc": accuracy,
            "best/val_acc": accuracy + 0.01,
            "best/epoch": 39,
        } | solver
    record.cost = {
        "parameters": 10_000.0 + 100 * family,
        "seconds_per_epoch": 1 + 0.1 * family + 0.05 * float(draw.random()),
        "peak_memory_mb": 400.0 + family,
    }
    _add_history(record, accuracy, nfe, points, draw)
    return record


def _add_history(
    record: RunRecord, accuracy: float, nfe: float, points: int, draw: np.random.Generator
) -> None:
    """Curves that rise to `accuracy`, and the evaluations of each epoch."""
    per_epoch = max(1, points // 40)
    rise = accuracy * (1 - np.exp(-np.arange(points) / max(1, points / 5)))
    noise = draw.normal(0, 0.005, (len(_SERIES), points))
    for name, wobble in zip(_SERIES, noise, strict=True):
        record.history[name] = [
            [step, step // per_epoch, round(0.05 * step, 3), value]
            for step, value in enumerate((rise + wobble).tolist())
        ]
    record.history["solver/nfe_forward_total"] = [
        [e * per_epoch, e, 0.5 * e, nfe * (e + 1) * 90] for e in range(40)
    ]
    record.history["solver/nfe_backward_total"] = [[e * per_epoch, e, 0.5 * e, 0.0] for e in range(40)]
