"""Where a run keeps local files: `integrand-runs/` in the working directory, or `INTEGRAND_RUNS`."""

from __future__ import annotations

import os
from pathlib import Path


def runs_root() -> Path:
    """The folder of everything local, absolute; not created here."""
    return Path(os.environ.get("INTEGRAND_RUNS") or "integrand-runs").absolute()


def spool_root() -> Path:
    """Where spools of runs lie until everything in them has reached the tracking store."""
    return runs_root() / "spool"


def spool_dir(run_id: str) -> Path:
    """The spool of one run."""
    return spool_root() / run_id


def checkpoint_dir(run_id: str) -> Path:
    """Where a run writes its checkpoints if the artifact store is not a local folder."""
    return runs_root() / "checkpoints" / run_id


def record_path(run_id: str) -> Path:
    """The local copy of a run's record."""
    return runs_root() / "records" / f"{run_id}.json"


def cache_dir(run_id: str) -> Path:
    """Where artifacts of a remote run are downloaded to."""
    return runs_root() / "cache" / run_id
