"""Samplers, solvers and grids as a command line names them: a preset, a file, or a class with its options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ..config_files import PACKAGED
from ..errors import IntegrandError, UsageError
from ..registry import import_class, subclasses
from ..suggest import did_you_mean

T = TypeVar("T")


class Named(Generic[T]):
    """An object that has been named and not been made yet.

    Args:
        base: What kind of object it is.
        text: Name of a preset in `configs/<kind>/` such as `unipc`, path of a YAML file with `class_path` and
            `init_args`, the same as a YAML mapping, or a class: its name, or the import path of one's own.
        kind: `sampler`, `grid` or `solver`: the folder of the presets, and the word for messages.
        init_args: Further options of the class, before those of a preset.

    Raises:
        UsageError: Nothing has that name.
    """

    def __init__(
        self, base: type[T], text: str, kind: str, init_args: Mapping[str, Any] | None = None
    ) -> None:
        self.label, self.kind, self._base = text, kind, base
        found = _described(text, kind)
        self.cls: type[T] = _class(base, str(found["class_path"]), kind, text)
        self.init_args = {**(found.get("init_args") or {}), **(init_args or {})}

    def make(self, **more: Any) -> T:
        """The object.

        Args:
            **more: Further options.

        Raises:
            UsageError: The class does not take its options.
        """
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(self._base, "it", required=True)
        path = f"{self.cls.__module__}.{self.cls.__qualname__}"
        given = {"it": {"class_path": path, "init_args": {**self.init_args, **more}}}
        try:
            made: T = parser.instantiate_classes(parser.parse_object(given))["it"]
        except (ArgumentError, TypeError, ValueError) as error:
            own = _own_error(error)
            if own is not None:
                raise own from error
            reason = re.search(r"(?:Option|Parser key|Key) '[^']+'[^\n]*|Expected [^\n]*", str(error))
            text = reason[0] if reason else " ".join(str(error).split())
            raise UsageError(f"--{self.kind} {self.label}: {text}", "see docs/sampling.md") from error
        return made


def _own_error(error: BaseException | None) -> IntegrandError | None:
    """What a constructor raised, from under what the parser made of it."""
    while error is not None and not isinstance(error, IntegrandError):
        error = error.__cause__ or error.__context__
    return error


def presets(kind: str) -> dict[str, Path]:
    """Files of the packaged presets by name, in order."""
    return {path.stem: path for path in sorted((PACKAGED / kind).glob("*.yaml"))}


def _described(text: str, kind: str) -> dict[str, Any]:
    """The `class_path` and `init_args` that a text stands for."""
    name = text.removeprefix("configs/").removeprefix(f"{kind}/").removesuffix(".yaml")
    preset = presets(kind).get(name.replace("++", "_pp").replace("-", "_"))
    if text.lstrip().startswith("{"):
        source = text
    elif Path(text).is_file():
        source = Path(text).read_text(encoding="utf-8")
    elif preset is not None:
        source = preset.read_text(encoding="utf-8")
    else:
        return {"class_path": text}
    try:
        found = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise UsageError(f"--{kind} {text}: {' '.join(str(error).split())}", "mend the YAML") from error
    if not isinstance(found, dict) or "class_path" not in found:
        raise UsageError(f"--{kind} {text} names no class", "it needs class_path, and maybe init_args")
    return found


def _class(base: type[T], name: str, kind: str, text: str) -> type[T]:
    known = {c.__name__: c for c in (base, *subclasses(base)) if not inspect.isabstract(c)}
    if name in known:
        return known[name]
    if "." in name:
        return import_class(name, base, kind)
    raise UsageError(
        f"there is no {kind} {text!r}{did_you_mean(text, [*known, *presets(kind)])}",
        f"presets: {', '.join(presets(kind)) or ', '.join(sorted(known))}",
    )
