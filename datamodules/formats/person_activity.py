"""Four tags on five people, located while they move about a room (Kaluža et al. 2010)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from integrand.errors import DataError

from ..series.recording import Recording
from .guards import AGAIN, Arrays, Member, damaged
from .packed import pack

MEMBERS = ("ConfLongDemo_JSI.txt",)
ROWS = 164_860  # as the repository says; no digest was ever published
TAGS = ("010-000-024-033", "010-000-030-096", "020-000-033-111", "020-000-032-221")
CLASSES = ("walking", "falling", "lying", "sitting", "standing up", "on all fours", "sitting on the ground")
_MERGED = {
    "lying down": "lying",
    "sitting down": "sitting",
    "standing up from lying": "standing up",
    "standing up from sitting": "standing up",
    "standing up from sitting on the ground": "standing up",
}
_SHORTEST, _LONGEST = 10, 50  # rows of a series
_TICK = 1e-7  # seconds

Row = tuple[str, int, int, tuple[float, float, float], int]
"""Sequence, tag, time in ticks, position, class."""


def read(member: Member) -> Arrays:
    """Pieces of one activity, of 10 to 50 rows; persons A to D train, E tests."""
    (name,) = MEMBERS
    rows = [
        parse(line, f"{name}, row {i}")
        for i, line in enumerate(member(name).decode("ascii").split("\n"), 1)
        if line
    ]
    if len(rows) != ROWS:
        raise DataError(f"{name} has {len(rows)} rows, not {ROWS}", AGAIN)
    pieces = list(series(rows))
    parts = {
        "train": [p for p in pieces if not p.name.startswith("E")],
        "test": [p for p in pieces if p.name.startswith("E")],
    }
    return pack("train", parts["train"]) | pack("test", parts["test"])


def parse(line: str, where: str) -> Row:
    """One row of the file.

    Raises:
        DataError: It is no such row.
    """
    try:
        sequence, tag, ticks, _, x, y, z, activity = line.strip().split(",")
        said = CLASSES.index(_MERGED.get(activity, activity))
        return sequence, TAGS.index(tag), int(ticks), (float(x), float(y), float(z)), said
    except ValueError as error:
        raise damaged(where, error) from error


def series(rows: Sequence[Row]) -> Iterator[Recording]:
    """Pieces of one activity of one sequence, in the order of the file; times in seconds from their first.

    What the tags of one tick say is one observation of 12 channels; the tags that are silent are missing.
    """
    for (sequence, said), run in itertools.groupby(rows, key=lambda row: (row[0], row[4])):
        ordered = sorted(run, key=lambda row: row[2])
        for start in range(0, len(ordered), _LONGEST):
            piece = ordered[start : start + _LONGEST]
            if len(piece) >= _SHORTEST:
                yield _piece(piece, sequence, said)


def _piece(rows: Sequence[Row], sequence: str, said: int) -> Recording:
    ticks = sorted({row[2] for row in rows})
    values = np.full((len(ticks), 3 * len(TAGS)), np.nan)
    at = {tick: i for i, tick in enumerate(ticks)}
    for _, tag, tick, position, _ in rows:
        values[at[tick], 3 * tag : 3 * tag + 3] = position
    times = np.array([(tick - ticks[0]) * _TICK for tick in ticks], dtype=np.float64)
    return Recording(times, values, answer=said, name=f"{sequence} at {ticks[0]}")
