"""Small matters of English and typography."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def enumeration(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def typeset(text: str) -> str:
    """Minus signs, no line break inside `1.2 ± 0.3` or `95 %`."""
    return minus(text).replace(" ±", "\u00a0±").replace("± ", "±\u00a0").replace(" %", "\u00a0%")


def sentence(text: str) -> str:
    """`typeset`, with a capital at the beginning."""
    return typeset(text[:1].upper() + text[1:])


def minus(text: str) -> str:
    """Hyphens before numbers as minus signs."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)
