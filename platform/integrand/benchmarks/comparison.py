"""`integrand bench comparison`: how long a comparison of many recorded runs takes, on generated records."""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from integrand.errors import UsageError
from integrand.record import RunRecord

TARGET_SECONDS = 10.0
"""Wall time that 1,000 records may take; other numbers are held to the same time per record."""
TARGET_BYTES = 2e9
"""Peak resident memory of 10,000 records or fewer."""
FAMILIES = 10
POINTS = 400
"""Points per series: ten epochs of forty recorded steps."""
_SERIES = ("train/loss", "train/acc", "val/loss", "val/acc", "solver/nfe_forward", "solver/nfe_backward")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        "--runs", type=int, default=1000, metavar="N", help="generated records (default: 1000)"
    )
    parser.add_argument(
        "--points", type=int, default=POINTS, metavar="N", help=f"points per series ({POINTS})"
    )


def run(args: argparse.Namespace) -> int:
    """Generate records, compare them as `integrand compare --records` does, and check time and memory.

    Returns:
        0 where both targets are met, else 1.

    Raises:
        UsageError: A number is out of range.
    """
    from integrand.cli import compare

    if args.runs < 2 or args.points < 0:
        raise UsageError(f"--runs {args.runs} --points {args.points} is too few", "take at least two runs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = 0
        for index in range(args.runs):
            path = folder / "records" / f"{index:06d}" / "record.json"
            path.parent.mkdir(parents=True)
            size += path.write_text(
                generate_record(index, args.runs, args.points).to_json(), encoding="utf-8"
            )
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            compare.run(["--records", str(folder / "records"), "--out", str(folder / "out")])
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    allowed = TARGET_SECONDS * max(1.0, args.runs / 1000)
    met = {"time": seconds < allowed, "memory": peak < TARGET_BYTES * max(1.0, args.runs / 10_000)}
    print(f"{args.runs:,} records, {size / 1e6:.0f} MB, {len(printed.getvalue().splitlines())} lines printed")
    print(f"time    {seconds:6.2f} s   target < {allowed:.0f} s   {'met' if met['time'] else 'MISSED'}")
    print(f"memory  {peak / 1e9:6.2f} GB  target < 2 GB   {'met' if met['memory'] else 'MISSED'}")
    return 0 if all(met.values()) else 1


def generate_record(index: int, runs: int, points: int = POINTS) -> RunRecord:
    """A made-up record of the shape that tracking writes; the same index gives the same record.

    One run in forty failed. Families differ by their mean accuracy and their NFE.
    """
    draw = random.Random(index)
    family, seed = index % FAMILIES, index // FAMILIES
    accuracy = 0.80 + 0.01 * family + draw.gauss(0, 0.01)
    failed = draw.random() < 1 / 40
    nfe = float(6 * family)
    solver = {"solver/nfe_forward": nfe, "solver/nfe_backward": 0.0, "solver/vjps": nfe}
    series = {
        name: [[step, step // 40, 0.05 * step, draw.random()] for step in range(points)] for name in _SERIES
    }
    return RunRecord(
        run_id=f"{index:032x}",
        run_name=f"family-{family}-s{seed}",
        experiment="generated",
        status="FAILED" if failed else "FINISHED",
        started=1.7e9 + index,
        ended=1.7e9 + index + 60,
        error={"type": "NonFiniteLossError", "message": "the loss became NaN at step 12"} if failed else None,
        family=f"family-{family}",
        group="continuous",
        task="image-classification",
        data={"name": "generated", "digest": "sha256:0", "n_train": 6000, "n_val": 500, "n_test": 500},
        seed=seed,
        config_digest=f"{family:064x}",
        config={"model": {"class_path": f"Family{family}", "init_args": {"width": 16 + family}}},
        monitor={"name": "val/acc", "mode": "max"},
        metrics={} if failed else {"final/test_acc": accuracy, "best/val_acc": accuracy + 0.01} | solver,
        history=series,
        cost={
            "parameters": 10_000.0 + 100 * family,
            "seconds_per_epoch": 1 + 0.1 * family + 0.05 * draw.random(),
            "peak_memory_mb": 400.0 + family,
        },
    )
