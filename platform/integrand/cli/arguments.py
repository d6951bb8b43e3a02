"""What `--run`, `--resume` and `--ckpt_path` stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ..checkpoints import config_of, read
from ..config_files import CONFIG, sections
from ..errors import UsageError
from ..trust import check_trusted
from .line import Line, Word

_OF_A_FIT = ("profiler", "precision", "detect_anomaly", "overfit_batches", "limit_train_batches")
"""What a trainer was told for training alone; a test that wants it says so itself."""


@dataclass(frozen=True)
class RecordedRun:
    """What the command line needs to go on with a recorded run.

    Args:
        run_id: MLflow run id.
        config: Its resolved configuration.
        checkpoint: The checkpoint to load, None where another is.
        experiment: Name of its MLflow experiment.
    """

    run_id: str
    config: Path
    checkpoint: Path | None
    experiment: str


def expand_run(
    command: str,
    line: Line,
    look_up: Callable[[str, Literal["best", "last"] | None], RecordedRun],
    trust: bool = False,
) -> None:
    """Replace `--run ID` (or `--resume ID` of fit) by the recorded configuration, checkpoint and run.

    `--resume` alone takes the newest run.

    A test with other model or data options than the run's own, or of its last checkpoint, is a different
    measurement, so it becomes a child run; without them it lands in the run itself.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        line: The words after the command.
        look_up: Finds a run from its id, a prefix of it or `latest`, and its `best` or `last` checkpoint,
            or none of them.
        trust: Whether its configuration may name classes that are not installed.

    Raises:
        UsageError: `--run` is given to fit, `--resume` to another command, or `--run` without an id.
    """
    option, other = ("--resume", "--run") if command == "fit" else ("--run", "--resume")
    if line.has(other):
        raise UsageError(f"integrand {command} takes no {other}", f"use {option} ID")
    if not line.has(option):
        return
    which = line.take(option)
    if which is None and command != "fit":
        raise UsageError(
            f"{option} wants a run id", f"integrand {command} {option} latest takes the newest run"
        )
    usual: Literal["best", "last"] = "last" if command == "fit" else "best"
    asked = _checkpoint_of_run(line)
    run = look_up(which or "latest", None if line.has("--ckpt_path") else asked or usual)
    changed = asked not in {None, usual} or any(
        word.option.startswith(("--model", "--data", "--recipe", *CONFIG)) for word in line.words
    )
    logger = "parent_run_id" if changed and command != "fit" else "run_id"
    content = sections(run.config)
    if not trust:
        check_trusted(content, f"run {run.run_id[:8]}")
    if command != "fit":
        _forget_fit(content)
    recorded = _tracker(content)
    if recorded is None:
        line.words.append(Word(f"--trainer.logger.{logger}", run.run_id))
        line.words.append(Word("--trainer.logger.experiment", run.experiment))
    else:
        recorded |= {logger: run.run_id, "experiment": run.experiment}
    line.put_first(content, run.config.name)
    if run.checkpoint is not None:
        line.words.append(Word("--ckpt_path", str(run.checkpoint)))


def _checkpoint_of_run(line: Line) -> Literal["best", "last"] | None:
    """Which of a run's checkpoints `--ckpt_path best` or `last` asks for, taken from the line."""
    for name in ("best", "last"):
        if line.value("--ckpt_path") == name:
            line.take("--ckpt_path")
            return name
    return None


def expand_checkpoint(command: str, line: Line, trust: bool = False) -> None:
    """Start from the configuration inside the checkpoint where `--ckpt_path FILE` comes without one.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        line: The words after the command.
        trust: Whether that configuration may name classes that are not installed.

    Raises:
        UsageError: The checkpoint cannot be read, or names one of a run that is going on.
    """
    path = line.value("--ckpt_path")
    if command == "fit" or path is None or line.has(*CONFIG, "--model", "--recipe"):
        return
    if path in {"best", "last", "hpc"}:
        raise UsageError(
            f"--ckpt_path {path} means nothing in a new process",
            f"integrand {command} --run RUN_ID takes a run's",
        )
    content = yaml.safe_load(config_of(read(path), path))
    if not trust:
        check_trusted(content, path)
    _forget_fit(content)
    line.put_first(content, "from-checkpoint.yaml")


def _tracker(content: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of the tracker where it is one of several loggers, which options cannot tell apart."""
    loggers = (content.get("trainer") or {}).get("logger")
    for logger in loggers if isinstance(loggers, list) else []:
        if str(logger.get("class_path")).endswith(".MLflowTracker"):
            arguments: dict[str, Any] = logger.setdefault("init_args", {})
            return arguments
    return None


def _forget_fit(content: dict[str, Any]) -> None:
    """Take out of a recorded configuration what was meant for its fit."""
    trainer = content.get("trainer") or {}
    for key in _OF_A_FIT:
        trainer.pop(key, None)
