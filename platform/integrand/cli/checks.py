"""The checks of `integrand doctor`: each looks at one thing and says what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

State = Literal["ok", "warn", "fail"]

GIGABYTE = 1024**3


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: What was looked at.
        state: `ok`, `warn` (works, but look at it) or `fail` (runs will fail).
        detail: What was found.
        remedy: What to do; empty where all is well.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def check_versions() -> Iterator[Finding]:
    """Python and every required package against the lower bounds that Integrand declares."""
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if good else "fail", platform.python_version(), "" if good else "use 3.11 or newer"
    )
    for text in metadata.requires("integrand") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "fail", "not installed", f"pip install '{requirement}'")
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        remedy = "" if fits else f"pip install '{requirement}'"
        yield Finding(requirement.name, "ok" if fits else "fail", version, remedy)
    yield from _check_torchvision()


def _check_torchvision() -> Iterator[Finding]:
    """Nothing here needs torchvision, but a build for another torch breaks torchmetrics and Lightning."""
    try:
        version = metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        return
    try:
        import_module("torchvision")  # to see whether it breaks
    except Exception as error:
        yield Finding(
            "torchvision", "fail", f"{version} does not import: {error}", "pip uninstall torchvision"
        )
    else:
        yield Finding("torchvision", "ok", f"{version} (not used)")


def check_devices() -> Iterator[Finding]:
    """The accelerators that torch sees, against those that the machine has."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cpu", "ok", f"{cores} cores, torch uses {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            detail = (
                f"{properties.name}, {properties.total_memory / GIGABYTE:.0f} GiB, CUDA {torch.version.cuda}"
            )
            yield Finding(f"cuda:{i}", "ok", detail)
    elif shutil.which("nvidia-smi"):
        build = "a CPU build" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        yield Finding(
            "cuda",
            "warn",
            f"nvidia-smi is here, but torch {torch.__version__} ({build}) sees no GPU",
            "install the CUDA wheels: README, Choosing CPU or GPU",
        )
    elif torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")
    else:
        yield Finding("gpu", "ok", "none on this machine")


def check_disk(paths: dict[str, Path]) -> Iterator[Finding]:
    """Free space and write permission of every folder that runs write to.

    Args:
        paths: Folders by what they are for; one that does not exist yet is judged by its nearest parent.
    """
    for name, path in paths.items():
        folder = path
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not os.access(folder, os.W_OK):
            yield Finding(
                name, "fail", f"{folder} is not writable", f"chmod u+w {folder}, or choose another folder"
            )
            continue
        free = shutil.disk_usage(folder).free / GIGABYTE
        low = free < 2
        yield Finding(
            name,
            "warn" if low else "ok",
            f"{path}: {free:.1f} GiB free",
            "make room: a run with checkpoints takes 0.1 to 1 GiB" if low else "",
        )


def check_store() -> Iterator[Finding]:
    """Whether the tracking store answers."""
    from ..tracking.store.runs import check_store as problem_of
    from ..tracking.store.uris import redact, resolve_uri

    uri = resolve_uri()
    problem = problem_of(uri)
    remedy = "start the server, or set MLFLOW_TRACKING_URI" if problem else ""
    yield Finding("tracking store", "fail" if problem else "ok", problem or redact(uri), remedy)
