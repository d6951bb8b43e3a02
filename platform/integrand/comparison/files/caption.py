"""The line of words below the axes of a printed figure."""

from __future__ import annotations

from matplotlib.figure import Figure


def write_caption(figure: Figure, text: str, room: float) -> None:
    """Write below the axes, which leave `room`, a part of the figure's height, free for it."""
    figure.text(0.01, 0.005, text, fontsize=7.5, color="#444444", va="bottom")
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(rect=(0, room, 1, 1 - room))  # type: ignore[call-arg]  # the constrained engine takes rect
