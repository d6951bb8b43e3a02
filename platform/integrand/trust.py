"""Which classes a configuration may name that its reader has not written."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path
from typing import Any

from .errors import UsageError

_OURS = ("integrand", "torch", "lightning")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+")
REMEDY = "read it, and if you trust whoever wrote it: --trust"


def check_trusted(config: Any, where: str) -> None:
    """Refuse a configuration that came with a checkpoint or a run if it would import code of nobody's choice.

    Short names are registered classes. A dotted path is imported, which runs its module: only installed
    packages may be named, not files that happen to lie in the working directory.

    Args:
        config: What was read.
        where: Where it came from, for the message.

    Raises:
        UsageError: It names a class that is neither registered nor installed.
    """
    for path in _named(config):
        root = path.partition(".")[0]
        if root not in _OURS and not _is_installed(root):
            raise UsageError(f"the configuration of {where} names {path}, which is not installed", REMEDY)


def _named(value: Any, key: str = "") -> Iterator[str]:
    """Dotted paths of classes, and other text that would be found as one in the working directory."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _named(child, str(name))
    elif isinstance(value, list):
        for child in value:
            yield from _named(child)
    elif isinstance(value, str) and _DOTTED.fullmatch(value) and (key == "class_path" or _lies_here(value)):
        yield value


def _lies_here(path: str) -> bool:
    first, second, *_ = path.split(".")
    here = Path.cwd()
    return any(
        (here / file).is_file() for file in (f"{first}.py", f"{first}/__init__.py", f"{first}/{second}.py")
    )


def _is_installed(root: str) -> bool:
    if root in packages_distributions():
        return True
    # an editable install lists no files, but its entry points
    registered = [e for group in ("modules", "datamodules") for e in entry_points(group=f"integrand.{group}")]
    return any(e.value.partition(".")[0].partition(":")[0] == root for e in registered) or (
        root in sys.stdlib_module_names
    )
