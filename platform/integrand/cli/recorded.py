"""Looks up what a recorded run was made with."""

from __future__ import annotations

from typing import Literal

from ..tracking.store import runs
from .arguments import RecordedRun


def recorded_run(which: str, checkpoint: Literal["best", "last"] | None) -> RecordedRun:
    """The run that `which` names, with what is needed to go on with it.

    Args:
        which: Run id, the first letters of one, a run name, or `latest`.
        checkpoint: Which of its checkpoints to load, None where another is.

    Raises:
        TrackingError: There is no such run, or it has no configuration or checkpoint.
        UsageError: The checkpoint is damaged, or another run's.
    """
    run = runs.find_trained(which)
    path = None if checkpoint is None else runs.checkpoint(run, checkpoint)
    return RecordedRun(run.run_id, runs.config_path(run), path, run.experiment)
