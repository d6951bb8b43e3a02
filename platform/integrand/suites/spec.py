"""A suite file: which recipes with which models, with which overrides, over which seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integrand.config_files import SUFFIXES, find, look_up, moved, packaged, read
from integrand.errors import UsageError
from integrand.recipes import Experiment, find_model
from integrand.suggest import did_you_mean

from .arms import Arm, Arms, read_arms

_KEYS = ("name", "recipe", "models", "experiments", "seeds", "overrides", "args", "budget", "sweep")
# the suite sets these itself; a cell that had others would never be found again
_RESERVED = ("seed_everything", "trainer.logger", "test_after_fit", "ckpt_path")


@dataclass(frozen=True)
class BudgetSpec:
    """What one run may use.

    Args:
        seconds: Wall time of its fit; None sets no limit.
        nfe: Evaluations of the field in training, forward and backward; None sets no limit.
    """

    seconds: float | None = None
    nfe: float | None = None

    def allows_more_than(self, by: str, limit: float) -> bool:
        """Whether a run that the `time` or `nfe` budget of `limit` ended could go on under this one."""
        own = {"time": self.seconds, "nfe": self.nfe}.get(by)
        return own is None or own > limit

    def arguments(self) -> tuple[str, ...]:
        """Words of the command line that set the budget; none where there is none."""
        limits = [("max_seconds", self.seconds), ("max_nfe", self.nfe)]
        given = [f"--trainer.callbacks.{name}={limit:g}" for name, limit in limits if limit is not None]
        return (f"--trainer.callbacks+={_BUDGET_CLASS}", *given) if given else ()


_BUDGET_CLASS = "integrand.tracking.callbacks.Budget"


@dataclass(frozen=True)
class SuiteSpec:
    """A suite as its file states it.

    Args:
        name: Name of the suite and of its MLflow experiment.
        experiments: What is trained: recipes with models, and configurations that are whole by themselves.
        seeds: One run each.
        variants: Sets of overrides, dotted option → value; every experiment runs with each of them.
        args: Further words for the command line of every run.
        budget: What one run may use.
        sweep: The search of `integrand suite sweep`, as the file states it; empty in a suite.
        arms: Options and teachers of experiments that have their own.
    """

    name: str
    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    variants: tuple[Mapping[str, Any], ...] = ({},)
    args: tuple[str, ...] = ()
    budget: BudgetSpec = BudgetSpec()
    sweep: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[Experiment, Arm] = field(default_factory=dict)


def read_suite(name: str) -> SuiteSpec:
    """Read a suite file.

    Args:
        name: A path, or the name of a packaged suite such as `quickstart`.

    Raises:
        UsageError: There is no such file, or it does not describe a suite.
    """
    path = find(name, "suite")
    values = _keys(path)
    suite_name = values.get("name", path.stem)
    if not isinstance(suite_name, str) or not re.fullmatch(r"[\w.-]+", suite_name):
        raise UsageError(f"{path}: {suite_name!r} cannot name a suite", "use letters, digits, - _ and .")
    arms = _experiments(values, path)
    if values.get("sweep") and any(arm.teacher for arm in arms.values()):
        raise UsageError(
            f"{path}: a sweep trains no teachers", "set model.teacher to a checkpoint under overrides"
        )
    return SuiteSpec(
        suite_name,
        tuple(arms),
        _seeds(values.get("seeds", [0]), path),
        _variants(values.get("overrides"), path),
        _args(values.get("args", []), path),
        _budget(values.get("budget"), path),
        _sweep(values.get("sweep"), path),
        {experiment: arm for experiment, arm in arms.items() if arm != Arm()},
    )


def _keys(path: Path) -> dict[str, Any]:
    """The content of a suite file, whose keys are all known."""
    values = read(path, inline=False)
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a suite", f"a suite has the keys {', '.join(_KEYS)}")
    for key in map(str, values):
        if key not in _KEYS:
            raise UsageError(
                f"{path}: a suite has no key {key!r}{did_you_mean(key, _KEYS)}",
                f"its keys are {', '.join(_KEYS)}",
            )
    return values


def _experiments(values: Mapping[str, Any], path: Path) -> Arms:
    """The whole configurations, then every recipe with every model."""
    whole = _names(values, "experiments", path)
    found = {Experiment(_find(name, "", path)): Arm() for name in whole}
    number = len(whole)
    recipes, models = _names(values, "recipe", path), _names(values, "models", path, dict)
    if bool(recipes) != bool(models):
        given, missing = ("recipe", "models") if recipes else ("models", "recipe")
        raise UsageError(f"{path}: {given} without {missing}", "recipe: digits, models: [resnet, neural_ode]")
    for recipe in recipes:
        arms = read_arms(models, _find(recipe, "recipe", path), lambda name: _model(name, path), str(path))
        found |= arms
        number += len(arms)
    if not found:
        raise UsageError(f"{path} has nothing to train", "recipe: digits, models: [resnet, neural_ode]")
    if len(found) < number:
        raise UsageError(f"{path}: an experiment is listed twice", "list each one once")
    for name in {str(key) for arm in found.values() for key in arm.overrides}:
        _refuse_reserved(name, path)
    return found


def _names(values: Mapping[str, Any], key: str, path: Path, *other: type) -> list[Any]:
    """What stands under a key: one name, a list of names and of what else it may be, or nothing."""
    given = values.get(key, [])
    names = [given] if isinstance(given, str) else given
    if (
        not isinstance(names, list)
        or not all(isinstance(n, (str, *other)) for n in names)
        or (key in values and not names)
    ):
        raise UsageError(f"{path}: {key} is not a list of names", f"{key}: [first, second]")
    return names


def _find(name: str, folder: str, path: Path) -> Path:
    """The file of a recipe or of a whole configuration; the folder of the suite comes first."""
    if not look_up(name, folder, path.parent) and (today := moved(name)):
        keys = {"recipe": "recipe: {}", "model": "models: [{}]", "data": "overrides: {{data: {}}}"}
        keys["config"] = "experiments: [{}]"
        words = ", ".join(keys[option].format(value) for option, value in today.items())
        raise UsageError(
            f"{path}: experiments are recipes with models now, and {name} is gone", f"use {words}"
        )
    return find(name, folder, path.parent).resolve()


def _model(name: str, path: Path) -> str:
    """A model by file, packaged name or dotted class path; a suite is checked before anything runs."""
    model = find_model(name, path.parent)
    if not model.endswith(SUFFIXES) and "." not in model:
        known = packaged("model")
        raise UsageError(
            f"{path}: there is no model {name!r}{did_you_mean(name, known)}",
            "name a file of configs/model, one of your own, or a class by its path, my_package.Net",
        )
    return model


def _seeds(values: Any, path: Path) -> tuple[int, ...]:
    seeds = list(range(values)) if isinstance(values, int) and not isinstance(values, bool) else values
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32 for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise UsageError(
            f"{path}: seeds {values!r} are not different whole numbers", "seeds: [0, 1, 2], or seeds: 3"
        )
    return tuple(seeds)


def _are_mappings(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, dict) for v in values)


def _variants(values: Any, path: Path) -> tuple[Mapping[str, Any], ...]:
    variants = [values or {}] if values is None or isinstance(values, dict) else values
    if not _are_mappings(variants):
        raise UsageError(
            f"{path}: overrides are neither options nor a list of sets of options",
            "overrides: {trainer.max_epochs: 3}",
        )
    for name in {str(key) for variant in variants for key in variant}:
        _refuse_reserved(name, path)
    return tuple(variants)


def _args(values: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise UsageError(
            f"{path}: args is not a list of words", "args: [--trainer, configs/trainer/gpu.yaml]"
        )
    words = tuple(str(value) for value in values)
    for word in words:
        if word.startswith("--"):
            _refuse_reserved(word[2:], path)
    return words


def _budget(values: Any, path: Path) -> BudgetSpec:
    if values is None:
        return BudgetSpec()
    if not isinstance(values, dict) or not values or set(values) - {"seconds", "nfe"}:
        raise UsageError(
            f"{path}: budget {values!r} is none", "budget: {seconds: 600, nfe: 2e6}, or one of them"
        )
    return budget_of(values.get("seconds"), values.get("nfe"), f"{path}: budget")


def budget_of(seconds: Any, nfe: Any, where: str) -> BudgetSpec:
    """A budget from what a user wrote.

    Raises:
        UsageError: A limit is not a positive number.
    """
    limits = []
    for name, value in (("seconds", seconds), ("nfe", nfe)):
        try:
            # YAML reads 2e6 as text
            limit = None if value is None else float(value)
        except (TypeError, ValueError):
            limit = -1.0
        if limit is not None and not 0 < limit < float("inf"):
            raise UsageError(
                f"{where}: {name} {value!r} is not a positive number", "leave it out for no limit"
            )
        limits.append(limit)
    return BudgetSpec(*limits)


def _sweep(values: Any, path: Path) -> Mapping[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict) or not values:
        raise UsageError(f"{path}: sweep is not a search", "see docs/suites.md")
    return values


def _refuse_reserved(option: str, path: Path) -> None:
    for reserved in _RESERVED:
        if option.partition("=")[0] == reserved or option.startswith(f"{reserved}."):
            remedy = {
                "seed_everything": "list it under seeds",
                "trainer.logger": "use --tracking-uri for the store",
            }
            raise UsageError(
                f"{path}: a suite sets {reserved} itself", remedy.get(reserved, f"leave {option} out")
            )
