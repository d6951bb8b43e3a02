"""Errors under corruption relative to those of a reference, which no run knows by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from integrand.record import RunRecord

EVALUATION = "corruption"
REFERENCE = "resnet"
"""Family of the reference: its plain configuration, without noise, on the same data and of the same seed."""
RELATIVE = "relative_corruption_error"
_PREFIX, _NO_KIND = "corruption_error_", "corruption_error_severity_"


def add_relative_errors(records: Iterable[RunRecord]) -> None:
    """Give every record the mean over kinds of its error over that of the reference.

    The mean corruption error of Hendrycks and Dietterich (2019), section 3. A record without a reference, or
    of other kinds, or with a reference that makes no error of some kind, gets none.

    Args:
        records: What the evaluation `corruption` recorded.
    """
    found = sorted(records, key=lambda r: (r.started, r.run_id))
    references = {_key(r): _errors(r) for r in found if _is_reference(r)}
    for record in found:
        own, reference = _errors(record), references.get(_key(record), {})
        if own and own.keys() == reference.keys() and all(reference.values()):
            record.metrics[RELATIVE] = sum(own[kind] / reference[kind] for kind in own) / len(own)


def _key(record: RunRecord) -> tuple[Any, ...]:
    return record.data.get("name"), record.data.get("digest"), record.seed, record.experiment


def _is_reference(record: RunRecord) -> bool:
    options: Any = (record.config.get("model") or {}).get("init_args") or {}
    return record.family == REFERENCE and record.status == "FINISHED" and not options.get("noise")


def _errors(record: RunRecord) -> dict[str, float]:
    """Mean error over severities by kind."""
    names: Sequence[str] = [n for n in record.metrics if n.startswith(_PREFIX) and not n.startswith(_NO_KIND)]
    return {name.removeprefix(_PREFIX): record.metrics[name] for name in names}
