"""Another solver on the command line starts from its own defaults, not from the configured one's."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..moved import with_current_names

_SOLVER = re.compile(r"--(model(?:\.\w+)*\.solver)(?:\.class_path)?")
_CLASS = re.compile(r"(?:\w+\.)*[A-Z]\w*")


def forget_replaced_solvers(argv: list[str], scratch: Path) -> list[str]:
    """Drop a configured solver's options where a later argument names a solver of another class.

    jsonargparse carries over what both classes take, so that the rtol of an adaptive solver would reach one
    with fixed steps, which refuses it.

    Args:
        argv: Arguments with `--config` files that exist; files that are changed are replaced by copies.
        scratch: Where the copies go.
    """
    result = list(argv)
    for i in range(0, len(argv) - 1):
        named = _SOLVER.fullmatch(argv[i])
        if named is None or _CLASS.fullmatch(argv[i + 1]) is None:
            continue
        for j in range(1, i):
            if argv[j - 1] in {"--config", "-c"}:
                result[j] = _without_options(result[j], named[1].split("."), argv[i + 1], scratch)
    return result


def with_moved_classes(argv: list[str], scratch: Path) -> list[str]:
    """Name classes by their present paths in configurations that earlier versions recorded.

    Args:
        argv: Arguments with `--config` files that exist; files that are changed are replaced by copies.
        scratch: Where the copies go.
    """
    result = list(argv)
    for i, name in enumerate(argv[:-1]):
        if name not in {"--config", "-c"}:
            continue
        path = Path(argv[i + 1])
        text = path.read_text(encoding="utf-8", errors="replace")
        if (renamed := with_current_names(text)) != text:
            result[i + 1] = str(_copy(path, renamed, scratch))
    return result


def _copy(path: Path, text: str, scratch: Path) -> Path:
    # a folder for each: two files may have one name
    copy = Path(tempfile.mkdtemp(dir=scratch)) / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


def _without_options(path: str, keys: list[str], replacement: str, scratch: Path) -> str:
    """The file, or a copy of it in which the solver at `keys` has no options."""
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return path  # whoever reads it next says so
    solver = _find(config, keys)
    if solver is None or _name(solver.get("class_path")) == _name(replacement):
        return path
    solver.pop("init_args", None)
    return str(_copy(Path(path), yaml.safe_dump(config, sort_keys=False), scratch))


def _find(config: Any, keys: list[str]) -> dict[str, Any] | None:
    """The mapping at `keys`; `init_args` may be left out of them, as on the command line."""
    node = config
    for key in keys:
        if not isinstance(node, Mapping):
            return None
        inner = node.get("init_args")
        node = (
            inner[key] if key not in node and isinstance(inner, Mapping) and key in inner else node.get(key)
        )
    return node if isinstance(node, dict) else None


def _name(class_path: Any) -> str:
    return str(class_path).rpartition(".")[2]
