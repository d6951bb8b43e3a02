"""Entry point of `integrand`: find the command, run it, and turn every expected failure into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from ..errors import IntegrandError, UsageError
from ..imports import freeze, import_torchmetrics, uncollected
from ..suggest import did_you_mean
from ..version import __version__
from . import preflight
from .allocator import keep_freed_memory
from .compile_caches import keep_apart
from .short_help import short_help


@dataclass(frozen=True)
class Command:
    """A command of the front.

    Args:
        module: Module under `integrand.cli` with `run(argv) -> exit code`.
        summary: Its line in `integrand --help`.
        needs_name: Whether `run` takes the command's name first, as the four trainer commands do.
    """

    module: str
    summary: str
    needs_name: bool = False


COMMANDS: dict[str, Command] = {
    "fit": Command("training", "train a model and record the run", needs_name=True),
    "validate": Command("training", "evaluate on the validation split", needs_name=True),
    "test": Command("training", "evaluate on the test split", needs_name=True),
    "predict": Command("training", "write predictions", needs_name=True),
    "sample": Command("sample", "pictures and tensors from a trained generative model"),
    "promote": Command("promote", "register a trained network as a model that MLflow serves"),
    "export": Command("export", "write a trained network as one graph: torch.export or ONNX"),
    "evaluate": Command("evaluate", "measure a trained model: samplers, solvers, …"),
    "reproduce": Command("reproduce", "make a recorded run again and compare bit for bit"),
    "suite": Command("suite", "run many experiments over seeds, resumably"),
    "runs": Command("runs", "list recorded runs, sorted by any quantity"),
    "ui": Command("ui", "MLflow's pages on the runs, on this machine alone"),
    "compare": Command("compare", "tables and figures over recorded runs"),
    "report": Command("report", "one HTML file on recorded runs, for readers without the program"),
    "families": Command("families", "list the families of networks"),
    "data": Command("data", "list, fetch and verify data sets"),
    "verify-solve": Command("verify_solve", "check a checkpoint's solver tolerance against a reference"),
    "bench": Command("bench", "measure solvers, tracking and comparison on this machine"),
    "sync": Command("sync", "send what a dead tracking server or a killed run left behind"),
    "doctor": Command("doctor", "check versions, devices, tracking store, disk and data sets"),
}


def usage() -> str:
    """The text of `integrand --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: integrand COMMAND [options]",
            "",
            "The experiment platform for neural networks that are differential equations.",
            "",
            "commands:",
            *lines,
            "",
            "integrand COMMAND --help explains a command, integrand fit --help-all every option of it;",
            "integrand --version prints the version.",
            "First run: integrand fit          then: integrand runs, integrand ui",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run `integrand` with the given arguments, by default those of the process.

    Returns:
        0 on success, 1 on failure, 2 on wrong usage, 128 + n after signal n.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        keep_freed_memory()
        keep_apart()
        return dispatch(arguments)
    except IntegrandError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output left (`| head`); keep Python from complaining again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def dispatch(arguments: list[str]) -> int:
    """Run the command that the arguments name.

    Raises:
        UsageError: There is no such command.
    """
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    name, rest = arguments[0], arguments[1:]
    if name in {"-V", "--version"}:
        print(f"integrand {__version__}")
        return 0
    if name not in COMMANDS:
        raise UsageError(
            f"unknown command {name!r}{did_you_mean(name, COMMANDS)}", "integrand --help lists the commands"
        )
    command = COMMANDS[name]
    if command.needs_name and {"-h", "--help"} & set(rest):
        print(short_help(name))
        return 0
    preflight.begin(name if command.needs_name else "", rest)
    with uncollected():
        if command.needs_name:
            import_torchmetrics()
        run: Callable[..., int] = import_module(f".{command.module}", __package__).run
    freeze()
    if not command.needs_name:
        return run(rest)
    return run(name, ["--help" if word == "--help-all" else word for word in rest])


def report(error: IntegrandError) -> int:
    """Print an expected error as one line on standard error and return its exit code."""
    if os.environ.get("INTEGRAND_DEBUG"):
        raise error
    text = " ".join(str(error).split())
    print(f"integrand: error: {text}", file=sys.stderr)
    return error.exit_code
