"""Which data sets there are: cards without torch, classes with it.

Built-in cards stand in the `cards.py` of each family folder. Another package joins through the entry-point
group `integrand.datamodules`, whose entries name datamodule classes that carry a `card`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import warnings
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from integrand.errors import UsageError

from .card import DataCard

ENTRY_POINT_GROUP = "integrand.datamodules"
_PACKAGE = __package__ or "integrand.datamodules"


def builtin_cards() -> dict[str, DataCard]:
    """The cards of this package by name, without importing torch."""
    return dict(_builtin_cards())


@cache  # every class name that a parser looks up asks for them
def _builtin_cards() -> dict[str, DataCard]:
    found: dict[str, DataCard] = {}
    for family in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        module = f"{_PACKAGE}.{family.name}.cards"
        if family.ispkg and importlib.util.find_spec(module) is not None:
            found.update((card.name, card) for card in importlib.import_module(module).CARDS)
    return found


def plugin_classes() -> dict[str, type[Any]]:
    """Datamodule classes of other packages by data set name; one that fails to load only warns."""
    found: dict[str, type[Any]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            cls = entry.load()
            found[cls.card.name] = cls
        except Exception as error:  # a broken plug-in must not take the others with it
            warnings.warn(f"data set plug-in {entry.value!r} cannot be loaded: {error}", stacklevel=2)
    return found


def cards() -> dict[str, DataCard]:
    """Every card by name, built-in sets first; a plug-in never replaces a built-in set."""
    found = builtin_cards()
    for name, cls in plugin_classes().items():
        found.setdefault(name, cls.card)
    return found


def find_card(name: str) -> DataCard:
    """The card of a data set, by its slug or its class name, whatever the case.

    Raises:
        UsageError: No data set has that name.
    """
    known = cards()
    members = {member.name: member for card in known.values() for member in card.members}
    spellings = members | {
        key.casefold(): card for card in known.values() for key in (card.name, card.class_name)
    }
    if name.casefold() in spellings:
        return spellings[name.casefold()]
    close = get_close_matches(name.casefold(), spellings, n=1, cutoff=0.5)
    guess = f"did you mean {spellings[close[0]].name!r}? " if close else ""
    raise UsageError(f"unknown data set {name!r}", f"{guess}Known: {', '.join(known)}")


def load_class(card: DataCard) -> type[Any]:
    """The datamodule class of a card; imports torch and Lightning."""
    cls: type[Any] = getattr(importlib.import_module(card.module), card.class_name)
    return cls


def load_all() -> dict[str, type[Any]]:
    """Import every datamodule, so that short class names work on the command line.

    Returns:
        The classes by class name.
    """
    classes = {card.class_name: load_class(card) for card in builtin_cards().values()}
    for cls in plugin_classes().values():
        classes.setdefault(cls.__name__, cls)
    return classes
