"""Which run is wanted, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunRequest:
    """Which run is wanted, and where.

    Args:
        experiment: Name of the experiment; ignored when a run is continued.
        run_name: Name of a new run.
        run_id: The run to continue; None for a new one.
        tracking_uri: Store; None for the default.
        artifact_dir: Artifact folder of a new experiment; None for `./mlartifacts`.
        tags: Tags of the run.
        flush_every: Seconds between batches.
        resume: Continue the unfinished run of the same run key instead of a new one, if there is one.
    """

    experiment: str
    run_name: str | None
    run_id: str | None
    tracking_uri: str | None
    artifact_dir: str | None
    tags: dict[str, str]
    flush_every: float
    resume: bool = False
