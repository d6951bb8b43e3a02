"""The options of `integrand suite run` and `sweep` that choose an engine and say what it gives a cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .parser import Parser

if TYPE_CHECKING:
    from ..suites.launcher import Launcher
    from ..suites.slurm_script import SlurmOptions

_SLURM_ONLY = ("partition", "time", "gres", "mem", "slurm_option")
_RAY_ONLY = ("ray_address", "gpus")


def add_run_options(parser: Parser) -> None:
    """The options of the commands that run something."""
    from ..suites.engines import NAMES

    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; default: one per GPU or core here, as many as there is room for on a cluster",
    )
    parser.add_argument(
        "--retries", type=int, default=1, metavar="N", help="new tries of a failed cell, default: 1"
    )
    parser.add_argument(
        "--no-warm",
        action="store_true",
        help="local: import everything anew for every cell instead of forking one process that has",
    )
    parser.add_argument("--launcher", choices=NAMES, default="local", help="engine that runs the cells")
    cluster = parser.add_argument_group("what a cell gets on a cluster")
    cluster.add_argument("--cpus", type=int, metavar="N", help="slurm, ray: processor cores, default: 1")
    cluster.add_argument("--partition", metavar="P", help="slurm: partition")
    cluster.add_argument("--time", metavar="T", help="slurm: wall time; longer cells are queued again")
    cluster.add_argument("--gres", metavar="G", help="slurm: generic resources, such as gpu:1")
    cluster.add_argument("--mem", metavar="M", help="slurm: memory, such as 8G")
    cluster.add_argument(
        "--slurm-option",
        action="append",
        metavar="OPTION",
        help="slurm: a further option of sbatch; may be repeated: --slurm-option=--account=abc",
    )
    cluster.add_argument(
        "--ray-address",
        metavar="A",
        help="ray: address of the cluster; default: RAY_ADDRESS, else the one here",
    )
    cluster.add_argument(
        "--gpus",
        type=float,
        metavar="F",
        help="ray: GPUs, also a part of one; default: 1 where there are any",
    )


def check_options(args: Any) -> None:
    """Refuse what makes no sense, before anything is opened.

    Raises:
        UsageError: A number is out of range, or an option belongs to another engine.
    """
    _check_numbers(args)
    _refuse_foreign(args)


def _check_numbers(args: Any) -> None:
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} runs nothing", "take at least 1")
    if args.retries < 0:
        raise UsageError(f"--retries {args.retries} is negative", "take 0 for no second try")
    if args.cpus is not None and args.cpus < 1:
        raise UsageError(f"--cpus {args.cpus} is no number of cores", "take at least 1")
    if args.gpus is not None and args.gpus < 0:
        raise UsageError(f"--gpus {args.gpus:g} is negative", "take 0 for none")


def _refuse_foreign(args: Any) -> None:
    """Refuse the options of engines other than the chosen one."""
    foreign = {"slurm": _SLURM_ONLY, "ray": _RAY_ONLY}
    for engine, names in foreign.items():
        given = [name for name in names if getattr(args, name) is not None]
        if given and args.launcher != engine:
            option = "--" + given[0].replace("_", "-")
            raise UsageError(
                f"{option} means nothing to --launcher {args.launcher}", f"add --launcher {engine}"
            )
    if args.no_warm and args.launcher != "local":
        raise UsageError(
            f"--no-warm means nothing to --launcher {args.launcher}", "its cells always start anew: drop it"
        )
    if args.cpus is not None and args.launcher == "local":
        raise UsageError("--cpus means nothing to --launcher local", "cells share the cores: see --jobs")


def make_launcher(args: Any, folder: Path, most: int, leave: bool) -> tuple[Launcher, int]:
    """The engine, and how many runs it has at a time.

    Args:
        args: Parsed options.
        folder: The suite's folder.
        most: Number of runs.
        leave: Whether jobs of an engine that can go on alone do so when the command is told to stop.

    Raises:
        UsageError: The engine is not here.
    """
    if args.launcher == "slurm":
        from ..suites.slurm import SlurmLauncher

        launcher = SlurmLauncher(folder, _slurm_options(args), args.jobs, args.retries, leave)
        return launcher, min(args.jobs or most, most)
    if args.launcher == "ray":
        from ..suites.ray_cluster import RayLauncher

        ray = RayLauncher(args.ray_address, args.cpus or 1, args.gpus, args.jobs, args.retries)
        return ray, min(args.jobs or ray.room(), most)
    from ..suites import resources
    from ..suites.local import LocalLauncher

    jobs = args.jobs or resources.default_jobs(len(resources.devices()), resources.cores())
    jobs = int(min(jobs, most))
    return LocalLauncher(jobs, args.retries, warm=not args.no_warm), jobs


def _slurm_options(args: Any) -> SlurmOptions:
    from ..suites.slurm_script import SlurmOptions

    return SlurmOptions(
        args.partition or "",
        args.time or "",
        args.gres or "",
        args.mem or "",
        args.cpus,
        tuple(args.slurm_option or ()),
    )


def store_note(engine: str) -> str:
    """A remark on a store that several machines cannot share; empty where they can."""
    from ..tracking.store.uris import redact, resolve_uri, sqlite_path

    uri = resolve_uri()
    if engine == "local" or sqlite_path(uri) is None:
        return ""
    return f"{redact(uri)} is for one machine; cells on several need a tracking server (MLFLOW_TRACKING_URI)"
