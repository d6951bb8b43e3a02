"""Finds configuration files: the user's own, and those that ship inside the package."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..suggest import closest

PACKAGED = Path(__file__).resolve().parent.parent / "configs"
"""The configurations of the repository; in a wheel they lie inside the package."""

BASE = PACKAGED / "base.yaml"
"""What every run starts from; later files and options override it."""


def packaged() -> list[str]:
    """Names of the packaged configurations, relative to `configs/`."""
    return sorted(p.relative_to(PACKAGED).as_posix() for p in PACKAGED.rglob("*.yaml"))


def find(name: str) -> Path:
    """The file that `name` means.

    A path wins; then a packaged file by its path below `configs/` (with or without that prefix and
    `.yaml`), so that the README's commands work from any directory and from a wheel.

    Raises:
        UsageError: There is no such file.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    short = name.removeprefix("configs/")
    for candidate in (short, f"{short}.yaml", f"experiment/{short}", f"experiment/{short}.yaml"):
        if (PACKAGED / candidate).is_file():
            return PACKAGED / candidate
    near = closest(short.removesuffix(".yaml"), [c.removesuffix(".yaml") for c in packaged()])
    hint = f"did you mean {near}.yaml?" if near else f"packaged ones: {', '.join(packaged()[:8])}, …"
    raise UsageError(f"no configuration {name!r} here or in the package", hint)
