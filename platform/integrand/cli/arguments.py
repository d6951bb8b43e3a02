"""Rewrites what the user typed before LightningCLI parses it: defaults and recorded runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..config_files import sections
from ..errors import UsageError

DEFAULT_CLASSES = {"model": "NeuralODE", "data": "FashionMini"}
"""What `integrand fit` trains, and on what, when told nothing."""


@dataclass(frozen=True)
class RecordedRun:
    """What the command line needs to go on with a recorded run.

    Args:
        run_id: MLflow run id.
        config: Its resolved configuration.
        checkpoint: The checkpoint to load.
        experiment: Name of its MLflow experiment.
    """

    run_id: str
    config: Path
    checkpoint: Path
    experiment: str


def split(argv: list[str]) -> list[str]:
    """`--a=b` as `--a b`, so that one rule serves both spellings; `+=` appends stay as they are."""
    result: list[str] = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if equals and name.startswith("--") and not name.endswith("+"):
            result += [name, value]
        else:
            result.append(argument)
    return result


def with_default_classes(argv: list[str]) -> list[str]:
    """Start from the default family and data set where neither a file nor an option names one.

    They do not stand in the base configuration: parsed from there, every default of the default family would
    count as given, and be carried over to the family that the user names.
    """
    keys: set[str] = set()
    for name, value in pairwise(argv):
        if name in {"--config", "-c"}:
            keys.update(sections(Path(value)))
        elif name in {"--model", "--data"}:
            keys.add(name.removeprefix("--"))
    missing = {key: default for key, default in DEFAULT_CLASSES.items() if key not in keys}
    return [word for key, default in missing.items() for word in (f"--{key}", default)] + argv


def expand_run(
    command: str, argv: list[str], look_up: Callable[[str, Literal["best", "last"]], RecordedRun]
) -> list[str]:
    """Replace `--run ID` (or `--resume ID` of fit) by the recorded configuration, checkpoint and run.

    A test with other model or data options than the run's own is a different measurement, so it becomes a
    child run; without them it lands in the run itself.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        argv: The arguments after the command.
        look_up: Finds a run from its id, a prefix of it or `latest`, and its `best` or `last` checkpoint.

    Raises:
        UsageError: `--run` is given to fit, `--resume` to another command, or either without an id.
    """
    option, other = ("--resume", "--run") if command == "fit" else ("--run", "--resume")
    if other in argv:
        raise UsageError(f"integrand {command} takes no {other}", f"use {option} ID")
    if option not in argv:
        return argv
    i = argv.index(option)
    if i + 1 == len(argv):
        raise UsageError(
            f"{option} wants a run id", f"integrand {command} {option} latest takes the newest run"
        )
    rest = argv[:i] + argv[i + 2 :]
    run = look_up(argv[i + 1], "last" if command == "fit" else "best")
    changed = any(a.startswith(("--model", "--data", "--config", "-c")) for a in rest)
    logger = "parent_run_id" if changed and command != "fit" else "run_id"
    head = ["--config", str(run.config)]
    tail = [f"--trainer.logger.{logger}", run.run_id, "--trainer.logger.experiment", run.experiment]
    if "--ckpt_path" not in rest:
        tail += ["--ckpt_path", str(run.checkpoint)]
    return [*head, *rest, *tail]


def refuse_linked(argv: list[str]) -> None:
    """Refuse a `spec` given by hand: it would be overridden silently and the recorded config would lie.

    Raises:
        UsageError: A `--model.spec…` option is present.
    """
    for argument in argv:
        if argument.startswith(("--model.spec", "--model.init_args.spec")):
            raise UsageError(f"{argument} cannot be set: the data set publishes its spec", "drop the option")
