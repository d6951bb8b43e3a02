"""Runs that Integrand has not recorded: what their settings and values say, as records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from integrand.record import RunRecord

SEEDS = ("seed_everything", "seed", "random_seed", "random_state", "torch_seed")
"""Settings that are the seed, the first that is there."""
FAMILIES = ("family", "model", "method", "algorithm", "arch", "architecture", "group")
"""Settings that say what is compared, the first that is there."""
DATA = ("data", "dataset", "data_set", "task")
"""Settings that name the data set, the first that is there."""


def from_settings(run_id: str, settings: Mapping[str, Any], **fields: Any) -> RunRecord:
    """A record whose group, seed and data set are read off its settings.

    Args:
        run_id: Id of the run.
        settings: Its settings by name.
        fields: Further fields of the record, which hold before what the settings say.
    """
    rest = dict(settings)
    seed = _take(rest, SEEDS)
    family = _take(rest, FAMILIES)
    data = _take(rest, DATA)
    text = json.dumps(rest, sort_keys=True, default=str)
    found: dict[str, Any] = {}
    if settings:
        found = {
            "family": str(family or "runs"),
            "seed": whole(seed),
            "data": {"name": str(data or "data")},
            "config": rest,
            "config_digest": hashlib.sha256(f"{family}\n{text}".encode()).hexdigest(),
            "evaluates": {"run_id": run_id, "epoch": None},  # its own: it has trained
        }
    return RunRecord(run_id, **(found | {k: v for k, v in fields.items() if v or v == 0}))


def whole(value: Any) -> int | None:
    """A seed as the whole number that it is, None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _take(settings: dict[str, Any], names: Sequence[str]) -> Any:
    """The first of the settings that is there; it and its like are taken out."""
    lower = {key.lower(): key for key in settings}
    found = [settings.pop(lower[name]) for name in names if name in lower]
    return found[0] if found else None
