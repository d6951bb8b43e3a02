"""What a suite trains: experiments, with options of their own and the experiment that teaches them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integrand.errors import UsageError
from integrand.recipes import Experiment
from integrand.suggest import did_you_mean

TEACHER = "model.teacher"
"""The option that gets the checkpoint."""

_KEYS = ("model", "name", "teacher", "overrides")


@dataclass(frozen=True)
class Arm:
    """What an experiment of a suite has beside its configuration.

    Args:
        overrides: Options of its own, dotted option → value; they hold over the suite's.
        teacher: Whose best checkpoint teaches it; None where it needs none.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    teacher: Experiment | None = None


Arms = dict[Experiment, Arm]


@dataclass(frozen=True)
class _Entry:
    """An entry of `models`, its teacher still a name."""

    experiment: Experiment
    overrides: Mapping[str, Any]
    teacher: str


def read_arms(entries: Sequence[Any], recipe: Path, find: Callable[[str], str], where: str) -> Arms:
    """The experiments of one recipe, in the order of the file.

    Args:
        entries: The list under `models`: names, and mappings with `model`, `name`, `teacher`, `overrides`.
        recipe: File of the recipe.
        find: The file or class of a model by its name.
        where: The file, for messages.

    Raises:
        UsageError: An entry is wrong, is there twice, or its teacher is unknown or taught by it.
    """
    found = [_entry(value, recipe, find, where) for value in entries]
    if len({e.experiment for e in found}) < len(found):
        raise UsageError(f"{where}: an experiment is listed twice", "list each one once, or give it a name")
    arms = {e.experiment: Arm(e.overrides, _teacher(e, found, where)) for e in found}
    _refuse_circles(arms, where)
    return arms


def depth(experiment: Experiment, arms: Mapping[Experiment, Arm]) -> int:
    """How many experiments have to be trained before, one after another."""
    arm = arms.get(experiment)
    return 0 if arm is None or arm.teacher is None else 1 + depth(arm.teacher, arms)


def _entry(value: Any, recipe: Path, find: Callable[[str], str], where: str) -> _Entry:
    if isinstance(value, str):
        return _Entry(Experiment(recipe, find(value)), {}, "")
    for key in map(str, value):
        if key not in _KEYS:
            raise UsageError(
                f"{where}: a model of a suite has no key {key!r}{did_you_mean(key, _KEYS)}",
                f"its keys are {', '.join(_KEYS)}",
            )
    model, overrides = value.get("model"), value.get("overrides") or {}
    name, teacher = (value.get(key, "") for key in ("name", "teacher"))
    if not all(isinstance(text, str) for text in (model, name, teacher)) or not isinstance(overrides, dict):
        raise UsageError(
            f"{where}: {value!r} is no model", "{model: rectified_flow, name: reflow, teacher: cfm}"
        )
    if name and not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"{where}: {name!r} cannot name a model", "use letters, digits, - _ and .")
    if teacher and TEACHER in overrides:
        raise UsageError(f"{where}: {name or model} has two teachers", f"leave out {TEACHER} or teacher")
    return _Entry(Experiment(recipe, find(model), name), overrides, teacher)


def _teacher(entry: _Entry, entries: Sequence[_Entry], where: str) -> Experiment | None:
    """The experiment that an entry names as its teacher."""
    if not entry.teacher:
        return None
    called = [e.experiment for e in entries if e.experiment.short == entry.teacher]
    if len(called) == 1:
        return called[0]
    names = sorted({e.experiment.short for e in entries} - {entry.experiment.short})
    if called:
        raise UsageError(
            f"{where}: several models are called {entry.teacher}", "give them names: name: first"
        )
    raise UsageError(
        f"{where}: {entry.experiment.short} is taught by {entry.teacher!r}, which the suite does not train"
        f"{did_you_mean(entry.teacher, names)}",
        f"name another of its models: {', '.join(names) or 'there is none'}",
    )


def _refuse_circles(arms: Arms, where: str) -> None:
    for start in arms:
        path = [start]
        while (following := arms[path[-1]].teacher) is not None:
            path.append(following)
            if following in path[:-1]:
                words = " is taught by ".join(e.short for e in path)
                raise UsageError(f"{where}: {words}", "the first of a chain has no teacher")
