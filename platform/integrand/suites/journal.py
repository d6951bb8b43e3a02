"""What a suite leaves on disk beside the tracking store: its plan, one log per cell, one line per attempt."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from integrand.errors import UsageError
from integrand.tracking.processes import process
from integrand.tracking.store import names

from .cells import Cell
from .launcher import Outcome


@dataclass(frozen=True)
class Journal:
    """The folder of one suite, `integrand-runs/suites/NAME`.

    Args:
        folder: The folder; made when something is written.
    """

    folder: Path

    @classmethod
    def of(cls, suite: str) -> Journal:
        """The journal of a suite below `INTEGRAND_RUNS`, by default `integrand-runs` here."""
        root = Path(os.environ.get("INTEGRAND_RUNS") or "integrand-runs")
        return cls(root / "suites" / suite)

    def log(self, cell: Cell) -> Path:
        """Where the output of a cell goes."""
        return self.folder / f"{cell.key}.log"

    def lock(self) -> FileLock:
        """Hold the suite, so that two commands do not run the same cells.

        Raises:
            UsageError: Another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"another process is running the suite {self.folder.name}",
                f"wait for it, or end it: integrand suite stop {self.folder.name}",
            ) from error
        write_json(self.folder / "runner.json", process.identity())
        return lock

    def keep_file(self, path: Path) -> None:
        """Note where the suite's file is, so that later commands find the suite by its name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "file.json", {"file": str(path.absolute())})

    def file(self) -> Path | None:
        """The suite's file, None where it is not known or no longer there."""
        noted = read_json(self.folder / "file.json").get("file")
        return Path(noted) if isinstance(noted, str) and Path(noted).is_file() else None

    def runner(self) -> int | None:
        """The process of this machine that runs the suite, None where there is none."""
        tags = read_json(self.folder / "runner.json")
        if tags.get(names.PROCESS_HOST) != process.host() or process.is_dead(tags):
            return None
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return int(tags[names.PROCESS_ID])
        lock.release()
        return None

    def write_plan(self, suite: str, cells: Sequence[Cell]) -> None:
        """Write plan.json, from which a comparison tells missing runs."""
        plan = {
            "suite": suite,
            "cells": [
                {"key": c.key, "experiment": c.experiment, "seed": c.seed, "overrides": dict(c.overrides)}
                for c in cells
            ],
        }
        partial = self.folder / "plan.json.partial"
        partial.write_text(json.dumps(plan, indent=1, default=str), encoding="utf-8")
        partial.replace(self.folder / "plan.json")

    def append(self, cell: Cell, outcome: Outcome, whole: bool = True) -> None:
        """Note how a cell ended.

        Args:
            cell: The cell.
            outcome: How it ended.
            whole: Whether its process did all of it, so that its time can be expected of others.
        """
        line = {
            "key": cell.key,
            "experiment": cell.experiment,
            "seed": cell.seed,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 3),
            "attempts": outcome.attempts,
            "returncode": outcome.returncode,
            "error": outcome.error,
            "whole": whole and outcome.attempts == 1,
            "time": time.time(),
        }
        with (self.folder / "journal.jsonl").open("ab+") as file:
            # a crash may have cut the line before, which must not take this one with it
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")

    def entries(self) -> list[dict[str, Any]]:
        """All lines, oldest first; one that was cut off or damaged is skipped."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "journal.jsonl").read_bytes().splitlines():
                with suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if _is_entry(entry):
                        found.append(entry)
        return found

    def durations(self) -> dict[str, list[float]]:
        """Seconds of the runs that finished without interruption, by experiment."""
        result: dict[str, list[float]] = {}
        for entry in self.entries():
            if entry.get("state") == "finished" and entry.get("whole", True):
                result.setdefault(str(entry["experiment"]), []).append(float(entry["seconds"]))
        return result

    def last_ends(self) -> dict[str, dict[str, Any]]:
        """How each cell ended last, by run key, also where no `suite run` was there to see it."""
        ends = {str(entry["key"]): entry for entry in self.entries()}
        for path in (self.folder / "ends").glob("*.json"):
            if _is_end(end := read_json(path)) and end["time"] > ends.get(path.stem, {"time": 0.0})["time"]:
                ends[path.stem] = end
        return ends

    def kills(self, key: str) -> int:
        """How many tries of a cell were killed by themselves, as for want of memory, the suite going on.

        Args:
            key: Its run key.
        """
        ends = (e for e in self.entries() if e["key"] == key and e["state"] == "failed")
        return sum(int(e["attempts"]) for e in ends if _was_killed(e.get("returncode")))

    def note_end(self, outcome: Outcome, by: str) -> None:
        """Note how a cell ended on another machine, from there: one file each, for many may do so at once.

        Args:
            outcome: How it ended.
            by: What ran it.
        """
        (self.folder / "ends").mkdir(parents=True, exist_ok=True)
        end = {
            "state": outcome.state,
            "seconds": outcome.seconds,
            "attempts": outcome.attempts,
            "returncode": outcome.returncode,
            "error": outcome.error,
            "by": by,
            "time": time.time(),
        }
        write_json(self._end(outcome.task.key), end)

    def noted_end(self, key: str) -> dict[str, Any]:
        """What `note_end` has noted; empty where nothing."""
        end = read_json(self._end(key))
        return end if _is_end(end) else {}

    def forget_end(self, key: str) -> None:
        """The cell has been started again."""
        self._end(key).unlink(missing_ok=True)

    def _end(self, key: str) -> Path:
        return self.folder / "ends" / f"{key}.json"


def _was_killed(returncode: Any) -> bool:
    """Whether this is the exit code of a process, or of a container, that was killed and not told to end."""
    return returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def _is_end(end: Any) -> bool:
    """Whether this says how a cell ended."""
    return (
        isinstance(end, dict)
        and isinstance(end.get("state"), str)
        and all(isinstance(end.get(key), int | float) for key in ("seconds", "attempts", "time"))
    )


def _is_entry(entry: Any) -> bool:
    return _is_end(entry) and all(isinstance(entry.get(key), str) for key in ("key", "experiment"))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file that nobody ever sees half written."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values), encoding="utf-8")
    partial.replace(path)
