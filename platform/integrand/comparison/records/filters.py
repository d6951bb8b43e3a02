"""Which of the loaded records are wanted, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from integrand.errors import UsageError
from integrand.record import RunRecord

from .traces import Traces


def slim(record: RunRecord, traces: Traces | None) -> RunRecord:
    """The record without its series, most of its weight; `traces` takes up what curves need."""
    if traces is not None:
        traces.keep(record)
    record.history = {}
    return record


def only(records: Iterable[RunRecord], run_ids: Sequence[str]) -> list[RunRecord]:
    """The records asked for, each id or beginning of an id matching exactly one run."""
    found = list(records)
    if not run_ids:
        return found
    chosen = {}
    for wanted in run_ids:
        matching = [r for r in found if r.run_id.startswith(wanted)]
        if len(matching) != 1:
            raise UsageError(
                f"{len(matching) or 'no'} runs have an id that begins with {wanted!r}",
                "give the whole run id",
            )
        chosen[matching[0].run_id] = matching[0]
    return list(chosen.values())


def as_group(record: RunRecord) -> RunRecord:
    """An evaluation as a run of its own, to be compared with its like instead of set beside its model."""
    record.evaluates = {}
    return record


def nothing_evaluated(evaluation: str) -> UsageError:
    """The error of a comparison of an evaluation that nobody has made."""
    return UsageError(
        f"none of these runs has been evaluated with {evaluation!r}",
        f"integrand evaluate --run ID --with {evaluation} comes first",
    )
