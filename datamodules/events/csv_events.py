"""The user's own events from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from integrand.errors import UsageError

from ..series.own.base import say
from ..series.own.collection import Options, check_lengths, first_time, oddities, with_units
from ..series.own.parts import Parts, by_name, by_share
from ..series.own.roles import Roles, choose
from ..series.own.rows import OwnSeries, read_series, refuse_mixed
from ..series.own.table import Table, read_table
from ..series.own.times import Unit
from ..series.recording import Recording
from .base import EventDataModule
from .cards import CSV_EVENTS

_USUAL = ("kind", "type", "event", "event_type", "mark", "label", "class", "category")
_EVENT = "event"


class CSVEvents(EventDataModule):
    """Events from a CSV or Parquet file with one event in a row: sequence, time, kind.

    A row whose kind is empty is no event: as the first or last row of a sequence it says from when or until
    when events were looked for, which otherwise are the times of the first and last event. Sequences are
    split by their id.

    Args:
        path: The file; the training part alone where the others have files of their own.
        val_path: File of the validation part.
        test_path: File of the test part.
        id_column: Column that says which sequence a row belongs to; guessed from usual names.
        time_column: Column of the times, numbers or dates; guessed from usual names.
        kind_column: Column of the kind of each event; guessed from usual names, else all are of one kind.
        split_column: Column that says train, val or test; guessed if it is called split.
        time_unit: Unit of times that are read from dates; by default one that suits the gaps.
        time_scale: Times are divided by it.
        sort: Put the rows of a sequence in order of their times in place of an error.
        val_fraction: Share of the sequences that validates, where no column or file says.
        test_fraction: Share of the sequences that tests, where no column or file says.
        split_seed: Seed of the split; leave it fixed to compare runs of different seeds.
        **kwargs: See `EventDataModule`.

    Raises:
        UsageError: An option is out of its domain.
    """

    card = CSV_EVENTS

    def __init__(
        self,
        path: str,
        val_path: str | None = None,
        test_path: str | None = None,
        id_column: str = "",
        time_column: str = "",
        kind_column: str = "",
        split_column: str = "",
        time_unit: Unit = "auto",
        time_scale: float = 1.0,
        sort: bool = False,
        val_fraction: float = 0.15,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.paths = {"train": path, "val": val_path, "test": test_path}
        self.kind_column = kind_column
        self.options = Options(
            Roles(id=id_column, time=time_column, split=split_column),
            time_unit,
            time_scale,
            sort=sort,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The words that stand in the column of kinds."""
        return self._found[0]

    def sequences(self) -> Parts:
        """See `EventDataModule.sequences`.

        Raises:
            UsageError: Something cannot be right; file, row and remedy are named.
        """
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[tuple[str, ...], Parts]:
        """The kinds, and the sequences of each part."""
        several = bool(self.paths["val"] or self.paths["test"])
        tables = [read_table(p, part if several else "") for part, p in self.paths.items() if p]
        column = self.kind_column or next((c for c in tables[0].columns if c.casefold() in _USUAL), "")
        kinds = _kinds(tables, column)
        tables = [_spread(table, column, kinds) for table in tables]
        roles, guessed = choose(tables[0], replace(self.options.columns, channels=kinds))
        roles = replace(roles, label="")
        for table in tables[1:]:
            choose(table, roles)
        series = [one for table in tables for one in read_series(table, roles, self.options.sort)]
        refuse_mixed(series)
        check_lengths(series, self.options.min_length)
        series, unit = with_units(series, self.options, first_time(series))
        guesses = [f"data.kind_column: {column}"] if column and not self.kind_column else []
        guesses += [f"data.time_unit: {unit}"] if unit else []
        for line in ["; ".join([guessed, *guesses]), *oddities(tables[0].source, series)]:
            if line:
                say(line)
        parts = self._parts(series)
        _check_kinds(kinds, tables, parts["train"])
        return kinds, parts

    def _parts(self, series: Sequence[OwnSeries]) -> Parts:
        shares = self.options.val_fraction, self.options.test_fraction
        parts = by_name(series) or by_share(series, shares, self.options.split_seed)
        if parts is None:
            raise UsageError(
                f"{series[0].row}: {len(series)} sequences of events cannot be split",
                "give three or more, or name their column: set data.id_column",
            )
        return parts


def _kinds(tables: Sequence[Table], column: str) -> tuple[str, ...]:
    """The words of a column, `event` without one."""
    if not column:
        return (_EVENT,)
    for table in tables:
        if column not in table.columns:
            raise UsageError(f"{table.source} has no column {column!r}", "set data.kind_column")
    words = sorted({word for table in tables for word in table.words(column)} - {""})
    if not words:
        raise UsageError(
            f"{tables[0].source}: the column {column} is empty", "say of which kind each event is"
        )
    return tuple(words)


def _spread(table: Table, column: str, kinds: Sequence[str]) -> Table:
    """A column for each kind in place of one of words, 1 where an event is of it, else empty."""
    words = np.array(table.words(column) if column else [_EVENT] * len(table))
    frame = table.frame.drop(columns=[column] if column else [])
    if twice := [kind for kind in kinds if kind in frame.columns]:
        raise UsageError(
            f"{table.source}: {twice[0]!r} is a kind of event and a column", "rename one of them"
        )
    return replace(
        table, frame=frame.assign(**{kind: np.where(words == kind, 1.0, np.nan) for kind in kinds})
    )


def _check_kinds(kinds: Sequence[str], tables: Sequence[Table], train: Sequence[Recording]) -> None:
    """Every kind has to come in training."""
    came = ~np.isnan(np.concatenate([r.values[1:] for r in train])).all(axis=0)
    if not came.all():
        kind = kinds[int(np.argmin(came))]
        where = [(table, np.flatnonzero(~np.isnan(table.numbers(kind)))) for table in tables]
        table, rows = next((t, r) for t, r in where if len(r))
        raise UsageError(
            f"{table.row(rows[0])}: an event {kind!r}, which never comes in training",
            "give more sequences with it, or leave these events out",
        )
