"""What is plain from the command line alone, said before imports of torch and MLflow, which take seconds."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from ..datamodules.own.guess import guess, means_path
from ..errors import UsageError
from ..suggest import did_you_mean
from ..tracking.store.glance import check_run
from .line import DEFAULT_CLASSES, Line

_HERE = Path(__file__).resolve().parent.parent
_SOURCES = {"model": "modules", "data": "datamodules"}
_LISTS = {"model": "integrand families", "data": "integrand data list"}
_CLASS = re.compile(r"^class ([A-Za-z]\w*)", re.M)
_FAMILY = re.compile(r'^class ([A-Za-z]\w*)(?:(?!^class ).*\n)*?    family\b[^\n=]*= "\w', re.M)
_NAME = re.compile(r"[A-Z]\w*")
_SILENT = ("--print_config", "--help", "-h", ".help")


def begin(command: str, argv: Sequence[str]) -> None:
    """Refuse what is plainly wrong, and say that a trainer command has begun.

    Args:
        command: `fit`, `validate`, `test` or `predict`; empty for another.
        argv: The words after the command.

    Raises:
        UsageError: A file is missing or of another kind, or no class has the name.
        TrackingError: There is no such run.
    """
    if command:
        announce(check(command, argv), argv)
    elif "--tracking-uri" not in argv:
        for option, which in pairwise(argv):
            if option == "--run" and not Path(which).exists():
                check_run(which)


def check(command: str, argv: Sequence[str]) -> str:
    """Refuse files, classes and runs that are not there.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        argv: The words after it.

    Returns:
        A line that says what begins.

    Raises:
        UsageError: A file is missing or of another kind, or no class has the name.
        TrackingError: There is no such run.
    """
    line = Line(argv)
    option = "--resume" if command == "fit" else "--run"
    run = next((word for word in line.words if word.option == option), None)
    if run is not None and run.value:
        check_run(run.value)
    if run is None:
        line.compose()  # a run's own configuration would come first
    named = {kind: _named(line, kind) for kind in _SOURCES}
    for kind, name in named.items():
        check_class(kind, name)
    if means_path(named["data"]) and not Path(named["data"]).expanduser().exists():
        guess(named["data"])  # says that it is not there
    if run is not None:
        return f"integrand {command}: run {run.value or 'latest'}"
    model, data = (_shown(name) or DEFAULT_CLASSES[kind] for kind, name in named.items())
    return f"integrand {command}: {model} on {data}"


def check_class(kind: str, name: str) -> None:
    """Refuse a short class name that nothing in the package has; other packages' and paths are left alone.

    Args:
        kind: `model` or `data`.
        name: What the user wrote; empty for nothing.

    Raises:
        UsageError: There is no such class.
    """
    from importlib.metadata import entry_points

    package = _SOURCES[kind]
    if not _NAME.fullmatch(name) or Path(name).exists() or name in classes(package):
        return
    if entry_points(group=f"integrand.{package}"):
        return
    known = offered(kind)
    raise UsageError(
        f"{kind}: there is no class {name!r}{did_you_mean(name, known)}", f"{_LISTS[kind]} names them"
    )


@cache
def classes(package: str) -> frozenset[str]:
    """Names of all classes at the top level of a package's files."""
    return frozenset(_scan(package, _CLASS))


def offered(kind: str) -> list[str]:
    """Names of the families, or of the data sets, that the package brings."""
    if kind == "model":
        return sorted(_scan(_SOURCES[kind], _FAMILY))
    from ..datamodules.registry import builtin_cards

    return sorted({card.class_name for card in builtin_cards().values()})


def announce(text: str, argv: Sequence[str]) -> None:
    """Show that something happens while imports run; once among processes, and not before a printed text."""
    first = all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_PROCID"))
    if first and not any(word.startswith(_SILENT[0]) or word.endswith(_SILENT[1:]) for word in argv):
        print(f"{text} …", file=sys.stderr, flush=True)


def _scan(package: str, pattern: re.Pattern[str]) -> set[str]:
    files = (_HERE / package).rglob("*.py")
    return {name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))}


def _shown(name: str) -> str:
    """A class without its modules; a path as it is."""
    return name if means_path(name) or Path(name).exists() else name.rpartition(".")[2]


def _named(line: Line, kind: str) -> str:
    """What the line names last for the model or the data; empty where nothing."""
    found = ""
    for word in line.words:
        value = (word.content or {}).get(kind) if word.is_config else None
        if isinstance(value, Mapping):
            value = value.get("class_path")
        if word.option in (f"--{kind}", f"--{kind}.class_path"):
            value = word.value
        if isinstance(value, str):
            found = value
    return found
