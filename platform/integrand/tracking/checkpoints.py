"""What Integrand puts into a checkpoint beside the weights, and how to get it out again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..errors import TrackingError

KEY = "integrand"
"""Key of a checkpoint under which `config`, `spec`, `run_id` and `family` stand."""


def contents_of(path: Path | str) -> dict[str, Any]:
    """The part of a checkpoint that describes the run it comes from.

    Raises:
        TrackingError: No such file, no checkpoint, or not one of Integrand's.
    """
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    except FileNotFoundError as error:
        raise TrackingError(f"there is no checkpoint {path}", "integrand fit writes them") from error
    except Exception as error:
        raise TrackingError(
            f"{path} cannot be read as a checkpoint ({error})", "name a .ckpt file"
        ) from error
    contents = checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
    if not contents or not contents.get("config"):
        raise TrackingError(
            f"the checkpoint {path} holds no configuration", "give the one it was made with: --config FILE"
        )
    return dict(contents)


def config_file_of(path: Path | str) -> Path:
    """The configuration inside a checkpoint, written to a temporary file for `--config`.

    Raises:
        TrackingError: The checkpoint cannot be read or holds none.
    """
    text = contents_of(path)["config"]
    target = Path(tempfile.mkdtemp(prefix="integrand-")) / "config.yaml"
    target.write_text(text, encoding="utf-8")
    return target
