"""What a checkpoint says about itself; read as plain types only, and only if it is as it was written."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

from .errors import UsageError
from .moved import with_former_defaults

KEY = "integrand"
"""Where a checkpoint keeps what a fit left beside the weights."""


_MAGIC = b"PK\x03\x04"


def verify(path: str | Path) -> None:
    """Is every byte of a checkpoint as it was written, and every weight a number?

    `torch.save` writes a zip archive with a CRC-32 of every tensor, which `torch.load` does not look at. As
    part of the file it survives copying and renaming. Files of other kinds, folders of sharded checkpoints
    among them, carry none and are left to whoever reads them.

    Raises:
        UsageError: The file is cut short or has changed since it was written, or there are NaN in it.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
    damage = _damage(path)
    if damage:
        raise UsageError(f"the checkpoint {path} is damaged: {damage}", _instead(path))
    if name := _not_a_number(path):
        raise UsageError(f"the checkpoint {path} holds NaN in {name}", _instead(path))


def _damage(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return "its parts are compressed, as no checkpoint's are"
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        return "it is cut short" if "not a zip file" in str(error) else str(error)
    return f"{bad} is not what was written" if bad else ""


def _not_a_number(path: Path) -> str:
    """The first weight with NaN; none of what is no checkpoint, which whoever reads it will say."""
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        return next((str(name) for name, value in weights.items() if torch.isnan(value).any()), "")
    except Exception:  # a file of others can hold anything
        return ""


def _instead(path: Path) -> str:
    """What else can be loaded."""
    other = path.with_name("best.ckpt" if path.name == "last.ckpt" else "last.ckpt")
    if other == path or not other.is_file() or _damage(other) or _not_a_number(other):
        return "restore it from a copy"
    return f"restore it from a copy, or take the other one of the run: --ckpt_path {other}"


def read(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        UsageError: There is no such file, it is damaged, or it is no checkpoint.
    """
    import torch

    if not Path(path).is_file():
        raise UsageError(f"no checkpoint {path}", "integrand test --run RUN_ID finds a run's own")
    verify(path)
    try:
        # mapped, so that whoever asks for a word need not read the weights
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path} cannot be read as a checkpoint: {first}", "name a .ckpt file") from error
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


def verify_run(path: str | Path, run_id: str) -> None:
    """Is a checkpoint whole, and of the run in whose folder it lies? One that names no run may be of any.

    Raises:
        UsageError: It is damaged, no checkpoint, or another run's.
    """
    other = run_of(read(path))
    if other not in ("", run_id):
        raise UsageError(
            f"{path} is a checkpoint of run {other[:8]}, not of {run_id[:8]}",
            f"put the run's own in its place; to load this one all the same: --ckpt_path {path}",
        )
