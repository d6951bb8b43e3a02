"""Libraries without their remarks, where those would stand between lines of ours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

TRAINER = "lightning.pytorch.utilities.rank_zero"
"""The logger of Lightning's trainer."""


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Neither warnings nor what a logger says below an error.

    Args:
        logger: Its name.
    """
    remarks = logging.getLogger(logger)
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remarks.setLevel(level)
