"""How many points a tracking store takes: `python -m integrand.benchmarks.server`.

Several processes write at once to the store that `MLFLOW_TRACKING_URI` names: value by value, as MLflow's own
client does, and through the spool that every run of Integrand uses. Runs go to an experiment of their own,
`bench-server`, and stay there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch.multiprocessing import get_context

from ..tracking.request import RunRequest
from ..tracking.session import Session
from ..tracking.spool import operations
from ..tracking.store.opening import open_store
from ..tracking.store.uris import redact, resolve_uri

EXPERIMENT = "bench-server"
PATIENCE = 600.0


def one_by_one(session: Session, points: int) -> None:
    """A request for every value."""
    for step in range(points):
        session.client.log_metric(session.run_id, "loss", step / 7, step=step)


def spooled(session: Session, points: int) -> None:
    """Into the spool, and until the store has all of it."""
    for step in range(points):
        session.spool.append(operations.metrics({"loss": step / 7}, step, time.time()))
    if not session.flush(PATIENCE):
        raise TimeoutError(f"the store has not taken {points} points in {PATIENCE:.0f} s")


WAYS = {"one by one": one_by_one, "spool": spooled}


def _write(way: str, points: int, folder: str, ready: Any, took: Any) -> None:
    """One writer: opens its run, waits for the others, writes, and says how long that took."""
    os.environ["INTEGRAND_RUNS"] = folder
    session = Session(RunRequest(EXPERIMENT, None, None, None, None, {}, 1.0))
    ready.wait()
    begin = time.perf_counter()
    WAYS[way](session, points)
    took.put((session.run_id, time.perf_counter() - begin))
    session.spool.append(operations.status("FINISHED"))
    session.flush(PATIENCE)
    session.close()


def measure(way: str, writers: int, points: int) -> float:
    """Points per second that the store takes from all writers together, every one of them counted there.

    Args:
        way: A key of `WAYS`.
        writers: Processes.
        points: Points of each.

    Raises:
        RuntimeError: A writer failed, or a point is missing.
    """
    context = get_context("spawn")
    ready, took = context.Barrier(writers), context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        target = partial(_write, way, points, str(Path(folder) / "runs"), ready, took)
        processes = [context.Process(target=target) for _ in range(writers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{way}: a writer failed, see above")
    found: list[tuple[str, float]] = [took.get() for _ in processes]
    client = open_store()
    for run_id, _ in found:
        if (stored := len(client.get_metric_history(run_id, "loss"))) != points:
            raise RuntimeError(f"{way}: {stored} of {points} points are in run {run_id}")
    return writers * points / max(seconds for _, seconds in found)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per way of writing."""
    parser = argparse.ArgumentParser(prog="python -m integrand.benchmarks.server", description=__doc__)
    parser.add_argument("--writers", type=int, default=8, metavar="N", help="processes, default: 8")
    parser.add_argument(
        "--points", type=int, default=1000, metavar="N", help="of each through the spool, default: 1000"
    )
    parser.add_argument(
        "--single", type=int, default=100, metavar="N", help="of each one by one, default: 100"
    )
    args = parser.parse_args(argv)
    print(f"{redact(resolve_uri(None))}, {args.writers} writers")
    for way, points in (("one by one", args.single), ("spool", args.points)):
        rate = measure(way, args.writers, points)
        print(f"{way:10}  {points:5} points each  {rate:8.0f} points/s", flush=True)


if __name__ == "__main__":
    main()
