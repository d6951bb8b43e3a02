"""What a checkpoint says about itself; read as plain types only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UsageError
from .moved import with_former_defaults

KEY = "integrand"
"""Where a checkpoint keeps what a fit left beside the weights."""


def read(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        UsageError: There is no such file, or it is no checkpoint.
    """
    import torch

    if not Path(path).is_file():
        raise UsageError(f"no checkpoint {path}", "integrand test --run RUN_ID finds a run's own")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path} cannot be read as a checkpoint: {error}", "name a .ckpt file") from error
    if not isinstance(found, dict) or "state_dict" not in found:
        raise UsageError(f"{path} holds no weights", "name a .ckpt file that a fit has left")
    return found


def config_of(checkpoint: dict[str, Any], path: str | Path) -> str:
    """The configuration inside a checkpoint, as YAML.

    Args:
        checkpoint: Its contents.
        path: For the message.

    Raises:
        UsageError: It holds none.
    """
    left = checkpoint.get(KEY, {})
    if not left.get("config"):
        raise UsageError(f"{path} holds no configuration", "give --config as well")
    return with_former_defaults(str(left["config"]), left.get("spec") or {})


def run_of(checkpoint: dict[str, Any]) -> str:
    """The id of the run that left a checkpoint; empty where it says none."""
    return str(checkpoint.get(KEY, {}).get("run_id") or "")
