"""What tells one group from another in figures: colour, marker and dash, never colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Sevens, nines and fives share no factor: 63 groups differ as points and 35 as lines before anything repeats.
COLOURS = 7
DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4")
MARKERS = (
    "M-1,0A1,1 0 1 0 1,0A1,1 0 1 0 -1,0Z",  # disc
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1.15L1.05,.8H-1.05Z",  # triangle
    "M0,-1.25L1.1,0L0,1.25L-1.1,0Z",  # diamond
    "M0,1.15L1.05,-.8H-1.05Z",  # triangle, point down
    "M-.38,-1.1H.38V-.38H1.1V.38H.38V1.1H-.38V.38H-1.1V-.38H-.38Z",  # plus
    "M1.15,0L-.8,1.05V-1.05Z",  # triangle, point right
    "M-.6,-1.1L0,-.5L.6,-1.1L1.1,-.6L.5,0L1.1,.6L.6,1.1L0,.5L-.6,1.1L-1.1,.6L-.5,0L-1.1,-.6Z",  # cross
    "M-1.15,0L.8,1.05V-1.05Z",  # triangle, point left
)
"""Outlines in units of the marker's radius."""


@dataclass(frozen=True)
class Identity:
    """How a group looks, the same in every figure of the page.

    Args:
        label: Name of the group.
        index: Its number.
    """

    label: str
    index: int

    @property
    def colour(self) -> str:
        """CSS class that sets the colour."""
        return f"c{self.index % COLOURS}"

    @property
    def dash(self) -> str:
        """Value of `stroke-dasharray`, empty for a solid line."""
        return DASHES[self.index % len(DASHES)]

    @property
    def marker(self) -> str:
        """Outline of the marker."""
        return MARKERS[self.index % len(MARKERS)]

    @property
    def anchor(self) -> str:
        """Fragment of the group's section."""
        return f"group-{self.index + 1}"


def identities(labels: Iterable[str]) -> dict[str, Identity]:
    """An identity for every label, numbered in order of first appearance."""
    return {label: Identity(label, index) for index, label in enumerate(dict.fromkeys(labels))}
