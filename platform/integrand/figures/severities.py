"""Error against the severity of corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .drawing import Picture, finish, new_axes


def severity_figure(errors: Mapping[str, Sequence[float]], clean: float) -> Picture:
    """A row of shades for each kind, a column for each severity, with the numbers in per cent.

    Args:
        errors: Error rates by severity, for each kind.
        clean: Error rate of images as they are.
    """
    kinds = list(errors)
    values = 100 * np.array([list(errors[kind]) for kind in kinds])
    figure, axes = new_axes(4.6, 0.9 + 0.27 * len(kinds))
    axes.grid(visible=False)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(values.shape[1]), [str(i + 1) for i in range(values.shape[1])])
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds], fontsize=7)
    axes.set_xlabel(f"severity; error in %, clean {100 * clean:.1f}")
    means = ", ".join(
        f"{kind.replace('_', ' ')} {line.mean():.1f}" for kind, line in zip(kinds, values, strict=True)
    )
    return finish(
        figure,
        "corruption_error",
        f"Error in per cent by kind and severity of corruption; clean {100 * clean:.1f}, means {means}.",
    )
