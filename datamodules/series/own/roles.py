"""Which column is what: as the user says, else guessed from the names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from integrand.errors import UsageError
from integrand.suggest import did_you_mean

from .table import Table

_USUAL = {
    "id": ("id", "series", "series_id", "run", "run_id", "trajectory", "trajectory_id", "subject", "patient",
           "sample", "case", "unit", "experiment", "individual"),
    "time": ("time", "t", "times", "timestamp", "datetime", "date", "day", "hour", "year", "step", "seconds"),
    "label": ("label", "class", "category"),
    "split": ("split",),
}  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """The part that each column plays; an empty name is no column.

    Args:
        id: Which series a row belongs to; one series without it.
        time: When the row was observed.
        channels: What was observed.
        label: The class of the series.
        targets: Numbers that belong to the series and are asked for.
        static: Numbers that are known of the series as a whole.
        split: The part of the data that the series belongs to: train, val or test.
    """

    id: str = ""
    time: str = ""
    channels: tuple[str, ...] = ()
    label: str = ""
    targets: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    split: str = ""

    @property
    def named(self) -> list[str]:
        """Every column with a part."""
        single = [c for c in (self.id, self.time, self.label, self.split) if c]
        return [*single, *self.channels, *self.targets, *self.static]


def choose(table: Table, wanted: Roles) -> tuple[Roles, str]:
    """The part of each column of a table.

    Args:
        table: The table.
        wanted: What the user says; what is empty is guessed.

    Returns:
        The roles, and a line that says what was guessed; empty where nothing was.

    Raises:
        UsageError: A column is not there, has two parts, or times or channels cannot be guessed.
    """
    _check(table, wanted)
    roles, guessed = wanted, []
    for role, usual in _USUAL.items():
        if getattr(wanted, role) or (role == "label" and wanted.targets):
            continue
        free = [c for c in table.columns if c not in roles.named]
        if match := next((c for name in usual for c in free if c.casefold() == name), ""):
            roles = replace(roles, **{role: match})  # type: ignore[arg-type]  # all four are names
            guessed.append(f"data.{role}_column: {match}")
    if not roles.time:
        raise UsageError(
            f"{table.source}: none of its columns {', '.join(table.columns)} is called a time",
            "name it: set data.time_column",
        )
    if not roles.channels:
        roles = replace(roles, channels=_free_numbers(table, roles))
        guessed.append(f"data.channels: [{', '.join(roles.channels)}]")
    if not roles.id:
        guessed.append("no data.id_column: one series")
    return roles, f"{table.source}, columns guessed: {'; '.join(guessed)}" if guessed else ""


def _free_numbers(table: Table, roles: Roles) -> tuple[str, ...]:
    """The columns of numbers that have no other part."""
    free = tuple(c for c in table.columns if c not in roles.named and table.is_numeric(c))
    if not free:
        raise UsageError(
            f"{table.source}: no column of numbers is left for the channels",
            "name them: set data.channels",
        )
    return free


def _check(table: Table, wanted: Roles) -> None:
    for column in wanted.named:
        if column not in table.columns:
            raise UsageError(
                f"{table.source} has no column {column!r}{did_you_mean(column, table.columns)}",
                f"its columns: {', '.join(table.columns)}",
            )
    if twice := _repeated(wanted.named):
        raise UsageError(f"column {twice!r} has two parts", "give each column one part")
    if wanted.label and wanted.targets:
        raise UsageError("a label and targets ask two questions", "set data.label_column or data.targets")


def _repeated(names: Sequence[str]) -> str:
    return next((name for i, name in enumerate(names) if name in names[:i]), "")
