"""Tables of the user's own: one sample in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from integrand.errors import UsageError
from integrand.spec import Question, Spec, VectorSpec
from integrand.suggest import did_you_mean

from ..images.loading import Inputs
from ..series.own.table import Table, read_table
from .answers import Answers, Rows, listed
from .base import OwnDataModule
from .cards import CSV_TABLE
from .columns import describe, encode, features
from .parts import part_of
from .source import Description, Source
from .stores import ArrayRows

_TARGETS = ("target", "label", "class", "y", "category", "outcome")
_IDS = ("id", "name", "index", "row_id", "sample_id", "unnamed: 0")


@dataclass(frozen=True)
class Wanted:
    """The columns as the user says; see `CSVTable`."""

    target: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    id: str = ""
    split: str = ""

    @property
    def named(self) -> list[str]:
        """All of them."""
        return [c for c in (*self.target, *self.columns, self.id, self.split) if c]


class CSVTable(OwnDataModule):
    """Samples from a CSV or Parquet file with one in a row.

    Numbers get zero mean and unit deviation over the training rows, words become a column of 0 and 1 for
    each value, and what is missing is marked by a column of its own. Text, and whole numbers of few values,
    in the target column are classes; other numbers are targets.

    Args:
        path: The file.
        target: Column of what is asked for, or several of numbers; by default one that is called target,
            label, class, y, category or outcome, else the last.
        columns: Columns of the inputs; by default all others.
        id_column: Column that names each sample; guessed if it is called id, name or index and says another
            value in each row.
        split_column: Column that says train, val or test; guessed if it is called split.
        **kwargs: See `OwnDataModule`.
    """

    card = CSV_TABLE

    def __init__(
        self,
        path: str,
        target: str | list[str] = "",
        columns: list[str] | None = None,
        id_column: str = "",
        split_column: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        targets = (target,) if isinstance(target, str) else tuple(target)
        self.path = path
        self.wanted = Wanted(tuple(t for t in targets if t), tuple(columns or ()), id_column, split_column)

    def source(self) -> Source:
        """See `OwnDataModule.source`."""
        table = read_table(self.path)
        if self.described is None:
            chosen, said = choose(table, self.wanted)
        else:
            chosen, said = as_trained(table, self.described, self.wanted)
        return TableSource(table, Path(self.path).stem, chosen, said)


def choose(table: Table, wanted: Wanted) -> tuple[Wanted, list[str]]:
    """The part of each column, and a line that says what was guessed.

    Raises:
        UsageError: A column is not there, or there are too few.
    """
    _check(table, wanted)
    free = [c for c in table.columns if c not in wanted.named]
    guessed = []
    name, split, target = wanted.id, wanted.split, wanted.target
    if not split and (split := _called(free, ("split",))):
        guessed.append(f"data.split_column: {split}")
    if not name:
        usual = _called(free, _IDS)
        if usual and table.frame[usual].is_unique:
            name = usual
            guessed.append(f"data.id_column: {name}")
    free = [c for c in free if c not in (name, split)]
    if not target:
        if len(free) < 2:
            raise UsageError(
                f"{table.source} has the columns {listed(table.columns)}", "give inputs and a target"
            )
        target = (_called(free, _TARGETS) or free[-1],)
        guessed.append(f"data.target: {target[0]}")
    columns = wanted.columns or tuple(c for c in free if c not in target)
    said = [f"{table.source}, columns guessed: {'; '.join(guessed)}"] if guessed else []
    return Wanted(target, columns, name, split), said


def as_trained(table: Table, described: Description, wanted: Wanted) -> tuple[Wanted, list[str]]:
    """The columns that a model was trained on; the target may be missing."""
    present = set(table.columns)
    target = tuple(described["target"])
    name = wanted.id or str(described.get("id") or "")
    columns = tuple(str(column["name"]) for column in described["columns"])
    has_target = set(target) <= present
    return Wanted(target if has_target else (), columns, name if name in present else ""), []


class TableSource(Source):
    """The rows of a table.

    Args:
        table: The table.
        name: Name of the data set.
        chosen: The part of each column.
        said: Lines for the user.
    """

    def __init__(self, table: Table, name: str, chosen: Wanted, said: Sequence[str]) -> None:
        rows = table.words(chosen.id) if chosen.id else [str(i) for i in table.frame.index]
        super().__init__(table.source, name, rows, self._answers(table, chosen.target), None, said)
        self.table, self.chosen = table, chosen
        if chosen.split:
            self.parts = [part_of(word) for word in table.words(chosen.split)]
            if "" in self.parts:
                i = self.parts.index("")
                raise UsageError(
                    f"{table.row(i)}: {chosen.split} is {table.words(chosen.split)[i]!r}",
                    "write one of train, val, test",
                )

    @staticmethod
    def _answers(table: Table, target: tuple[str, ...]) -> Answers | None:
        if not target:
            return None
        if len(target) > 1 or (table.is_numeric(target[0]) and table.frame[target[0]].dtype != bool):
            numbers = np.stack([table.numbers(t) for t in target], axis=1)
            return Answers(numbers if len(target) > 1 else numbers[:, 0], target)
        return Answers(np.array(table.words(target[0]), dtype=object), target)

    def describe(self, train: Rows) -> dict[str, Any]:
        """See `Source.describe`."""
        columns, said = describe(self.table, self.chosen.columns, train)
        names = features(columns)
        self.said += [*said, f"{self.where}: {len(names)} inputs, scaled by {len(train)} training rows"]
        return {
            "columns": columns,
            "target": list(self.chosen.target),
            "id": self.chosen.id,
            "features": names,
        }

    def spec(self, question: Question, description: Description) -> Spec:
        """See `Source.spec`."""
        return VectorSpec(self.name, question, len(description["features"]))

    def inputs(self, description: Description) -> tuple[Inputs, list[float], list[float]]:
        """See `Source.inputs`."""
        values, said = encode(self.table, description["columns"])
        self.said += said
        rows = ArrayRows(values.astype(np.float32), values.shape)
        size = values.shape[1]
        return rows, [1.0] * size, [0.0] * size

    def content(self) -> Iterator[bytes]:
        """Every cell that is used, as text."""
        for column in (*self.chosen.columns, *self.chosen.target, self.chosen.split):
            if column:
                yield f"{column}\0".encode()
                yield "\0".join(self.table.words(column)).encode()


def _called(names: Sequence[str], usual: Sequence[str]) -> str:
    """The first name that is a usual one; empty where none is."""
    return next((n for word in usual for n in names if n.casefold() == word), "")


def _check(table: Table, wanted: Wanted) -> None:
    for column in wanted.named:
        if column not in table.columns:
            raise UsageError(
                f"{table.source} has no column {column!r}{did_you_mean(column, table.columns)}",
                f"its columns: {listed(table.columns)}",
            )
    twice = next((n for i, n in enumerate(wanted.named) if n in wanted.named[:i]), "")
    if twice:
        raise UsageError(f"{table.source}: column {twice!r} has two parts", "give each column one part")
