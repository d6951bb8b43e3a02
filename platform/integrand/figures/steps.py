"""The step sizes of one solve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from .drawing import Picture, finish, new_axes
from .palette import COLOURS


def step_figure(step_sizes: Sequence[float], solver: str) -> Picture | None:
    """Every accepted step of a solve as a level over the stretch of t that it covers.

    Args:
        step_sizes: Accepted steps in order, in units of t.
        solver: The solver in a few words.
    """
    sizes = [abs(h) for h in step_sizes]
    if not sizes:
        return None
    figure, axes = new_axes()
    axes.stairs(sizes, [0.0, *accumulate(sizes)], color=COLOURS[0], linewidth=1.6)
    # zero as the floor: a relative change of the step should look like one
    axes.set_ylim(0, 1.1 * max(sizes))
    axes.set_xlabel("t since the start of the solve")
    axes.set_ylabel("accepted step size")
    axes.set_title(solver, fontsize=8)
    span = f"{len(sizes)} accepted steps between {min(sizes):.3g} and {max(sizes):.3g}"
    text = f"Step sizes of the last solve by {solver}: {span}."
    return finish(figure, "steps", text)
