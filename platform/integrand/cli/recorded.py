"""Looks up what a recorded run or a checkpoint was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..tracking.store import names, runs
from .arguments import RecordedRun


def recorded_run(which: str, checkpoint: Literal["best", "last"]) -> RecordedRun:
    """The run that `which` names, with what is needed to go on with it.

    A child run, such as a test at another tolerance, trained nothing: its parent is meant.

    Args:
        which: Run id, the first letters of one, a run name, or `latest`.
        checkpoint: Which of its checkpoints to load.

    Raises:
        TrackingError: There is no such run, or it has no configuration or checkpoint.
    """
    run = runs.find_run(which)
    if (parent := run.tags.get(names.PARENT_RUN)) and names.RUN_KEY not in run.tags:
        run = runs.find_run(parent)
    return RecordedRun(run.run_id, runs.config_path(run), runs.checkpoint(run, checkpoint), run.experiment)


def config_of_checkpoint(path: str) -> str:
    """The configuration inside a checkpoint, as YAML.

    Raises:
        UsageError: The file is no checkpoint, or one that holds no configuration.
    """
    import torch

    if not Path(path).is_file():
        raise UsageError(f"no checkpoint {path}", "integrand test --run RUN_ID finds a run's own")
    try:
        made_with = torch.load(path, map_location="cpu", weights_only=True).get("integrand", {})
    except Exception as error:
        raise UsageError(f"{path} cannot be read as a checkpoint: {error}", "name a .ckpt file") from error
    if "config" not in made_with:
        raise UsageError(f"{path} holds no configuration", "give --config as well")
    return str(made_with["config"])
