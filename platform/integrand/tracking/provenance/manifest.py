"""Where a run comes from: code, environment, device, and what decides whether it repeats."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ...version import __version__
from ..store.uris import redact

MAX_DIFF = 1 << 20
_LIBRARIES = (
    "torch",
    "lightning",
    "mlflow",
    "torchdiffeq",
    "torchsde",
    "torchmetrics",
    "numpy",
    "scipy",
    "jsonargparse",
)
_ADDRESS = re.compile(r"\w[\w+.-]*://")


@dataclass(frozen=True)
class CodeState:
    """The state of a git work tree.

    Args:
        commit: Hash of the commit, empty outside git.
        dirty: Whether files differ from it.
        diff: The difference, at most `MAX_DIFF` characters.
        untracked: Files that git does not know.
    """

    commit: str = ""
    dirty: bool = False
    diff: str = ""
    untracked: tuple[str, ...] = ()


def code_state(folder: Path) -> CodeState:
    """The git state of `folder`.

    In a container without git or repository, `GIT_COMMIT` names the commit that the image was built from.
    """
    if shutil.which("git") is None or not (commit := _git(folder, "rev-parse", "HEAD")):
        return CodeState(commit=os.environ.get("GIT_COMMIT", ""))
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal").splitlines()
    untracked = tuple(line[3:] for line in status if line.startswith("??"))
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") if len(status) > len(untracked) else ""
    return CodeState(commit, bool(status), diff[:MAX_DIFF], untracked[:100])


def environment() -> list[str]:
    """Every installed distribution as `name==version`, sorted; names as their metadata folders spell them.

    Read from the names of the folders, since reading the metadata itself takes half a second.
    """
    found = set()
    for folder in {Path(entry or ".") for entry in sys.path}:
        for path in folder.glob("*.dist-info") if folder.is_dir() else ():
            name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
            if name:
                found.add(f"{name}=={version}")
    return sorted(found, key=str.lower)


def manifest(seed: int | None, device: torch.device) -> tuple[dict[str, Any], CodeState, list[str]]:
    """The provenance of this process.

    Returns:
        The manifest, the state of the code, and the installed distributions. It names no host and no user,
        and passwords in the command line are blanked.
    """
    package = Path(__file__).resolve().parent
    code = code_state(package)
    project = CodeState()
    if not code.commit or not Path.cwd().is_relative_to(_top(package) or package):
        project = code_state(Path.cwd())
    installed = environment()
    lock = _lock_file(_top(package))
    values: dict[str, Any] = {
        "integrand": __version__,
        "git_commit": code.commit,
        "git_dirty": code.dirty,
        "git_untracked": list(code.untracked),
        "project_commit": project.commit,
        "project_dirty": project.dirty,
        "lock_digest": _digest(lock.read_bytes()) if lock else "",
        "environment_digest": _digest("\n".join(installed).encode()),
        "versions": {"python": platform.python_version(), **versions()},
        "system": platform.platform(),
        "device": device_description(device),
        "seed": seed,
        "determinism": determinism(),
        "command": [_without_password(argument) for argument in sys.argv],
    }
    return values, project if project.commit else code, installed


def _without_password(argument: str) -> str:
    found = _ADDRESS.search(argument)
    return argument if found is None else argument[: found.start()] + redact(argument[found.start() :])


def device_description(device: torch.device) -> dict[str, Any]:
    """What the run computes on."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "type": "cuda",
            "name": properties.name,
            "memory_mb": properties.total_memory // 2**20,
            "count": torch.cuda.device_count(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]  # untyped in torch
        }
    return {
        "type": device.type,
        "name": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def determinism() -> dict[str, Any]:
    """The switches that decide whether the same seed gives the same numbers."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cublas_workspace_config": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
        "python_hash_seed": os.environ.get("PYTHONHASHSEED", ""),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what a run computes."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            errors="replace",
        )
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout.strip("\n")


def _top(folder: Path) -> Path | None:
    """The work tree of git that `folder` lies in."""
    return next((p for p in folder.parents if (p / ".git").exists()), None)


def _lock_file(top: Path | None) -> Path | None:
    for folder in (top, Path.cwd()):
        if folder is not None and (folder / "constraints.txt").is_file():
            return folder / "constraints.txt"
    return None


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.machine()
