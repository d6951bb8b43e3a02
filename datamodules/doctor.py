"""What `integrand doctor` asks about data: is the cache usable, is each set here, is it what it should be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from integrand.errors import IntegrandError

from .acquire.cache import cache_folder
from .acquire.fetch import ways
from .acquire.lookup import load, locate
from .card import DataCard
from .registry import cards

# name, state, what was found, what to do
Row = tuple[str, Literal["ok", "warn", "fail"], str, str]


def cache_dir() -> Path:
    """The folder that fetched data sets go to; it need not exist yet."""
    return cache_folder()


def check_data(verify: bool = True) -> Iterator[Row]:
    """One row per data set; a set that is merely not fetched is no problem.

    Args:
        verify: Read each set that is here and compare its digests.
    """
    shared = os.environ.get("INTEGRAND_DATA")
    if shared and not Path(shared).expanduser().is_dir():
        yield "INTEGRAND_DATA", "warn", f"{shared} is no folder", "correct or unset INTEGRAND_DATA"
    for card in cards().values():
        if card.generated:
            continue  # a formula is always there
        here = [member for member in card.members if locate(member) is not None]
        for one in here or (card,):  # of a collection those that are here
            yield _check(one, verify)


def _check(card: DataCard, verify: bool) -> Row:
    name = f"data {card.name}"
    try:
        place = locate(card)
        if place is None:
            if card.sources:
                return name, "ok", "not fetched", f"if you want it: {ways(card)}"
            return name, "fail", "not in the installed packages", "reinstall integrand with its requirements"
        if verify:
            load(card, place)
    except IntegrandError as error:
        return name, "fail", error.message, error.remedy
    return name, "ok", f"{'verified' if verify else 'found'} in {place.path}", ""
