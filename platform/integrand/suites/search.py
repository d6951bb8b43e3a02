"""The `sweep:` section of a suite file: what is searched, how, and for how long."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from integrand.errors import UsageError

from .spec import SuiteSpec

_KEYS = ("space", "metric", "direction", "n_trials", "sampler", "pruner", "storage")
_RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low: Smallest.
        high: Largest.
        log: Whether to search on a logarithmic scale.
        step: Distance between values; None for any.
        whole: Whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Maker:
    """An Optuna class and its arguments.

    Args:
        name: Class name in `optuna.samplers` or `optuna.pruners`.
        arguments: Keyword arguments.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchSpec:
    """A hyper-parameter search.

    Args:
        space: Dotted option → range or choices.
        metric: MLflow metric of a run that is to become good.
        direction: `maximize` or `minimize`.
        n_trials: How many trials there shall be in the end; pruned and failed ones count.
        sampler: Chooses the next trial.
        pruner: Gives up hopeless trials; None lets all run to their end.
        storage: SQLAlchemy URL of Optuna's tables; None takes a sqlite file beside the local records.
    """

    space: Mapping[str, Range | tuple[Any, ...]]
    metric: str
    direction: str
    n_trials: int
    sampler: Maker
    pruner: Maker | None
    storage: str | None

    @property
    def monitor(self) -> str:
        """The series whose values a pruner sees: of `best/val_acc` or `final/val_acc` it is `val/acc`."""
        prefix, _, rest = self.metric.partition("/")
        return rest.replace("_", "/", 1) if prefix in ("best", "final") else self.metric


def read_search(spec: SuiteSpec) -> SearchSpec:
    """The search of a suite file.

    Raises:
        UsageError: The file holds none, or one that makes no sense.
    """
    values, where = spec.sweep, f"sweep {spec.name}"
    if not values:
        raise UsageError(f"{spec.name} has no sweep section", "integrand suite run runs a suite")
    _refuse_unknown_keys(values, where)
    if len(spec.seeds) != 1 or len(spec.variants) != 1:
        raise UsageError(
            f"{where}: trials are compared with one another, so they share one seed and one set of overrides",
            "seeds: [0]; several seeds of the best configuration are a suite",
        )
    direction = values.get("direction", "maximize")
    if direction not in ("maximize", "minimize"):
        raise UsageError(f"{where}: direction {direction!r}", "take maximize or minimize")
    n_trials = _num_trials(values.get("n_trials", 20), where)
    metric, storage = values.get("metric", "best/val_acc"), values.get("storage")
    if not isinstance(metric, str) or not isinstance(storage, str | None):
        raise UsageError(f"{where}: metric and storage are names", "metric: best/val_acc")
    return SearchSpec(
        _space(values.get("space"), where),
        metric,
        direction,
        n_trials,
        _maker(values.get("sampler", "TPESampler"), f"{where}: sampler"),
        _maker(values["pruner"], f"{where}: pruner") if values.get("pruner") else None,
        storage,
    )


def _refuse_unknown_keys(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in _KEYS:
            close = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"its keys are {', '.join(_KEYS)}"
            raise UsageError(f"{where}: there is no key {key!r}", hint)


def _num_trials(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where}: n_trials {value!r} is no number of trials", "n_trials: 20")
    return value


def _space(values: Any, where: str) -> dict[str, Range | tuple[Any, ...]]:
    if not isinstance(values, dict) or not values:
        example = "space: {model.optimizer.lr: {low: 1e-4, high: 1e-1, log: true}}"
        raise UsageError(f"{where}: space is empty", example)
    return {str(name): _dimension(value, f"{where}: {name}") for name, value in values.items()}


def _dimension(value: Any, where: str) -> Range | tuple[Any, ...]:
    if isinstance(value, list) and value:
        return tuple(map(_choice, value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= _RANGE_KEYS:
        raise UsageError(f"{where}: {value!r} is no range and no list", "{low: 1, high: 8} or [1, 2, 4]")
    return _range(value, where)


def _choice(value: Any) -> Any:
    """As Optuna can store it, plain values only; the command line reads JSON text as what it says."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _range(value: Mapping[str, Any], where: str) -> Range:
    log, step = value.get("log", False), value.get("step")
    low, high = _number(value["low"], where), _number(value["high"], where)
    if not low < high or (log and low <= 0) or (log and step is not None):
        raise UsageError(f"{where}: {value!r} is no range", "low < high; with log: true low > 0 and no step")
    whole = isinstance(value["low"], int) and isinstance(value["high"], int)
    return Range(low, high, bool(log), None if step is None else _number(step, where), whole)


def _number(value: Any, where: str) -> float:
    try:
        # YAML reads 1e-4, without a point, as text
        return float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {value!r} is not a number", "write it as 0.0001 or 1e-4") from error


def _maker(value: Any, where: str) -> Maker:
    if isinstance(value, str):
        return Maker(value)
    if isinstance(value, dict) and set(value) <= {"class_path", "init_args"}:
        name, arguments = value.get("class_path"), value.get("init_args") or {}
        if isinstance(name, str) and isinstance(arguments, dict):
            return Maker(name.rpartition(".")[2], arguments)
    raise UsageError(f"{where}: {value!r} names no class", "TPESampler, or {class_path: …, init_args: {…}}")
