"""The user's own series for a model that is trained: columns, units and classes are those that it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from integrand.errors import UsageError
from integrand.spec import Classes, SeriesSpec, Spec

from ...own.answers import listed
from .collection import Collection, Options, check_lengths, with_units
from .roles import Roles
from .rows import OwnSeries, read_series, refuse_mixed
from .table import Table

NEW = ("val", "test")
"""The splits of new series: the same ones in both."""


def description(found: Collection, options: Options) -> dict[str, Any]:
    """What was inferred, as plain values that a checkpoint keeps."""
    return {
        "spec": found.spec.to_dict(),
        "roles": asdict(found.roles),
        "time_unit": found.unit,
        "time_scale": options.time_scale,
        "start": found.start,
    }


def collect_new(tables: Sequence[Table], options: Options, described: Mapping[str, Any]) -> Collection:
    """Series that a trained model is asked about; answers that it does not know are left out.

    Args:
        tables: The tables.
        options: What the user wants.
        described: See `description`.

    Raises:
        UsageError: A column is missing, or a row cannot be right.
    """
    spec = Spec.from_dict(dict(described["spec"]))
    assert isinstance(spec, SeriesSpec)
    given: Mapping[str, Any] = described["roles"]
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list | tuple) else v for key, v in given.items()}
    present = {column for table in tables for column in table.columns}
    roles = _present(Roles(**values), present, tables[0].source)
    series = [one for table in tables for one in read_series(table, roles, options.sort)]
    refuse_mixed(series)
    check_lengths(series, options.min_length)
    units = replace(
        options,
        time_unit=described["time_unit"] or "auto",
        time_scale=described["time_scale"],
        autonomous=spec.autonomous,
    )
    series, unit = with_units(series, units, described["start"])
    series, said = _answered(series, spec, tables[0].source)
    recordings = [one.recording for one in series]
    return Collection(spec, dict.fromkeys(NEW, recordings), said, roles, unit, described["start"])


def _present(roles: Roles, present: set[str], source: str) -> Roles:
    """Without the columns that only answers need, where they are missing."""
    roles = replace(
        roles,
        label=roles.label if roles.label in present else "",
        targets=roles.targets if set(roles.targets) <= present else (),
        split="",
    )
    missing = [column for column in roles.named if column not in present]
    if missing:
        raise UsageError(
            f"{source} lacks the columns {listed(missing)}, which the model was trained on",
            f"it has {listed(sorted(present))}",
        )
    return roles


def _answered(
    series: Sequence[OwnSeries], spec: SeriesSpec, source: str
) -> tuple[list[OwnSeries], list[str]]:
    """Series with the number of their class, where all classes are known."""
    question = spec.question
    if not isinstance(question, Classes) or not all(one.label for one in series):
        return list(series), []
    numbers = {name: i for i, name in enumerate(question.names)}
    unknown = sorted({one.label for one in series} - numbers.keys())
    if unknown:
        said = f"{source}: {listed(unknown)} is no class of the model; no true classes are taken"
        return list(series), [said]
    return [replace(one, recording=replace(one.recording, answer=numbers[one.label])) for one in series], []
