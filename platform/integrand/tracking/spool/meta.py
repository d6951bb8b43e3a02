"""`meta.json` of a spool: which store and run it belongs to, with a checksum."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any


def write_meta(directory: Path, meta: dict[str, Any]) -> None:
    """Write it, so that a reader never sees half of it."""
    path = directory / "meta.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**meta, "checksum": _checksum(meta)}, indent=1), encoding="utf-8")
    part.replace(path)


def read_meta(directory: Path) -> dict[str, Any]:
    """Read it.

    Raises:
        OSError: There is none.
        ValueError: It is damaged, or of another run.
    """
    values = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("no object")
    # earlier versions wrote none
    checksum = values.pop("checksum", None)
    artifacts = values.get("artifact_dir")
    sound = (
        checksum in (None, _checksum(values))
        and values.get("run_id") == directory.name
        and isinstance(values.get("tracking_uri"), str)
        and (artifacts is None or (isinstance(artifacts, str) and Path(artifacts).is_absolute()))
    )
    if not sound:
        raise ValueError("damaged")
    return values


def _checksum(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())
