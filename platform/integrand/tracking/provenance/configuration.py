"""The resolved configuration as parameters, as a reproducible file, and as a digest; torch-free."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import yaml

from integrand import checkpoints
from integrand.errors import UsageError

from ..store import names
from ..store.uris import redact

MAX_VALUE = 6000
MAX_KEY = 250
_BAD_KEY = re.compile(r"[^\w\-. :/]")

# arguments of the logger that name one particular run
_RUN_ARGUMENTS = {
    "run_id": None, "run_name": None, "parent_run_id": None, "suite": "", "run_key": "", "resume": False,
}  # fmt: skip
# tags of the logger and callbacks of the trainer that belong to one trial of a sweep
_RUN_TAGS = {names.CELL, names.SWEEP, names.TRIAL}
_RUN_CALLBACK = "integrand.suites.pruning."
# a budget decides how far a run gets, not what it computes
_BUDGET = "integrand.tracking.callbacks.budget.Budget"
# what may differ between runs of one experiment without making them different experiments
_NOT_IN_DIGEST = {
    "seed", "seed_everything", "ckpt_path", "logger", "default_root_dir", "dirpath", "root", "data_dir",
    "cache_dir", "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "enable_checkpointing",
    "test_after_fit", "verbose", "return_predictions", "num_workers", "pin_memory", "profiler",
}  # fmt: skip


def reproducible(config: dict[str, Any]) -> dict[str, Any]:
    """A copy without what names one particular run, so that `--config` makes a new one."""
    config = deepcopy(config)
    if "ckpt_path" in config:
        config["ckpt_path"] = None
    loggers = (config.get("trainer") or {}).get("logger")
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, dict):
            _forget_run(logger.get("init_args") or {})
    _drop_callbacks(config, _RUN_CALLBACK)
    hidden: dict[str, Any] = _without_secrets(config)
    return hidden


def _without_secrets(value: Any) -> Any:
    """Passwords in addresses are for the process, not for the record."""
    if isinstance(value, dict):
        return {key: _without_secrets(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_without_secrets(child) for child in value]
    return redact(value) if isinstance(value, str) and "://" in value else value


def _forget_run(arguments: dict[str, Any]) -> None:
    """Take out of the logger's arguments what names one particular run, in place."""
    arguments.update({key: value for key, value in _RUN_ARGUMENTS.items() if key in arguments})
    uri = arguments.get("tracking_uri")
    if isinstance(uri, str) and redact(uri) != uri:
        arguments["tracking_uri"] = None  # whoever makes the run again takes their own, from the environment
    tags = arguments.get("tags") or {}
    kept = {k: v for k, v in tags.items() if not (k in _RUN_TAGS or k.startswith(names.TRIAL_PARAM))}
    if len(kept) < len(tags):
        arguments["tags"] = kept or None


def _drop_callbacks(config: dict[str, Any], class_path: str) -> None:
    """Take out the callbacks whose class path begins like that, in place."""
    trainer = config.get("trainer") or {}
    callbacks = trainer.get("callbacks")
    if isinstance(callbacks, list):
        kept = [c for c in callbacks if not str((c or {}).get("class_path", "")).startswith(class_path)]
        trainer["callbacks"] = kept or None


def as_params(config: dict[str, Any]) -> dict[str, str]:
    """The configuration as flat parameters: `model: NeuralODE`, `model.optimizer.lr: 0.001`.

    `class_path` becomes the short class name under the key of its parent, `init_args` vanishes from keys,
    unset values are left out, and so is the logger, which says nothing about the experiment.
    """
    trainer = {key: value for key, value in (config.get("trainer") or {}).items() if key != "logger"}
    flat: dict[str, str] = {}
    for key, value in _flat({**config, "trainer": trainer}, ""):
        text = str(value)
        if len(text) > MAX_VALUE:
            text = text[: MAX_VALUE - 2] + " …"
        flat[_BAD_KEY.sub("_", key)[:MAX_KEY]] = text
    return flat


def config_digest(config: dict[str, Any]) -> str:
    """sha256 of the configuration without seed, paths, names and run ids.

    A checkpoint that it names, a teacher's say, counts as the digest of its own configuration.
    """
    config = deepcopy(config)
    _drop_callbacks(config, _BUDGET)
    text = json.dumps(_essential(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flat_entry(key, child, prefix)
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for i, child in enumerate(value):
            yield from _flat(child, f"{prefix}.{i}")
    elif value is not None and value not in ({}, []):
        yield prefix, value


def _flat_entry(key: Any, child: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if key == "class_path" and isinstance(child, str):
        yield prefix, child.rpartition(".")[2]
    elif key == "init_args":
        yield from _flat(child, prefix)
    else:
        yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))


def _essential(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _essential(v) for k, v in value.items() if k not in _NOT_IN_DIGEST}
    if isinstance(value, list):
        return [_essential(v) for v in value]
    if isinstance(value, str) and value.endswith(".ckpt"):
        return _trained_as(value)
    return value


def _trained_as(path: str) -> str:
    """What a checkpoint was trained as, over all seeds; its path where it cannot be told."""
    try:
        config = yaml.safe_load(checkpoints.config_of(checkpoints.read(path), path))
    except UsageError:
        return path
    return f"trained as {config_digest(config)}"
