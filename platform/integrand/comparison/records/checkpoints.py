"""Whose checkpoints configurations name: a teacher is called by its arm or family, not by its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from integrand.record import RunRecord

SUFFIX = ".ckpt"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def name_checkpoints(records: Iterable[RunRecord], find: Callable[[str], RunRecord | None]) -> None:
    """Tell each record what the runs are called whose checkpoints its configuration names.

    Args:
        records: The records, changed in place.
        find: The run of an id; None where nobody knows it.
    """
    called: dict[str, str] = {}
    for record in records:
        for run_id in {run_of(path) for path in _checkpoints(record.config)} - {""}:
            if run_id not in called:
                run = find(run_id)
                called[run_id] = "" if run is None else _called(run)
            if called[run_id]:
                record.checkpoints[run_id] = called[run_id]


def checkpoint_label(path: str, called: Mapping[str, str]) -> str:
    """A checkpoint in a label: its run's name where that is known, else its file's.

    Where it lies differs from seed to seed and says nothing.

    Args:
        path: Where it lies.
        called: Names of runs by their ids.
    """
    return called.get(run_of(path)) or Path(path).name


def run_of(path: str) -> str:
    """The id of the run in whose folder a checkpoint lies; empty where the path names none."""
    found = [part for part in re.split(r"[/\\]", path) if _RUN_ID.fullmatch(part)]
    return found[-1] if found else ""


def _checkpoints(value: Any) -> Iterator[str]:
    """Every checkpoint that a configuration names."""
    if isinstance(value, Mapping):
        for child in value.values():
            yield from _checkpoints(child)
    elif isinstance(value, str) and value.endswith(SUFFIX):
        yield value


def _called(run: RunRecord) -> str:
    """The arm of a suite, which names its runs `s0 cfm`; elsewhere the family."""
    arm = run.run_name.removeprefix(f"s{run.seed} ") if run.suite else ""
    return arm or run.family
