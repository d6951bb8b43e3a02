"""Finds the families and data sets that are installed, our own and those of other packages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from .errors import UsageError
from .imports import uncollected

T = TypeVar("T")


@cache
def import_package(name: str) -> None:
    """Import a package with all its submodules, so that every class in it is defined; once in a process."""
    with uncollected():
        package = importlib.import_module(name)
        for info in pkgutil.walk_packages(package.__path__, prefix=f"{name}."):
            importlib.import_module(info.name)


@cache
def import_entry_points(group: str) -> None:
    """Import what other packages registered under the entry-point group; once in a process.

    Raises:
        UsageError: An entry point cannot be imported; the message names its distribution.
    """
    for entry in entry_points(group=group):
        try:
            entry.load()
        except Exception as error:
            source = entry.dist.name if entry.dist else entry.value
            raise UsageError(
                f"{source} registers {entry.name!r} under {group}; importing {entry.value} fails: {error}",
                f"repair or uninstall {source}",
            ) from error


def subclasses(base: type[T]) -> list[type[T]]:
    """Every class derived from `base`, at any depth, each once, in order of definition."""
    found: dict[type[T], None] = {}
    for child in base.__subclasses__():
        if child.__qualname__.startswith("LazyInstance_"):
            continue  # jsonargparse derives one for every default that is made when it is needed
        found[child] = None
        found.update(dict.fromkeys(subclasses(child)))
    return list(found)


def import_class(path: str, base: type[T], kind: str) -> type[T]:
    """A class by its import path.

    Args:
        path: Such as `my_package.my_module.MyClass`.
        base: What it has to be derived from.
        kind: The word for that, for messages.

    Raises:
        UsageError: It cannot be imported, or is something else.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"there is no {kind} {path!r}: {error}", "name it as module.Class") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise UsageError(f"{path} is no {kind}", f"it has to be a subclass of {base.__name__}")
    return found
