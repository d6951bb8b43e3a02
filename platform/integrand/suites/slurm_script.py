"""The batch script that SLURM gets, and what lies beside it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integrand.errors import UsageError

from .journal import Journal, read_json, write_json
from .launcher import Outcome, Task

NOTICE_SECONDS = 90
"""How long before the end of its time a task is told to save itself and to be queued again."""
_RESERVED = (
    "--array",
    "-a",
    "--signal",
    "--requeue",
    "--no-requeue",
    "--open-mode",
    "--wrap",
    "--ntasks",
    "-n",
)


@dataclass(frozen=True)
class SlurmOptions:
    """What a cell asks of SLURM; empty leaves it to the cluster.

    Args:
        partition: Partition.
        time: Wall time of a task, as sbatch takes it. A cell that needs more is queued again and goes on.
        gres: Generic resources, such as `gpu:1`.
        mem: Memory.
        cpus: Processor cores; None asks for one.
        further: Further options of sbatch, one word each: `--account=abc`.
    """

    partition: str = ""
    time: str = ""
    gres: str = ""
    mem: str = ""
    cpus: int | None = None
    further: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Its `#SBATCH` lines.

        Raises:
            UsageError: An option is none, or one that the launcher sets itself.
        """
        given = {"partition": self.partition, "time": self.time, "gres": self.gres, "mem": self.mem}
        words = [f"--{name}={value}" for name, value in given.items() if value]
        words.append(f"--cpus-per-task={self.cpus or 1}")
        for option in self.further:
            name = option.partition("=")[0]
            if not option.startswith("-") or "\n" in option:
                raise UsageError(f"{option!r} is no option of sbatch", "--slurm-option=--account=abc")
            if name in _RESERVED:
                raise UsageError(f"the launcher sets {name} itself", f"leave {option} out")
            words.append(option)
        return [f"#SBATCH {word}" for word in words]


@dataclass(frozen=True)
class Batch:
    """The tasks of one job array, on disk: `tasks.json`, `array.sbatch`, and files that the tasks write.

    Args:
        folder: `slurm/NAME` in the suite's folder.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Name of the job, by which the queue knows the array again."""
        return f"integrand-{self.folder.parent.parent.name}-{self.folder.name}"

    def write(
        self,
        tasks: Sequence[Task],
        options: SlurmOptions,
        retries: int,
        most: int | None,
        code: str,
        alone: bool,
    ) -> Path:
        """Write what the tasks read, and the script.

        Args:
            tasks: One per index of the array.
            options: What each asks for.
            retries: New tries of a cell that failed, within its task.
            most: Tasks at a time; None sets no limit.
            code: Digest of the code that the tasks must find.
            alone: Whether it is known that nobody else works on these cells.
        """
        self.folder.mkdir(parents=True)
        for task in tasks:
            self.forget_end(task.key)
        content = {
            "code": code,
            "retries": retries,
            "alone": alone,
            "tasks": [
                {
                    "key": t.key,
                    "label": t.label,
                    "command": list(t.command),
                    "log": str(t.log.absolute()),
                    "limit": t.limit,
                }
                for t in tasks
            ],
        }
        (self.folder / "tasks.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        throttle = f"%{most}" if most else ""
        words = [sys.executable, "-m", "integrand.suites.slurm_task", str(self.folder.absolute())]
        text = "\n".join(
            [
                "#!/bin/bash",
                f"#SBATCH --job-name={self.name}",
                f"#SBATCH --array=0-{len(tasks) - 1}{throttle}",
                "#SBATCH --ntasks=1",
                "#SBATCH --requeue",
                "#SBATCH --open-mode=append",
                # to the batch shell, whose place the program below takes
                f"#SBATCH --signal=B:USR1@{NOTICE_SECONDS}",
                f"#SBATCH --output={self.folder.absolute()}/%a.out",
                *options.lines(),
                f"exec {shlex.join(words)}",
                "",
            ]
        )
        script = self.folder / "array.sbatch"
        script.write_text(text, encoding="utf-8")
        return script

    def read(self) -> Mapping[str, Any]:
        """The content of `tasks.json`; empty where it cannot be read."""
        return read_json(self.folder / "tasks.json")

    def keys(self) -> list[str]:
        """Run keys of the tasks, by index."""
        return [str(task["key"]) for task in self.read().get("tasks", [])]

    def task(self, index: int) -> Task:
        """One task."""
        found = self.read()["tasks"][index]
        return Task(
            found["key"], found["label"], tuple(found["command"]), Path(found["log"]), found.get("limit")
        )

    # ------------------------------------------------------------------ what tasks leave

    def state(self, key: str) -> dict[str, Any]:
        """What the task has noted of its tries: `started` at, on `host`, and `failures`."""
        return read_json(self.folder / f"{key}.state")

    def note_state(self, key: str, **values: Any) -> None:
        """Note it."""
        write_json(self.folder / f"{key}.state", {**self.state(key), **values})

    def note_end(self, outcome: Outcome) -> None:
        """Note how the task ended, for whoever looks at it then."""
        self._journal.note_end(outcome, self.folder.name)

    def forget_end(self, key: str) -> None:
        """The task has been started again."""
        self._journal.forget_end(key)

    def end(self, key: str) -> Mapping[str, Any]:
        """How the task ended; empty where it has not."""
        end = self._journal.noted_end(key)
        return end if end.get("by") == self.folder.name else {}

    @property
    def _journal(self) -> Journal:
        return Journal(self.folder.parent.parent)

    def close(self) -> None:
        """Nothing of it is in the queue any more."""
        (self.folder / "closed").touch()

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return (self.folder / "closed").exists()


def batches(folder: Path) -> Iterable[Batch]:
    """The arrays of a suite, oldest first.

    Args:
        folder: The suite's folder.
    """
    return (Batch(path.parent) for path in sorted((folder / "slurm").glob("*/tasks.json")))
