"""Colours and markers that every figure draws with."""

from __future__ import annotations

# Okabe and Ito (2008), distinguishable with every common colour vision deficiency; yellow left out on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def colour_and_marker(index: int) -> tuple[str, str]:
    """Of the thing at a place of a list; 63 things differ."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
