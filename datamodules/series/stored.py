"""The files of a measured set: found, fetched where that is allowed, checked, read."""

from __future__ import annotations

from ..acquire import progress
from ..acquire.fetch import ensure
from ..acquire.lookup import load
from ..card import DataCard
from ..formats import Arrays


def prepare(card: DataCard, data_dir: str | None) -> None:
    """Make sure the data is on this machine.

    Raises:
        DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
    """
    with progress.shown() as report:
        ensure(card, data_dir, report)


def stored(card: DataCard, data_dir: str | None, verify: bool) -> Arrays:
    """The arrays of a set, as its reader returns them.

    Raises:
        DataError: The data is missing, damaged, or not what its digest says.
    """
    return load(card, ensure(card, data_dir), verify).arrays
