"""The engines behind which cells run, by name; the one place that knows them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = ("local", "slurm", "ray")


@dataclass(frozen=True)
class Held:
    """A cell that an engine has, also when nobody watches it.

    Args:
        job: The engine's name of it.
        running: Whether it has been started; else it waits.
        reason: Why it waits; empty where nothing is known.
    """

    job: str
    running: bool
    reason: str = ""


def held(folder: Path) -> dict[str, Held]:
    """The cells of a suite that engines have, by run key.

    Only SLURM keeps cells whose `suite run` has ended; those of the others end with it, or run on as
    processes that the tracking store knows.

    Args:
        folder: The suite's folder.
    """
    if not (folder / "slurm").is_dir():
        return {}
    from . import slurm_queue

    return {
        key: Held(f"SLURM job {job.id}", job.state != "PENDING", job.reason if job.state == "PENDING" else "")
        for key, job in slurm_queue.held(folder).items()
    }


def cancel(folder: Path, keys: Sequence[str]) -> str:
    """Tell engines to end cells.

    Args:
        folder: The suite's folder.
        keys: Run keys of the cells.

    Returns:
        What the engine says against it, empty where nothing.
    """
    from . import slurm_queue

    found = slurm_queue.held(folder)
    return slurm_queue.cancel([found[key].id for key in keys if key in found])
