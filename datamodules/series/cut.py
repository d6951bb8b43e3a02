"""A record cut in time: its end is never seen in training."""

from __future__ import annotations

from .recording import Recording


def cut_in_time(record: Recording, context: int, shares: tuple[float, float]) -> dict[str, Recording]:
    """First training, then validation, last test.

    What is given to the first window of a part is the end of the part before, so that in evaluation every
    observation of a part is asked for.

    Args:
        record: The record.
        context: Observations given.
        shares: Shares that validate and test.
    """
    val, test = (round(share * len(record)) for share in shares)
    first, second = len(record) - val - test, len(record) - test
    given = min(context, first)
    return {
        "train": record[:first],
        "val": record[first - given : second],
        "test": record[second - given :],
    }
