"""Did-you-mean for every name a user can mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, ignoring case; None where none is alike."""
    by_fold = {k.casefold(): k for k in known}
    matches = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for the known name most like `name`, or nothing."""
    match = closest(name, known)
    return f", did you mean {match}?" if match else ""
